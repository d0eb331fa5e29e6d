import type { DisruptionSpan, DisruptionWindow, DisruptionWindows } from '@/api/schema'
import { spansText, stretches } from './week'
import { isZone, localIn, offsetMinutes, type Local } from './zone'

const dayMinutes = 1440
const weekMinutes = 7 * dayMinutes

/** Whether a moment lies in a span. A night's hours after midnight belong to the date of its evening. */
export function within(span: DisruptionSpan, at: Date): boolean {
  const local = localIn(span.time_zone, at)
  const dated = (date: string) => (span.first_date === '' || date >= span.first_date) && (span.last_date === '' || date <= span.last_date)
  if (span.spans.length === 0) return dated(local.date)
  const minute = local.day * dayMinutes + local.minutes
  return stretches(span.spans).some(([begin, end]) => {
    const into = (minute - begin + weekMinutes) % weekMinutes
    return into < end - begin && dated(dateBefore(local, into))
  })
}

function dateBefore(local: Local, minutesInto: number): string {
  const back = Math.ceil(Math.max(0, minutesInto - local.minutes) / dayMinutes)
  return back === 0 ? local.date : new Date(Date.parse(`${local.date}T00:00:00Z`) - back * 86_400_000).toISOString().slice(0, 10)
}

/** Whether windows let plans disrupt at a moment: deny goes before allow, and if any allow, outside of them nothing may. */
export function allowedAt(windows: readonly DisruptionWindow[], at: Date): boolean {
  const holds = (effect: string) => windows.some((each) => each.effect === effect && each.during && within(each.during, at))
  if (holds('deny')) return false
  return !windows.some((each) => each.effect === 'allow') || holds('allow')
}

/** When windows change whether plans may disrupt, within so many days; undefined: not within them. */
export function nextChange(windows: readonly DisruptionWindow[], from: Date, days = 15): Date | undefined {
  if (windows.length === 0 || windows.some((each) => !each.during || !isZone(each.during.time_zone))) return undefined
  const minute = 60_000
  const step = 15
  const now = allowedAt(windows, from)
  const start = Math.floor(from.getTime() / minute) * minute
  for (let i = step; i <= days * dayMinutes; i += step) {
    if (allowedAt(windows, new Date(start + i * minute)) === now) continue
    for (let j = i - step + 1; j <= i; j++) {
      const at = new Date(start + j * minute)
      if (allowedAt(windows, at) !== now) return at
    }
  }
  return undefined
}

/** Whether a window is a freeze: it denies whole days, until a date. */
export const isFreeze = ({ effect, during }: DisruptionWindow): boolean => effect === 'deny' && during?.spans.length === 0 && during.last_date !== ''

/** When a span of whole days ends: at midnight after its last date, in its zone. */
export function endOfDates({ time_zone, last_date }: DisruptionSpan): Date | undefined {
  const midnight = Date.parse(`${last_date}T00:00:00Z`) + 86_400_000
  if (Number.isNaN(midnight) || !isZone(time_zone)) return undefined
  // The offset is that of the moment itself, which is not known before: the second guess is right.
  const guess = new Date(midnight - offsetMinutes(time_zone, new Date(midnight)) * 60_000)
  return new Date(midnight - offsetMinutes(time_zone, guess) * 60_000)
}

/** The freeze that holds at a moment and ends last, and when it ends. */
export function frozenAt(windows: readonly DisruptionWindow[], at: Date): { until: Date; reason: string } | undefined {
  return windows
    .filter((each) => isFreeze(each) && isZone(each.during!.time_zone) && within(each.during!, at))
    .flatMap(({ during, reason }) => {
      const until = endOfDates(during!)
      return until ? [{ until, reason }] : []
    })
    .toSorted((a, b) => b.until.getTime() - a.until.getTime())[0]
}

/** A span for people: Mon–Fri 22:00–06:00 (next day), Europe/Berlin, from 2026-12-01 to 2026-12-24. */
export function spanInZone(span: DisruptionSpan): string {
  const dates =
    span.first_date && span.last_date
      ? span.first_date === span.last_date
        ? `, on ${span.first_date}`
        : `, ${span.first_date} to ${span.last_date}`
      : span.first_date
        ? `, from ${span.first_date}`
        : span.last_date
          ? `, until ${span.last_date}`
          : ''
  return `${spansText(span.spans)}, ${span.time_zone}${dates}`
}

/** Windows for people, in sentences. */
export function windowsText(windows: DisruptionWindows | null | undefined): string {
  const all = windows?.windows ?? []
  if (all.length === 0) return 'Plans may disrupt at any time.'
  const of = (effect: string) => all.filter((each) => each.effect === effect && each.during).map((each) => spanInZone(each.during!) + (each.reason ? ` (${each.reason})` : ''))
  const allow = of('allow')
  const deny = of('deny')
  const first = allow.length > 0 ? `Plans may disrupt only: ${allow.join('; or ')}.` : 'Plans may disrupt at any time'
  if (deny.length === 0) return first
  return allow.length > 0 ? `${first} Never: ${deny.join('; ')}.` : `${first} but: ${deny.join('; ')}.`
}
