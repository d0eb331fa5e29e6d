import { describe, expect, it } from 'vitest'
import { rowsOf } from './detail'

describe('details', () => {
  it('shows what changed alone, and the rest as it is', () => {
    expect(rowsOf({ before: { mode: 'approve', stale: 60 }, after: { mode: 'automatic', stale: 60, every: 5 }, reason: 'trust' })).toEqual([
      { path: 'mode', before: 'approve', after: 'automatic' },
      { path: 'every', before: '–', after: '5' },
      { path: 'reason', value: 'trust' },
    ])
  })
  it('does not take texts called from and to for a change', () => {
    expect(rowsOf({ from: 'a', to: 'b' })).toEqual([
      { path: 'from', value: 'a' },
      { path: 'to', value: 'b' },
    ])
  })
  it('goes into what is nested', () => {
    expect(rowsOf({ nodes: ['a', 'b'], steps: [{ n: 1 }, { n: 2 }], none: [] })).toEqual([
      { path: 'nodes', value: 'a, b' },
      { path: 'steps[0].n', value: '1' },
      { path: 'steps[1].n', value: '2' },
      { path: 'none', value: 'none' },
    ])
    expect(rowsOf(null)).toEqual([])
  })
})
