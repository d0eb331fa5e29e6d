import { describe, expect, it } from 'vitest'
import { amount, bytes, count, many, money, moneyChange, percent, perMonth, shortMoney } from './money'
import { ago, atUTC, forField, moment, span } from './time'
import { newsText } from './news'
import { word } from './words'

describe('money', () => {
  it('has as many digits as its size needs', () => {
    expect([0, 0.0416, 0.1, 0.139, 3.84, 999.994, 1204.4, 1e6].map(money)).toEqual(['$0.00', '$0.0416', '$0.10', '$0.139', '$3.84', '$999.99', '$1,204', '$1,000,000'])
  })
  it('is in whole cents when it was paid or saved', () => {
    expect([0, 0.3724, 0.057, 0.0026, -0.0103, -0.001, 1.02, 4115.2].map(amount)).toEqual(['$0.00', '$0.37', '$0.06', '<$0.01', '−$0.01', '−<$0.01', '$1.02', '$4,115'])
    expect(amount(undefined)).toBe('–')
  })
  it('shows losses with a minus, and no minus before nothing', () => {
    expect(money(-12.5)).toBe('−$12.50')
    expect(money(-0.00001)).toBe('$0.00')
    expect(moneyChange(3)).toBe('+$3.00')
    expect(moneyChange(-3)).toBe('−$3.00')
    expect(shortMoney(-1234)).toBe('−$1.2K')
    expect([perMonth(812), perMonth(-812.4), perMonth(4.2), perMonth(0), perMonth(2963.7)]).toEqual(['$812/mo', '−$812/mo', '$4.20/mo', '$0/mo', '$2,964/mo'])
  })
  it('shows what is not known as a dash', () => {
    expect([money(undefined), money(null), money(Number.NaN), percent(undefined), count(null)]).toEqual(['–', '–', '–', '–', '–'])
  })
})

describe('shares and counts', () => {
  it('rounds percentages by their size', () => {
    expect([0, 0.004, 0.1249, 0.61, 1, 1.5, -0.031].map(percent)).toEqual(['0%', '0.4%', '12.5%', '61%', '100%', '150%', '−3.1%'])
  })
  it('counts', () => {
    expect([many(1, 'node'), many(1200, 'node'), many(0, 'policy', 'policies')]).toEqual(['1 node', '1,200 nodes', '0 policies'])
    expect([bytes(512), bytes(1536), bytes(5 * 1024 ** 3)]).toEqual(['512 B', '1.5 KiB', '5 GiB'])
  })
})

describe('time', () => {
  const now = Date.parse('2026-11-28T12:00:00Z')
  it('tells how long ago by the largest unit', () => {
    expect(['2026-11-28T11:59:58Z', '2026-11-28T11:59:20Z', '2026-11-28T09:00:01Z', '2026-11-26T11:00:00Z', '2026-11-28T12:10:00Z', null].map((at) => ago(at, now))).toEqual([
      'just now',
      '40 s ago',
      '2 h ago',
      '2 d ago',
      'in 10 min',
      'never',
    ])
  })
  it('tells lengths by two units', () => {
    expect([0, 59, 60, 3725, 90_000, -4].map(span)).toEqual(['0 s', '59 s', '1 min', '1 h 2 min', '1 d 1 h', '0 s'])
  })
  it('shows UTC and refuses what is no time', () => {
    expect(atUTC('2026-11-28T12:00:00.123Z')).toBe('2026-11-28 12:00:00 UTC')
    expect([moment(''), moment('x'), moment(null), moment(undefined)]).toEqual([undefined, undefined, undefined, undefined])
  })
})

describe('news', () => {
  it('is without the contract’s underscores and without ids', () => {
    expect(newsText({ type: 'spot_event', message: 'node ip-10-0-0-1: drained, replacement_launched, gone' })).toBe('Node ip-10-0-0-1: drained, replacement launched, gone')
    expect(newsText({ type: 'policy', message: 'the policy of cluster 1c03517c-fd8c-4aa2-9699-cff0c080a9e3 was changed' })).toBe('The policy of a cluster was changed')
    expect(newsText({ type: 'stop', message: 'a stop of the customer holds: my_service' })).toBe('A stop of the customer holds: my_service')
  })
  it('has its own words, or a sentence of its fields', () => {
    expect([
      newsText({ type: 'stop', message: 'Ada stopped prod-eu' }),
      newsText({ type: 'optimization_step', step: 'drain', status: 'completed' }),
      newsText({ type: 'optimization_complete', status: 'success', savings: 812 }),
      newsText({ type: 'optimization_complete', status: 'success', savings: 0 }),
      newsText({ type: 'policy', subject: 'prod-eu', message: 'the policy of prod-eu was changed' }),
      newsText({ type: 'policy', subject: 'prod-eu' }),
    ]).toEqual(['Ada stopped prod-eu', 'Step “drain” completed', 'A plan was carried out: saves $812/mo', 'A plan has ended', 'The policy of prod-eu was changed', 'Policy prod-eu'])
  })
})

describe('words', () => {
  it('reads the contract out', () => {
    expect([word('bin_pack'), word('on-demand'), word('some_new_thing'), word('')]).toEqual(['Consolidation', 'On-demand', 'Some new thing', '–'])
  })
})

describe('a field of date and time', () => {
  it('has a moment in the viewer’s zone, and gives it back', () => {
    for (const at of ['2026-12-04T23:00:00.000Z', '2026-07-01T00:30:00.000Z']) expect(moment(forField(at))?.toISOString()).toBe(at)
    expect(forField(undefined)).toBe('')
  })
})
