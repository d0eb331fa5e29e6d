import type { StreamResponse } from '@/api/schema'
import { perMonth } from './money'
import { capital, sentence, word } from './words'

type News = Partial<StreamResponse> & { type: string }

/** What was done about a node comes in the contract's words, and a cluster by its id, which stands beside it by name. */
function readable(type: string, message: string): string {
  if (type === 'spot_event') return message.replaceAll('_', ' ')
  return type === 'policy' ? message.replace(/\bcluster [0-9a-f]{8}-[0-9a-f-]{27}/, 'a cluster') : message
}

/** What a message says, for people: its own words, or a sentence made of its fields. */
export function newsText(news: News): string {
  if (news.message) return capital(readable(news.type, news.message))
  const status = news.status ? word(news.status).toLowerCase() : ''
  switch (news.type) {
    case 'optimization_started':
      return 'A plan was asked for'
    case 'optimization_step':
      return `Step “${sentence(news.step ?? '').toLowerCase()}” ${status || 'moved on'}`
    case 'optimization_complete':
      if (news.status !== 'success') return 'A plan failed'
      // Dry runs end well too, and save nothing.
      return news.savings ? `A plan was carried out: saves ${perMonth(news.savings)}` : 'A plan has ended'
    case 'optimization_waiting':
      return `A plan waits${status ? `: ${status}` : ''}`
    case 'optimization_decided':
      return `A plan was decided upon${status ? `: ${status}` : ''}`
    case 'spot_event':
      return `${sentence(news.spot_event?.event_type ?? 'AWS spoke')} of ${news.spot_event?.node_name || news.spot_event?.instance_id || news.subject || 'an instance'}${status ? `: ${status}` : ''}`
    default:
      return [sentence(news.type), news.subject, status].filter(Boolean).join(' ')
  }
}
