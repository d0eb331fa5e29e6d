import { describe, expect, it } from 'vitest'
import type { DisruptionSpan, DisruptionWindow } from '@/api/schema'
import { allowedAt, frozenAt, nextChange, windowsText, within } from './windows'
import { nextClockChange, offsetMinutes, offsetText } from './zone'

const span = (over: Partial<DisruptionSpan> = {}): DisruptionSpan => ({ time_zone: 'Europe/Berlin', spans: [], first_date: '', last_date: '', ...over })
const nights = [{ days: ['mon-fri'], from: '22:00', to: '06:00' }]
const window = (effect: string, during: DisruptionSpan, reason = ''): DisruptionWindow => ({ effect, during, reason })

describe('windows', () => {
  it('says what they mean', () => {
    expect(windowsText(null)).toBe('Plans may disrupt at any time.')
    expect(windowsText({ windows: [window('allow', span({ spans: nights }))] })).toBe('Plans may disrupt only: Mon–Fri 22:00–06:00 (next day), Europe/Berlin.')
    expect(
      windowsText({ windows: [window('allow', span({ spans: nights })), window('deny', span({ first_date: '2026-12-24', last_date: '2026-12-27' }), 'year end')] }),
    ).toBe('Plans may disrupt only: Mon–Fri 22:00–06:00 (next day), Europe/Berlin. Never: all day, every day, Europe/Berlin, 2026-12-24 to 2026-12-27 (year end).')
    expect(windowsText({ windows: [window('deny', span({ spans: nights }))] })).toBe('Plans may disrupt at any time but: Mon–Fri 22:00–06:00 (next day), Europe/Berlin.')
  })
  it('knows nights, and their hours after midnight', () => {
    const night = span({ spans: nights })
    expect(within(night, new Date('2026-11-27T20:59:00Z'))).toBe(false) // Friday 21:59
    expect(within(night, new Date('2026-11-27T21:00:00Z'))).toBe(true)
    expect(within(night, new Date('2026-11-28T04:59:00Z'))).toBe(true) // Saturday 05:59
    expect(within(night, new Date('2026-11-28T05:00:00Z'))).toBe(false)
    expect(within(night, new Date('2026-11-29T22:00:00Z'))).toBe(false) // Sunday 23:00
  })
  it("counts a night to its evening's date", () => {
    const last = span({ spans: nights, last_date: '2026-11-27' })
    expect(within(last, new Date('2026-11-28T02:00:00Z'))).toBe(true)
    const first = span({ spans: nights, first_date: '2026-11-28' })
    expect(within(first, new Date('2026-11-28T02:00:00Z'))).toBe(false)
  })
  it('denies before it allows', () => {
    const windows = [window('allow', span({ spans: nights })), window('deny', span({ first_date: '2026-11-27', last_date: '2026-11-27' }))]
    expect(allowedAt(windows, new Date('2026-11-27T21:30:00Z'))).toBe(false)
    expect(allowedAt(windows, new Date('2026-11-26T21:30:00Z'))).toBe(true)
    expect(allowedAt([], new Date())).toBe(true)
  })
  it('finds the next change to the minute', () => {
    const windows = [window('allow', span({ spans: [{ days: ['mon-fri'], from: '22:10', to: '06:00' }] }))]
    expect(nextChange(windows, new Date('2026-11-27T12:00:30Z'))?.toISOString()).toBe('2026-11-27T21:10:00.000Z')
    expect(nextChange(windows, new Date('2026-11-27T23:00:00Z'))?.toISOString()).toBe('2026-11-28T05:00:00.000Z')
    expect(nextChange([], new Date())).toBeUndefined()
  })
})

describe('freezes', () => {
  const freeze = (last_date: string, time_zone = 'Europe/Berlin', first_date = '2026-11-20') => window('deny', { time_zone, spans: [], first_date, last_date })
  it('end at midnight after their last day, in their zone', () => {
    expect(frozenAt([freeze('2026-12-04')], new Date('2026-11-28T12:00:00Z'))?.until.toISOString()).toBe('2026-12-04T23:00:00.000Z')
    expect(frozenAt([freeze('2027-03-28')], new Date('2026-11-28T12:00:00Z'))?.until.toISOString()).toBe('2027-03-28T22:00:00.000Z') // clocks change that day
    expect(frozenAt([freeze('2026-12-04', 'UTC'), freeze('2026-12-09', 'UTC')], new Date('2026-11-28T12:00:00Z'))?.until.toISOString()).toBe('2026-12-10T00:00:00.000Z')
  })
  it('do not hold before, after, or where only hours are denied', () => {
    expect(frozenAt([freeze('2026-12-04')], new Date('2026-12-04T23:00:00Z'))).toBeUndefined()
    expect(frozenAt([freeze('2026-12-04')], new Date('2026-11-19T22:59:00Z'))).toBeUndefined()
    expect(frozenAt([window('deny', { time_zone: 'UTC', spans: nights, first_date: '', last_date: '2026-12-04' })], new Date('2026-11-28T23:00:00Z'))).toBeUndefined()
    expect(frozenAt([window('deny', { time_zone: 'UTC', spans: [], first_date: '', last_date: '' })], new Date('2026-11-28T23:00:00Z'))).toBeUndefined()
  })
})

describe('zones', () => {
  it('knows offsets in summer and winter', () => {
    expect(offsetMinutes('Europe/Berlin', new Date('2026-11-27T12:00:00Z'))).toBe(60)
    expect(offsetMinutes('Europe/Berlin', new Date('2026-07-27T12:00:00Z'))).toBe(120)
    expect(offsetMinutes('Asia/Kolkata', new Date('2026-07-27T12:00:00Z'))).toBe(330)
    expect(offsetMinutes('America/St_Johns', new Date('2026-11-27T12:00:00Z'))).toBe(-210)
  })
  it('says them', () => {
    expect([0, 60, 330, -210].map(offsetText)).toEqual(['UTC', 'UTC+1', 'UTC+5:30', 'UTC−3:30'])
  })
  it('finds when clocks change', () => {
    expect(nextClockChange('Europe/Berlin', new Date('2026-11-27T12:00:00Z'))?.toISOString()).toBe('2027-03-28T01:00:00.000Z')
    expect(nextClockChange('Asia/Tokyo', new Date())).toBeUndefined()
  })
})
