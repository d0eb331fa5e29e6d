import type { SpotEvent, StreamResponse } from '@/api/schema'
import { moment } from '@/format/time'

/** What is known of one step of an interruption. */
export interface Milestone {
  name: string
  /** done: it happened. now: it goes on. wrong: it did not work. open: not yet. */
  state: 'done' | 'now' | 'wrong' | 'open'
  at?: string
  /** Seconds after AWS's word; undefined: not known. */
  after?: number
}

export interface Story {
  event: SpotEvent
  milestones: Milestone[]
  /** It is over. */
  over: boolean
}

/** When words of action_taken were first heard, by event. */
export function heardOf(activity: readonly StreamResponse[]): Map<string, Map<string, string>> {
  const heard = new Map<string, Map<string, string>>()
  for (const { spot_event: event, timestamp } of activity) {
    if (!event || !timestamp) continue
    const words = heard.get(event.event_id) ?? new Map<string, string>()
    heard.set(event.event_id, words)
    for (const word of wordsOf(event)) {
      const before = words.get(word)
      if (!before || timestamp < before) words.set(word, timestamp)
    }
  }
  return heard
}

/** What was done, as central says it: words separated by commas. */
export function wordsOf(event: SpotEvent): string[] {
  const words = (event.action_taken ?? '')
    .split(',')
    .map((each) => each.trim())
    .filter(Boolean)
  return event.state ? [...new Set([...words, event.state])] : words
}

/** An interruption as a line of steps: AWS's word, drain, replacement, gone. */
export function storyOf(event: SpotEvent, heard?: Map<string, string>): Story {
  const words = new Set(wordsOf(event))
  const start = moment(event.received_at)?.getTime()
  const when = (...names: string[]): Pick<Milestone, 'at' | 'after'> => {
    const at = names.map((name) => heard?.get(name)).find(Boolean)
    const time = moment(at)?.getTime()
    return { at, after: start !== undefined && time !== undefined ? Math.max(0, (time - start) / 1000) : undefined }
  }
  const has = (...names: string[]) => names.some((name) => words.has(name))
  if (has('dismissed')) return { event, over: true, milestones: [{ name: 'Warned', state: 'done', at: event.received_at ?? undefined, after: 0 }, { name: 'Dismissed', state: 'done', ...when('dismissed') }] }

  const gone = has('gone', 'terminated', 'node_gone')
  const drained = has('drained', 'drained_forced')
  const failed = has('drain_failed', 'drain_blocked')
  const drain: Milestone = drained
    ? { name: has('drained_forced') ? 'Drained by force' : 'Drained', state: 'done', ...when('drained', 'drained_forced') }
    : failed
      ? { name: has('drain_blocked') ? 'Drain blocked' : 'Drain failed', state: 'wrong', ...when('drain_blocked', 'drain_failed') }
      : has('draining')
        ? { name: 'Draining', state: 'now', ...when('draining') }
        : { name: gone ? 'Not drained' : 'Drain', state: gone ? 'wrong' : 'open' }
  const began: Milestone[] = drained || failed ? [{ name: 'Drain began', state: 'done', ...when('draining') }] : []
  const replacement: Milestone = has('replacement_launched')
    ? { name: 'Replaced', state: 'done', ...when('replacement_launched') }
    : has('replacement_failed')
      ? { name: 'No replacement', state: 'wrong', ...when('replacement_failed') }
      : has('left_to_group', 'replacement_unneeded')
        ? { name: has('left_to_group') ? 'Left to its group' : 'None needed', state: 'done', ...when('left_to_group', 'replacement_unneeded') }
        : { name: 'Replacement', state: has('replacement_pending') ? 'now' : gone ? 'wrong' : 'open', ...when('replacement_pending') }
  const middle = [...began.filter((each) => each.after !== undefined), drain, replacement]
  // In the order in which they were, as far as it is known.
  if (middle.every((each) => each.after !== undefined)) middle.sort((a, b) => a.after! - b.after!)
  return {
    event,
    over: gone,
    milestones: [
      { name: has('at_risk') || event.event_type === 'rebalance_recommendation' ? 'At risk' : 'Warned', state: 'done', at: event.received_at ?? undefined, after: 0 },
      ...middle,
      { name: 'Gone', state: gone ? 'done' : 'open', ...when('gone', 'terminated', 'node_gone') },
    ],
  }
}
