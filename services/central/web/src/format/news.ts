import type { StreamResponse } from '@/api/schema'
import { perMonth } from './money'
import { sentence, word } from './words'

type News = Partial<StreamResponse> & { type: string }

/** What a message says, for people: its own words, or a sentence made of its fields. */
export function newsText(news: News): string {
  if (news.message) return news.message.charAt(0).toUpperCase() + news.message.slice(1)
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
