import { describe, expect, it } from 'vitest'
import type { ReliabilityBin, SpotEvent } from '@/api/schema'
import { whole } from '@/pages/activity/feed'
import { chance, lead, outcomeOf, sourceOf } from './foretold'
import { pointsOf, verdictOf, wilson } from './reliability'
import { heardOf, storyOf } from './story'

const bin = (lower: number, predicted: number, observed: number, count: number): ReliabilityBin => ({ lower, upper: lower + 0.1, predicted, observed, count })

describe('reliability', () => {
  it('leaves out empty bins and counts what came true', () => {
    expect(pointsOf([bin(0, 0, 0, 0), bin(0.1, 0.15, 0.1, 200)])).toMatchObject([{ name: '10–20%', count: 200, interrupted: 20 }])
  })
  it("has Wilson's interval", () => {
    const [low, high] = wilson(0.1, 100)
    expect(low).toBeCloseTo(0.0552, 3)
    expect(high).toBeCloseTo(0.1744, 3)
    expect(wilson(0, 10)[0]).toBe(0)
    expect(wilson(0.5, 0)).toEqual([0, 1])
  })
  it('judges only what it can', () => {
    expect(verdictOf(pointsOf([bin(0, 0.05, 0.5, 20)]))).toContain('Too few')
    expect(verdictOf(pointsOf([bin(0, 0.05, 0.05, 1000)]))).toContain('is what happens')
    expect(verdictOf(pointsOf([bin(0, 0.09, 0.02, 1000)]))).toContain('overstated')
    expect(verdictOf(pointsOf([bin(0, 0.02, 0.09, 1000)]))).toContain('understated')
  })
})

describe('stories', () => {
  const event = (state: string, action_taken: string): SpotEvent => ({
    event_id: 'e',
    event_type: 'interruption_warning',
    instance_id: 'i-1',
    region: 'eu-west-1',
    availability_zone: 'eu-west-1a',
    received_at: '2026-11-28T10:00:00Z',
    state,
    action_taken,
  })
  const told = (timestamp: string, state: string, words: string) => whole({ type: 'spot_event', timestamp, spot_event: event(state, words) })
  const names = (story: ReturnType<typeof storyOf>) => story.milestones.map((each) => `${each.name} ${each.state}`)

  it('goes from the warning to gone, with durations from what was heard', () => {
    const heard = heardOf([
      told('2026-11-28T10:02:00Z', 'gone', 'drained, replacement_launched, terminated'),
      told('2026-11-28T10:00:40Z', 'drained', 'drained, replacement_launched'),
      told('2026-11-28T10:00:05Z', 'draining', 'draining, replacement_launched'),
      told('2026-11-28T10:00:01Z', 'draining', 'draining, replacement_pending'),
    ])
    const story = storyOf(event('gone', 'drained, replacement_launched, terminated, gone'), heard.get('e'))
    expect(names(story)).toEqual(['Warned done', 'Drain began done', 'Replaced done', 'Drained done', 'Gone done'])
    expect(story.milestones.map((each) => each.after)).toEqual([0, 1, 5, 40, 120])
    expect(story.over).toBe(true)
  })
  it('shows what goes on and what is open', () => {
    expect(names(storyOf(event('draining', 'draining, replacement_pending')))).toEqual(['Warned done', 'Draining now', 'Replacement now', 'Gone open'])
  })
  it('shows what went wrong', () => {
    expect(names(storyOf(event('gone', 'drain_blocked, replacement_failed, gone')))).toEqual(['Warned done', 'Drain blocked wrong', 'No replacement wrong', 'Gone done'])
    expect(names(storyOf(event('gone', 'gone')))[1]).toBe('Not drained wrong')
  })
  it('ends where it was dismissed', () => {
    expect(storyOf(event('dismissed', 'dismissed'))).toMatchObject({ over: true, milestones: [{ name: 'Warned' }, { name: 'Dismissed' }] })
  })
})

describe('what was foretold', () => {
  const foretold = { probability: 0.125, horizon_minutes: 1440, said_at: '2026-11-28T09:20:00Z', model: 'spot_advisor' }
  it('says how likely, how soon, by whom and how long before', () => {
    expect(chance(foretold)).toBe('12.5% within a day')
    expect(chance({ ...foretold, probability: 0, horizon_minutes: 120 })).toBe('0% within 2 h')
    expect(sourceOf('spot_advisor')).toBe('Spot Advisor')
    expect(sourceOf('0123456789abcdef')).toBe('0123456789abcdef')
    const event = { event_id: 'e', event_type: 'interruption_warning', instance_id: 'i-1', region: '', availability_zone: '', state: 'gone', received_at: '2026-11-28T10:00:00Z' }
    expect(lead({ ...event, foretold })).toBe('40 min')
    expect(lead(event)).toBe('–')
  })
  it('is held against what happened', () => {
    expect(outcomeOf({ event_type: 'interruption_warning', state: 'draining' })).toBe('taken')
    expect(outcomeOf({ event_type: 'rebalance_recommendation', state: 'at_risk' })).toBe('open')
    expect(outcomeOf({ event_type: 'rebalance_recommendation', state: 'gone' })).toBe('taken')
    expect(outcomeOf({ event_type: 'interruption_warning', state: 'dismissed' })).toBe('spared')
    expect(outcomeOf({ event_type: 'instance_terminated', state: '' })).toBe('ended')
  })
})
