const formats = new Map<string, Intl.DateTimeFormat>()

function format(zone: string): Intl.DateTimeFormat {
  let made = formats.get(zone)
  if (!made) {
    made = new Intl.DateTimeFormat('en-US', {
      timeZone: zone,
      hourCycle: 'h23',
      weekday: 'short',
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
      hour: '2-digit',
      minute: '2-digit',
      second: '2-digit',
    })
    formats.set(zone, made)
  }
  return made
}

/** Every IANA zone that this browser knows, UTC first. */
export function zones(): string[] {
  return ['UTC', ...Intl.supportedValuesOf('timeZone').filter((zone) => zone !== 'UTC')]
}

/** Whether a zone exists. */
export function isZone(zone: string): boolean {
  if (zone === '') return false
  try {
    format(zone)
    return true
  } catch {
    return false
  }
}

/** A moment on a zone's calendar. */
export interface Local {
  /** 2026-12-24. */
  date: string
  /** From Monday, 0 to 6. */
  day: number
  /** From midnight. */
  minutes: number
}

const weekday = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun']

/** What a zone's clocks and calendar show at a moment. */
export function localIn(zone: string, at: Date): Local {
  const parts: Record<string, string> = {}
  for (const { type, value } of format(zone).formatToParts(at)) parts[type] = value
  return {
    date: `${parts.year}-${parts.month}-${parts.day}`,
    day: weekday.indexOf(parts.weekday!),
    minutes: Number(parts.hour) * 60 + Number(parts.minute),
  }
}

/** Minutes that a zone is ahead of UTC at a moment. */
export function offsetMinutes(zone: string, at: Date): number {
  const { date, minutes } = localIn(zone, at)
  const local = Date.parse(`${date}T00:00:00Z`) + minutes * 60_000
  return Math.round((local - Math.floor(at.getTime() / 60_000) * 60_000) / 60_000)
}

/** An offset for people: UTC+2, UTC−3:30. */
export function offsetText(minutes: number): string {
  const size = Math.abs(minutes)
  const rest = size % 60 ? `:${String(size % 60).padStart(2, '0')}` : ''
  return minutes === 0 ? 'UTC' : `UTC${minutes > 0 ? '+' : '−'}${Math.floor(size / 60)}${rest}`
}

/** When a zone's clocks change next within a year; undefined: they do not. */
export function nextClockChange(zone: string, from: Date): Date | undefined {
  const day = 86_400_000
  const start = Math.floor(from.getTime() / 60_000) * 60_000
  const before = offsetMinutes(zone, from)
  for (let i = 1; i <= 366; i++) {
    const at = new Date(start + i * day)
    if (offsetMinutes(zone, at) === before) continue
    let low = at.getTime() - day
    let high = at.getTime()
    while (high - low > 60_000) {
      const middle = Math.floor((low + high) / 120_000) * 60_000
      if (offsetMinutes(zone, new Date(middle)) === before) low = middle
      else high = middle
    }
    return new Date(high)
  }
  return undefined
}
