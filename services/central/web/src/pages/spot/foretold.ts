import type { Foretold, SpotEvent } from '@/api/schema'
import { percent } from '@/format/money'
import { moment, span } from '@/format/time'

/** What became of an instance that AWS spoke of. */
export type Outcome = 'taken' | 'open' | 'spared' | 'ended'

export const outcomes: Record<Outcome, string> = { taken: 'Taken', open: 'Not yet known', spared: 'Not taken', ended: 'Ended' }

const sources: Record<string, string> = { fleet_record: 'Own record', spot_advisor: 'Spot Advisor' }

/** Who said how likely an interruption is, as people read it. */
export const sourceOf = (model: string): string => sources[model] ?? (model || '–')

/**
 * Whether AWS took the instance: a recommendation to rebalance is no more than a word of risk, and one that was terminated
 * may have been ended by CloudOptim or by somebody.
 */
export function outcomeOf({ event_type: type, state }: Pick<SpotEvent, 'event_type' | 'state'>): Outcome {
  if (state === 'dismissed') return 'spared'
  if (type === 'instance_terminated') return 'ended'
  if (state === 'gone') return 'taken'
  return type === 'interruption_warning' || type === 'capacity_reservation_interruption' ? 'taken' : 'open'
}

/** 12.5% within a day. */
export function chance({ probability, horizon_minutes: minutes }: Foretold): string {
  return `${percent(probability)} within ${minutes === 1440 ? 'a day' : span(minutes * 60)}`
}

/** How long before AWS's word it was said: 40 min. */
export function lead(event: SpotEvent): string {
  const [said, heard] = [moment(event.foretold?.said_at), moment(event.received_at)]
  return said && heard ? span((heard.getTime() - said.getTime()) / 1000) : '–'
}
