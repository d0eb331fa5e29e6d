import { describe, expect, it } from 'vitest'
import type { OpenSpan } from '@/api/schema'
import { cellsOf, cellsPerDay, daysOf, daysText, hoursIn, noCells, onGrid, shifted, spansOf, spansText, type Cells } from './week'

const painted = (...stretches: [number, number][]): Cells => noCells.map((_, at) => stretches.some(([from, to]) => at >= from && at < to))
const at = (day: number, hour: number) => day * cellsPerDay + hour * 2

/** A generator that gives the same numbers on every run. */
function seeded(seed: number) {
  return () => {
    seed = (seed * 1664525 + 1013904223) >>> 0
    return seed / 2 ** 32
  }
}

describe('spans of cells', () => {
  it('makes office hours one span', () => {
    const cells = painted(...[0, 1, 2, 3, 4].map((day): [number, number] => [at(day, 8), at(day, 20)]))
    expect(spansOf(cells)).toEqual([{ days: ['mon-fri'], from: '08:00', to: '20:00' }])
  })
  it('lets a night belong to its evening', () => {
    expect(spansOf(painted([at(1, 22), at(2, 6)]))).toEqual([{ days: ['tue'], from: '22:00', to: '06:00' }])
  })
  it('ends an evening at 24:00', () => {
    expect(spansOf(painted([at(2, 20), at(3, 0)]))).toEqual([{ days: ['wed'], from: '20:00', to: '24:00' }])
  })
  it("goes from Sunday's night into Monday", () => {
    const cells = painted([0, at(0, 5)], [at(6, 23), at(7, 0)])
    expect(spansOf(cells)).toEqual([{ days: ['sun'], from: '23:00', to: '05:00' }])
  })
  it('takes exactly a day from noon to noon as one span', () => {
    expect(spansOf(painted([at(0, 12), at(1, 12)]))).toEqual([{ days: ['mon'], from: '12:00', to: '12:00' }])
  })
  it('cuts what is longer than a day at midnights', () => {
    expect(spansOf(painted([at(0, 8), at(2, 18)]))).toEqual([
      { days: ['mon'], from: '08:00', to: '24:00' },
      { days: ['tue'], from: '00:00', to: '24:00' },
      { days: ['wed'], from: '00:00', to: '18:00' },
    ])
  })
  it('makes the whole week one span, and nothing none', () => {
    expect(spansOf(noCells.map(() => true))).toEqual([{ days: ['mon-sun'], from: '00:00', to: '24:00' }])
    expect(spansOf(noCells)).toEqual([])
  })
  it('paints again what was painted, whatever it was', () => {
    const random = seeded(7)
    for (let round = 0; round < 300; round++) {
      const flips = 1 + Math.floor(random() * 40)
      const cells = [...noCells]
      for (let i = 0; i < flips; i++) {
        const from = Math.floor(random() * 336)
        const length = 1 + Math.floor(random() * 70)
        const value = random() < 0.6
        for (let j = 0; j < length; j++) cells[(from + j) % 336] = value
      }
      const spans = spansOf(cells)
      expect(cellsOf(spans)).toEqual(cells)
      expect(hoursIn(spans)).toBe(cells.filter(Boolean).length / 2)
      for (const { from, to, days } of spans) {
        expect(from).toMatch(/^([01]\d|2[0-3]):[0-5]\d$/)
        expect(to).toMatch(/^(([01]\d|2[0-3]):[0-5]\d|24:00)$/)
        expect(days.length).toBeGreaterThan(0)
      }
    }
  })
})

describe('cells of spans', () => {
  const span = (days: string[], from: string, to: string): OpenSpan => ({ days, from, to })
  it('reads ranges that wrap', () => {
    expect(daysOf(['sun-tue'])).toEqual([0, 1, 6])
    expect(daysOf(['fri-thu'])).toHaveLength(7)
  })
  it('takes equal times as a whole day', () => {
    expect(cellsOf([span(['mon'], '08:00', '08:00')]).filter(Boolean)).toHaveLength(48)
  })
  it('wraps Sunday into Monday', () => {
    const cells = cellsOf([span(['sun'], '22:00', '02:00')])
    expect(cells[0]).toBe(true)
    expect(cells[3]).toBe(true)
    expect(cells[4]).toBe(false)
    expect(cells[335]).toBe(true)
  })
  it('takes the whole of a half hour that is begun, and says that it is not exact', () => {
    const spans = [span(['mon'], '08:15', '09:45')]
    expect(cellsOf(spans).filter(Boolean)).toHaveLength(4)
    expect(onGrid(spans)).toBe(false)
    expect(onGrid([span(['mon'], '08:30', '24:00')])).toBe(true)
  })
  it('moves to another zone and back', () => {
    const cells = painted([at(6, 22), at(7, 0)])
    expect(shifted(cells, 180).findIndex(Boolean)).toBe(2)
    expect(shifted(shifted(cells, 330), -330)).toEqual(cells)
  })
})

describe('words', () => {
  it('says days and spans as people do', () => {
    expect(daysText(['mon-fri'])).toBe('Mon–Fri')
    expect(daysText(['sat', 'sun'])).toBe('Sat and Sun')
    expect(daysText(['mon', 'wed', 'fri'])).toBe('Mon, Wed and Fri')
    expect(daysText(['fri-thu'])).toBe('Every day')
    expect(
      spansText([
        { days: ['mon-fri'], from: '08:00', to: '20:00' },
        { days: ['sat'], from: '22:00', to: '06:00' },
        { days: ['sun'], from: '00:00', to: '24:00' },
      ]),
    ).toBe('Mon–Fri 08:00–20:00; Sat 22:00–06:00 (next day); Sun all day')
  })
})
