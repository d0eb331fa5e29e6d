import type { OpenSpan } from '@/api/schema'

/** Days as the contract has them; a week begins on Monday. */
export const days = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const
export type Day = (typeof days)[number]

/** Days as people read them. */
export const dayNames = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'] as const

/** Minutes that a cell of the grid stands for. */
export const cellMinutes = 30
export const cellsPerDay = 48
export const cellsPerWeek = 336
const dayMinutes = 1440
const weekMinutes = 7 * dayMinutes

/** Half hours of a week from Monday 00:00 that are painted. */
export type Cells = readonly boolean[]

export const noCells: Cells = Array.from({ length: cellsPerWeek }, () => false)

/** Days that a span begins on, by number from Monday; ranges may wrap: sun-fri. */
export function daysOf(names: readonly string[]): number[] {
  const found = new Set<number>()
  for (const name of names) {
    const [from, to] = name.split('-').map((each) => days.indexOf(each as Day))
    if (from === undefined || from < 0 || (to !== undefined && to < 0)) continue
    for (let day = from; ; day = (day + 1) % 7) {
      found.add(day)
      if (day === (to ?? from)) break
    }
  }
  return [...found].toSorted((a, b) => a - b)
}

/** Minutes from midnight of a time as the contract has it; 24:00 is the end of the day. */
export function minutesOf(time: string): number {
  const [hours, minutes] = time.split(':').map(Number)
  return (hours ?? 0) * 60 + (minutes ?? 0)
}

/** A time as the contract has it. */
export function timeOf(minutes: number): string {
  const pad = (n: number) => String(n).padStart(2, '0')
  return `${pad(Math.floor(minutes / 60))}:${pad(minutes % 60)}`
}

/** Minutes that a span lasts: one whose end is not after its begin ends the next day. */
export function lengthOf({ from, to }: Pick<OpenSpan, 'from' | 'to'>): number {
  const length = minutesOf(to) - minutesOf(from)
  return length > 0 ? length : length + dayMinutes
}

/** Begin and end of every day's span, in minutes of the week; ends may lie beyond its end. */
export function stretches(spans: readonly OpenSpan[]): [begin: number, end: number][] {
  return spans.flatMap((span) =>
    daysOf(span.days).map((day): [number, number] => {
      const begin = day * dayMinutes + minutesOf(span.from)
      return [begin, begin + lengthOf(span)]
    }),
  )
}

/** Half hours that spans touch. A span that begins or ends within one takes the whole of it. */
export function cellsOf(spans: readonly OpenSpan[]): Cells {
  const cells = [...noCells]
  for (const [begin, end] of stretches(spans)) {
    for (let cell = Math.floor(begin / cellMinutes); cell * cellMinutes < end; cell++) cells[cell % cellsPerWeek] = true
  }
  return cells
}

/** Whether half hours say exactly what the spans do. */
export function onGrid(spans: readonly OpenSpan[]): boolean {
  return spans.every(({ from, to }) => minutesOf(from) % cellMinutes === 0 && minutesOf(to) % cellMinutes === 0)
}

/**
 * Spans that paint exactly these half hours. A stretch of at most a day is one span of the day it begins on, so that
 * a night belongs to its evening; a longer one is cut at midnights. Days with equal times share a span.
 */
export function spansOf(cells: Cells): OpenSpan[] {
  const byTimes = new Map<string, number[]>()
  const add = (begin: number, end: number) => {
    const day = Math.floor(begin / cellsPerDay)
    const to = end - day * cellsPerDay
    const times = `${timeOf((begin % cellsPerDay) * cellMinutes)} ${timeOf((to > cellsPerDay ? to - cellsPerDay : to) * cellMinutes)}`
    byTimes.set(times, [...(byTimes.get(times) ?? []), day % 7])
  }
  for (const [begin, end] of runs(cells)) {
    if (end - begin <= cellsPerDay) {
      add(begin, end)
      continue
    }
    for (let at = begin; at < end; ) {
      const midnight = (Math.floor(at / cellsPerDay) + 1) * cellsPerDay
      add(at, Math.min(midnight, end))
      at = midnight
    }
  }
  return [...byTimes]
    .map(([times, on]) => ({ on: on.toSorted((a, b) => a - b), times: times.split(' ') as [string, string] }))
    .toSorted((a, b) => a.on[0]! - b.on[0]! || a.times[0].localeCompare(b.times[0]))
    .map(({ on, times: [from, to] }) => ({ days: dayRanges(on), from, to }))
}

/** Stretches of painted half hours; one over the week's end begins late and ends beyond it. */
function runs(cells: Cells): [begin: number, end: number][] {
  if (cells.every(Boolean)) return [[0, cellsPerWeek]]
  const found: [number, number][] = []
  for (let at = 0; at < cellsPerWeek; at++) {
    if (!cells[at] || cells[(at + cellsPerWeek - 1) % cellsPerWeek]) continue
    let end = at + 1
    while (cells[end % cellsPerWeek]) end++
    found.push([at, end])
  }
  return found
}

/** Days as the contract has them, three and more in a row as a range. */
export function dayRanges(on: readonly number[]): string[] {
  return inRows(on).flatMap(([first, last]) =>
    last - first >= 2 ? [`${days[first]}-${days[last]}`] : Array.from({ length: last - first + 1 }, (_, i) => days[first + i]!),
  )
}

function inRows(on: readonly number[]): [number, number][] {
  const rows: [number, number][] = []
  for (const day of on) {
    const last = rows[rows.length - 1]
    if (last && last[1] === day - 1) last[1] = day
    else rows.push([day, day])
  }
  return rows
}

/** Days for people: every day, Mon–Fri, Sat and Sun. */
export function daysText(names: readonly string[]): string {
  const on = daysOf(names)
  if (on.length === 7) return 'Every day'
  const parts = inRows(on).flatMap(([first, last]) =>
    last - first >= 2 ? [`${dayNames[first]}–${dayNames[last]}`] : Array.from({ length: last - first + 1 }, (_, i) => dayNames[first + i] as string),
  )
  return parts.length < 2 ? (parts[0] ?? 'No day') : `${parts.slice(0, -1).join(', ')} and ${parts[parts.length - 1]}`
}

/** Spans for people: Mon–Fri 08:00–20:00, Sat 22:00–06:00 (next day). */
export function spansText(spans: readonly OpenSpan[]): string {
  return spans.length === 0 ? 'all day, every day' : spans.map(spanText).join('; ')
}

/** One span for people. */
export function spanText(span: OpenSpan): string {
  const from = minutesOf(span.from)
  const length = lengthOf(span)
  if (from === 0 && length === dayMinutes) return `${daysText(span.days)} all day`
  const next = from + length > dayMinutes ? ' (next day)' : ''
  return `${daysText(span.days)} ${span.from}–${span.to}${next}`
}

/** Hours of the week within spans, each minute once. */
export function hoursIn(spans: readonly OpenSpan[]): number {
  const minutes = new Uint8Array(weekMinutes)
  for (const [begin, end] of stretches(spans)) for (let at = begin; at < end; at++) minutes[at % weekMinutes] = 1
  return minutes.reduce((sum, each) => sum + each, 0) / 60
}

/** Moves what is painted by minutes, for another zone's week; what leaves the week comes in at its other end. */
export function shifted(cells: Cells, minutes: number): Cells {
  const by = Math.round(minutes / cellMinutes)
  return cells.map((_, at) => cells[(((at - by) % cellsPerWeek) + cellsPerWeek) % cellsPerWeek]!)
}
