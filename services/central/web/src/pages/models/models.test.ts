import { describe, expect, it } from 'vitest'
import type { DataGap, SeriesCoverage } from '@/api/schema'
import { calendarOf } from './gaps'
import { guessFormat, nameOf } from './upload'

const gap = (series: string, start: string, end: string, more: Partial<DataGap> = {}): DataGap => ({ series, start, end, cause: 'agent_down', missing: 1, fillable: false, method: '', reason: '', ...more })
const series = (name: string): SeriesCoverage => ({ series: name, cadence_seconds: 15, expected: 10, observed: 5, imputed: 0, coverage: 0.5, gaps: 1 })

describe('the gap calendar', () => {
  const span = ['2026-11-01T00:00:00Z', '2026-11-04T12:00:00Z'] as const
  it('cuts a gap at midnights of UTC', () => {
    const { days, series: rows } = calendarOf([gap('a', '2026-11-01T18:00:00Z', '2026-11-03T06:00:00Z')], [series('a')], ...span)
    expect(days).toEqual(['2026-11-01', '2026-11-02', '2026-11-03', '2026-11-04'])
    expect(rows[0]!.cells.map((each) => each.missing)).toEqual([0.25, 1, 0.25, 0])
    expect(rows[0]!.cells[3]!.cause).toBe('')
  })
  it('counts the last day by what of it was looked at', () => {
    const { series: rows } = calendarOf([gap('a', '2026-11-04T06:00:00Z', '2026-11-05T00:00:00Z')], [series('a')], ...span)
    expect(rows[0]!.cells[3]!.missing).toBe(0.5)
  })
  it('names the cause of most of a day', () => {
    const gaps = [gap('a', '2026-11-02T00:00:00Z', '2026-11-02T03:00:00Z'), gap('a', '2026-11-02T10:00:00Z', '2026-11-02T16:00:00Z', { cause: 'refused', fillable: true })]
    const cell = calendarOf(gaps, [series('a')], ...span).series[0]!.cells[1]!
    expect(cell).toEqual({ missing: 9 / 24, cause: 'refused', fillable: true })
  })
  it('keeps the order of series, and adds those that only gaps name', () => {
    const { series: rows } = calendarOf([gap('c', '2026-11-02T00:00:00Z', '2026-11-02T03:00:00Z')], [series('b'), series('a')], ...span)
    expect(rows.map((row) => row.name)).toEqual(['b', 'a', 'c'])
  })
  it('has no days for a span that is none', () => {
    expect(calendarOf([], [series('a')], '', '').days).toEqual([])
  })
})

describe('uploads', () => {
  it('guesses formats', () => {
    expect(guessFormat('tree\nversion=v4\n')).toBe('lightgbm_text')
    expect(guessFormat('{"learner":{"attributes":{}}}')).toBe('xgboost_json')
    expect(guessFormat(' {"kind":"spot_interruption"}')).toBe('cloudoptim')
  })
  it('makes names that are taken', () => {
    expect(nameOf('my model (3).txt')).toBe('my-model-3-')
    expect(nameOf('..x.json')).toBe('x')
  })
})
