type Instant = string | number | Date | null | undefined

/** A moment of the API; undefined for none. */
export function moment(value: Instant): Date | undefined {
  if (value === null || value === undefined || value === '') return undefined
  const date = value instanceof Date ? value : new Date(value)
  return Number.isNaN(date.getTime()) ? undefined : date
}

const localTime = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' })
const shortTime = new Intl.DateTimeFormat(undefined, { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit' })
const day = new Intl.DateTimeFormat(undefined, { month: 'short', day: 'numeric' })
const utcDay = new Intl.DateTimeFormat(undefined, { month: 'short', day: 'numeric', timeZone: 'UTC' })
const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit' })

/** In the viewer's zone, whole. */
export const atLocal = (value: Instant): string => show(localTime, value)
/** In the viewer's zone, without year and seconds. */
export const atShort = (value: Instant): string => show(shortTime, value)
/** The day in the viewer's zone. */
export const onDay = (value: Instant): string => show(day, value)
/** The day in UTC: days of the savings are UTC's. */
export const onUTCDay = (value: Instant): string => show(utcDay, value)
/** Time of day with seconds. */
export const atClock = (value: Instant): string => show(clock, value)

function show(format: Intl.DateTimeFormat, value: Instant): string {
  const date = moment(value)
  return date ? format.format(date) : '–'
}

/** In UTC, for a tooltip. */
export function atUTC(value: Instant): string {
  const date = moment(value)
  return date ? `${date.toISOString().slice(0, 19).replace('T', ' ')} UTC` : ''
}

/** In the viewer's zone, as a field of date and time has it. */
export function forField(value: Instant): string {
  const date = moment(value)
  if (!date) return ''
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16)
}

/** The viewer's zone, e.g. Europe/Berlin. */
export const viewerZone = (): string => Intl.DateTimeFormat().resolvedOptions().timeZone

const steps: [unit: string, seconds: number][] = [
  ['d', 86_400],
  ['h', 3600],
  ['min', 60],
  ['s', 1],
]

/** A length of time by its two largest units: 3 h 5 min. */
export function span(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return '–'
  let rest = Math.max(0, Math.round(seconds))
  if (rest === 0) return '0 s'
  const first = steps.findIndex(([, size]) => rest >= size)
  const parts: string[] = []
  for (const [unit, size] of steps.slice(first, first + 2)) {
    const n = Math.floor(rest / size)
    rest -= n * size
    if (n > 0) parts.push(`${n} ${unit}`)
  }
  return parts.join(' ')
}

/** How long ago by its largest unit: just now, 40 s ago, 3 h ago; or how long until. */
export function ago(value: Instant, now = Date.now()): string {
  const date = moment(value)
  if (!date) return 'never'
  const seconds = (now - date.getTime()) / 1000
  const size = Math.abs(seconds)
  if (size < 5) return 'just now'
  const [unit, length] = steps.find(([, each]) => size >= each) ?? ['s', 1]
  const n = Math.floor(size / length)
  return seconds > 0 ? `${n} ${unit} ago` : `in ${n} ${unit}`
}
