import { describe, expect, it } from 'vitest'
import { belongs, keyOf, merge, placeOf, whole } from './feed'

const news = (sequence: number, more = {}) => whole({ type: 'optimization_step', sequence: String(sequence), timestamp: '2026-11-28T10:00:00Z', ...more })

describe('the feed', () => {
  it('keeps what is kept, and what the filters ask for', () => {
    expect(belongs({ type: 'heartbeat' }, {})).toBe(false)
    expect(belongs({ type: 'cluster_state', cluster_id: 'c' }, {})).toBe(false)
    expect(belongs({ type: 'stop', cluster_id: 'c' }, { cluster: 'd' })).toBe(false)
    expect(belongs({ type: 'stop' }, { kind: 'stops' })).toBe(true)
    expect(belongs({ type: 'spot_event', severity: 'warning' }, { severity: 'error' })).toBe(false)
    expect(belongs({ type: 'spot_event', severity: 'error' }, { severity: 'warning' })).toBe(true)
    expect(belongs({ type: 'spot_event' }, { severity: 'warning' })).toBe(false)
  })
  it('has each message once, the newest first', () => {
    expect(merge([news(5), news(4)], [news(4), news(3)]).map((each) => each.sequence)).toEqual(['5', '4', '3'])
    expect(keyOf(news(0, { message: 'a' }))).not.toBe(keyOf(news(0, { message: 'b' })))
  })
  it('knows where each leads', () => {
    expect(placeOf(news(1, { optimization_id: 'o' }))?.to).toBe('/plans/$planId')
    expect(placeOf(whole({ type: 'stop' }))?.search).toEqual({ tab: 'stops' })
    expect(placeOf(whole({ type: 'cluster', cluster_id: 'c' }))?.params).toEqual({ clusterId: 'c' })
    expect(placeOf(whole({ type: 'cluster' }))).toBeUndefined()
  })
})
