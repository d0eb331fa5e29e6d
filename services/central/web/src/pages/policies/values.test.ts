import { describe, expect, it } from 'vitest'
import type { PolicyValues } from '@/api/schema'
import { budgetText, changesOf, valuesFault, valueText } from './values'

const around: PolicyValues = {
  mode: 'recommend',
  budgets: { budgets: [{ nodes: '10%', nodes_per_hour: 0 }] },
  windows: { windows: [] },
  stale_after_seconds: 60,
  min_savings_ratio: 0.05,
  plan_every_minutes: 60,
  engines: { names: ['spot_optimize', 'bin_pack'] },
}

describe('values', () => {
  it('says each', () => {
    expect(valueText('budgets', around)).toBe('At most 10% of the nodes at once')
    expect(valueText('windows', around)).toBe('Plans may disrupt at any time.')
    expect(valueText('plan_every_minutes', { plan_every_minutes: 90 })).toBe('Every 1 h 30 min')
    expect(valueText('min_savings_ratio', around)).toBe('5.0% of the cluster’s cost')
    expect(valueText('engines', { engines: { names: [] } })).toBe('None plans by itself')
    expect(valueText('mode', {})).toBe('Not set')
    expect(budgetText({ nodes: '0', nodes_per_hour: 0 })).toBe('no node')
    expect(budgetText({ nodes: '1', nodes_per_hour: 6 })).toBe('at most 1 node at once and at most 6 nodes an hour')
  })
  it('finds what saving changes, against what is inherited', () => {
    expect(changesOf({}, {}, around)).toEqual([])
    expect(changesOf({}, { mode: 'automatic' }, around)).toMatchObject([{ field: 'mode', before: 'Recommend', after: 'Automatic', loosens: true }])
    expect(changesOf({ mode: 'automatic' }, {}, around)).toMatchObject([{ before: 'Automatic', after: 'Recommend, inherited', loosens: false }])
    expect(changesOf({ mode: 'approve' }, { mode: 'approve', stale_after_seconds: 300 }, around)).toMatchObject([{ field: 'stale_after_seconds', before: '1 min', after: '5 min', loosens: true }])
  })
  it('finds what cannot be saved', () => {
    expect(valuesFault(around)).toBeUndefined()
    expect(valuesFault({ budgets: { budgets: [{ nodes: '10 %', nodes_per_hour: 0 }] } })).toContain('must be a number')
    expect(valuesFault({ budgets: { budgets: [{ nodes: '', nodes_per_hour: 0 }] } })).toContain('needs a number')
    expect(valuesFault({ windows: { windows: [{ effect: 'allow', reason: '', during: { time_zone: 'Mars', spans: [], first_date: '', last_date: '' } }] } })).toContain('zone')
  })
})
