import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Stream, type LineState, type Message, type Socket } from './stream'

class Wire implements Socket {
  onopen: (() => void) | null = null
  onmessage: ((event: { data: unknown }) => void) | null = null
  onclose: ((event: { code: number; reason: string }) => void) | null = null
  closed = false
  constructor(readonly url: string) {}
  close() {
    this.closed = true
  }
  say(message: Message) {
    this.onmessage?.({ data: JSON.stringify(message) })
  }
}

function line(random = () => 1) {
  const wires: Wire[] = []
  const heard: Message[] = []
  const states: LineState[] = []
  let resets = 0
  const stream = new Stream({
    url: 'ws://central/stream',
    open: (url) => {
      const wire = new Wire(url)
      wires.push(wire)
      return wire
    },
    onMessage: (message) => heard.push(message),
    onReset: () => resets++,
    onState: (state) => states.push(state),
    random,
  })
  return { stream, wires, heard, states, resets: () => resets, last: () => wires[wires.length - 1]! }
}

beforeEach(() => vi.useFakeTimers())
afterEach(() => vi.useRealTimers())

describe('stream', () => {
  it('goes on behind the last sequence it saw', () => {
    const l = line()
    l.stream.start()
    expect(l.last().url).toBe('ws://central/stream')
    l.last().onopen?.()
    l.last().say({ type: 'heartbeat', sequence: '40' })
    l.last().say({ type: 'stop', sequence: '42' })
    l.last().say({ type: 'cluster_state' }) // sequence 0: it is not kept
    l.last().onclose?.({ code: 1006, reason: '' })
    vi.advanceTimersByTime(60_000)
    expect(l.last().url).toBe('ws://central/stream?after_sequence=42')
    l.last().onopen?.()
    expect(l.resets()).toBe(0)
    expect(l.heard.map((m) => m.type)).toEqual(['stop', 'cluster_state'])
  })

  it('reads everything again after a reset and counts on from it, even downwards', () => {
    const l = line()
    l.stream.start()
    l.last().onopen?.()
    l.last().say({ type: 'stop', sequence: '900' })
    l.last().say({ type: 'reset', sequence: '12' })
    expect(l.resets()).toBe(1)
    l.last().onclose?.({ code: 1006, reason: '' })
    vi.advanceTimersByTime(60_000)
    expect(l.last().url).toBe('ws://central/stream?after_sequence=12')
  })

  it('without sequences reads everything again when the line comes back, not at first', () => {
    const l = line()
    l.stream.start()
    l.last().onopen?.()
    expect(l.resets()).toBe(0)
    l.last().onclose?.({ code: 1006, reason: '' })
    vi.advanceTimersByTime(60_000)
    l.last().onopen?.()
    expect(l.resets()).toBe(1)
  })

  it('comes back after a bye, and not after being signed out', () => {
    const l = line()
    l.stream.start()
    l.last().onopen?.()
    l.last().say({ type: 'bye', message: 'draining' })
    expect(l.last().closed).toBe(true)
    expect(l.states.at(-1)).toMatchObject({ name: 'waiting', why: 'draining' })
    vi.advanceTimersByTime(60_000)
    expect(l.wires).toHaveLength(2)
    l.last().onopen?.()
    l.last().say({ type: 'bye', message: 'signed_out' })
    expect(l.states.at(-1)).toMatchObject({ name: 'ended' })
    vi.advanceTimersByTime(600_000)
    expect(l.wires).toHaveLength(2)
  })

  it('waits longer each time, up to a bound, with jitter, and begins anew once it hears something', () => {
    const l = line(() => 0.5)
    l.stream.start()
    const waits: number[] = []
    for (let i = 0; i < 9; i++) {
      l.last().onclose?.({ code: 1006, reason: '' })
      const state = l.states.at(-1)
      if (state?.name !== 'waiting') throw new Error('it does not wait')
      waits.push(state.until - Date.now())
      vi.advanceTimersByTime(waits[i]!)
    }
    expect(waits.slice(0, 4)).toEqual([500, 750, 1250, 2250])
    expect(waits.at(-1)).toBe(15_250)
    l.last().onopen?.()
    l.last().say({ type: 'heartbeat', sequence: '1' })
    l.last().onclose?.({ code: 1006, reason: '' })
    expect(l.states.at(-1)).toMatchObject({ attempt: 1 })
  })

  it('gives up a line whose heartbeats stay away', () => {
    const l = line()
    l.stream.start()
    l.last().onopen?.()
    l.last().say({ type: 'heartbeat', sequence: '1' })
    vi.advanceTimersByTime(10_000)
    l.last().say({ type: 'heartbeat', sequence: '1' })
    vi.advanceTimersByTime(29_000)
    expect(l.last().closed).toBe(false)
    vi.advanceTimersByTime(1_001)
    expect(l.wires[0]!.closed).toBe(true)
    expect(l.states.at(-1)).toMatchObject({ name: 'waiting' })
  })

  it('hurries when asked and stops for good', () => {
    const l = line()
    l.stream.start()
    l.last().onclose?.({ code: 1006, reason: '' })
    l.stream.hurry()
    expect(l.wires).toHaveLength(2)
    l.stream.hurry()
    expect(l.wires).toHaveLength(2)
    l.stream.stop()
    expect(l.last().closed).toBe(true)
    vi.advanceTimersByTime(600_000)
    expect(l.wires).toHaveLength(2)
  })

  it('ignores what is no message', () => {
    const l = line()
    l.stream.start()
    l.last().onopen?.()
    l.last().onmessage?.({ data: '{' })
    l.last().onmessage?.({ data: 'null' })
    l.last().onmessage?.({ data: new ArrayBuffer(1) })
    expect(l.heard).toHaveLength(0)
  })
})
