import type { DataGap, SeriesCoverage } from '@/api/schema'
import { moment } from '@/format/time'

const dayMs = 86_400_000

/** What one series is like on one day. */
export interface DayCell {
  /** Share of the day that is missing, 0 to 1. */
  missing: number
  /** Cause of most of it; empty: nothing is missing. */
  cause: string
  /** A fill would close some of it. */
  fillable: boolean
}

export interface GapCalendar {
  /** Days of UTC, oldest first: 2026-11-27. */
  days: string[]
  series: { name: string; coverage: number; cells: DayCell[] }[]
}

const whole: DayCell = { missing: 0, cause: '', fillable: false }

/** Puts gaps into days of UTC. A gap over midnight counts in each of its days; days count what lies in the span alone. */
export function calendarOf(gaps: readonly DataGap[], series: readonly SeriesCoverage[], start: string, end: string): GapCalendar {
  const from = moment(start)?.getTime() ?? 0
  const to = moment(end)?.getTime() ?? 0
  const first = Math.floor(from / dayMs)
  const count = to > from ? Math.ceil(to / dayMs) - first : 0
  const days = Array.from({ length: count }, (_, i) => new Date((first + i) * dayMs).toISOString().slice(0, 10))
  const bySeries = new Map<string, DataGap[]>()
  for (const gap of gaps) {
    const same = bySeries.get(gap.series)
    if (same) same.push(gap)
    else bySeries.set(gap.series, [gap])
  }
  const listed = new Set(series.map((each) => each.series))
  const rows = [...series.map((each) => ({ name: each.series, coverage: each.coverage })), ...[...bySeries.keys()].filter((name) => !listed.has(name)).map((name) => ({ name, coverage: 0 }))]
  return {
    days,
    series: rows.map(({ name, coverage }) => ({ name, coverage, cells: days.map((_, i) => cellOf(bySeries.get(name) ?? [], Math.max(from, (first + i) * dayMs), Math.min(to, (first + i + 1) * dayMs))) })),
  }
}

function cellOf(gaps: readonly DataGap[], from: number, to: number): DayCell {
  const byCause = new Map<string, number>()
  let fillable = false
  for (const gap of gaps) {
    const missing = Math.min(to, moment(gap.end)?.getTime() ?? to) - Math.max(from, moment(gap.start)?.getTime() ?? from)
    if (missing <= 0) continue
    byCause.set(gap.cause, (byCause.get(gap.cause) ?? 0) + missing)
    fillable ||= gap.fillable
  }
  if (byCause.size === 0) return whole
  const [cause] = [...byCause].toSorted((a, b) => b[1] - a[1])[0]!
  const total = [...byCause.values()].reduce((sum, each) => sum + each, 0)
  return { missing: Math.min(1, total / (to - from)), cause, fillable }
}

/** Causes for people. */
export const causes: Record<string, string> = {
  agent_down: 'The agent was down',
  scrape_failed: 'The agent lived, but sent no report',
  refused: 'Central was not there to take it',
  not_existing: 'The thing did not exist yet',
  not_kept: 'Not kept: too old, or before CloudOptim',
  unknown: 'Not known why',
}

/** Ways to fill, for people. */
export const methods: Record<string, string> = {
  last_value: 'Last value',
  linear: 'Line between both ends',
  hour_of_week_median: 'Median of that hour of the week',
  aws_history: 'AWS’s own history',
}

/** Why a gap stays open, for people. */
export const reasons: Record<string, string> = {
  label: 'What came of nodes is never invented',
  deletion: 'Deletions are never invented',
  no_end: 'It has no end yet',
  no_start: 'Nothing is known before it',
  price: 'Prices are never invented',
  too_little_history: 'Too little history',
  too_old: 'AWS no longer knows',
  no_credentials: 'No access to AWS',
}
