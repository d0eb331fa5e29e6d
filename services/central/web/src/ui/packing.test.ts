import { describe, expect, it } from 'vitest'
import type { DecisionResponse, NodeMetric, Pod } from '@/api/schema'
import { meanFull, packing, planned } from './packing'

const node = (name: string, more: Partial<NodeMetric> = {}) =>
  ({ node_name: name, instance_type: 'm5.large', availability_zone: 'eu-west-1a', node_type: 'spot', cpu_allocatable: 2, memory_allocatable_gb: 8, cpu_allocated: 1, memory_allocated_gb: 2, hourly_price: 0.04, ...more }) as NodeMetric
const pod = (uid: string, on: string, cpu: number, kind = 'ReplicaSet') =>
  ({ uid, name: uid, namespace: 'web', node_name: on, owner: { kind, name: 'x', uid: '' }, requests: { cpu_millicores: String(cpu * 1000), memory_bytes: String(2 ** 30), ephemeral_storage_bytes: '0', extended: {} } }) as unknown as Pod
const decision = (more: Partial<DecisionResponse>) => ({ node_verdicts: [], pod_moves: [], new_nodes: [], recommendations: [], ...more }) as unknown as DecisionResponse

describe('packing', () => {
  const state = { nodes: [node('a'), node('b')], pods: [pod('p', 'a', 0.5), pod('d', 'a', 0.1, 'DaemonSet'), pod('q', 'b', 1), pod('pending', '', 1)] }

  it('without a plan is the cluster as it is', () => {
    const { before, after } = packing(state)
    expect(after).toBe(before)
    expect(before.map((each) => [each.name, each.fate, each.pods.length])).toEqual([
      ['a', 'stays', 2],
      ['b', 'stays', 1],
    ])
    expect(before[1]!.full).toBe(0.5)
  })

  it('moves pods to where a plan expects them and takes the empty node away', () => {
    const { before, after } = packing(
      state,
      decision({
        node_verdicts: [{ node_name: 'a', verdict: 'replace', reason: 'replaced', detail: '', pods_moved: 1 }] as never,
        pod_moves: [{ namespace: 'web', name: 'p', uid: 'p', from_node: 'a', to_node: 'b' }] as never,
      }),
    )
    expect(before.find((each) => each.name === 'a')?.fate).toBe('goes')
    expect(before[0]!.pods.map((each) => [each.name, each.moves, each.daemon])).toEqual([
      ['p', true, false],
      ['d', false, true],
    ])
    expect(after.map((each) => each.name)).toEqual(['b'])
    expect(after[0]!.full).toBeCloseTo(0.75) // 1.5 of 2 vCPU
    expect(meanFull(after)).toBeCloseTo(0.75)
  })

  it('fills nodes that are bought with the pods that are expected there', () => {
    const { after } = packing(
      state,
      decision({
        node_verdicts: [{ node_name: 'a', verdict: 'replace' }] as never,
        pod_moves: [{ namespace: 'web', name: 'p', uid: 'p', from_node: 'a', to_node: 'cloudoptim-new-00000', expected: true }] as never,
        new_nodes: [node('cloudoptim-new-00000', { cpu_allocatable: 1, cpu_allocated: 0 })],
        recommendations: [{ instance_type: 'm5.large', node_count: 1 }] as never,
      }),
    )
    expect(after.map((each) => [each.name, each.fate, each.full, each.pods.length])).toEqual([
      ['b', 'stays', 0.5, 1],
      ['cloudoptim-new-00000', 'new', 0.5, 1],
    ])
  })

  it('draws a plan that is over as it was kept', () => {
    const kept = { node_name: 'a', instance_type: 'm5.large', availability_zone: 'eu-west-1a', node_type: 'spot', cpu_allocatable: 2, hourly_price: 0.04, pod_count: 3, pods: [] }
    const { before, after } = planned({ before: [{ ...kept, fate: 'goes', requested_ratio: 0.25 }], after: [{ ...kept, node_name: 'b', fate: 'new' }] })
    expect(before).toMatchObject([{ name: 'a', fate: 'goes', full: 0.25, count: 3, spot: true }])
    expect(after).toMatchObject([{ name: 'b', fate: 'new', full: undefined, count: 3 }])
  })

  it('does not invent where pods land when the engine does not say', () => {
    const { after } = packing(
      state,
      decision({
        node_verdicts: [{ node_name: 'a', verdict: 'replace' }] as never,
        recommendations: [{ instance_type: 'm5a.large', node_count: 2, availability_zone: 'eu-west-1b', node_type: 'spot', hourly_price: 0.03 }] as never,
      }),
    )
    expect(after.map((each) => [each.fate, each.full])).toEqual([
      ['stays', 0.5],
      ['new', undefined],
      ['new', undefined],
    ])
  })

  it('draws a node whose pods are not known by what it reports', () => {
    expect(packing({ nodes: [node('a', { memory_allocated_gb: 6 })], pods: [] }).before[0]!.full).toBe(0.75)
  })
})
