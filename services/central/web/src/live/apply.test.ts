import { QueryClient } from '@tanstack/react-query'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Applier } from './apply'

beforeEach(() => vi.useFakeTimers())
afterEach(() => vi.useRealTimers())

describe('applying messages', () => {
  it('moves a cluster in the lists without asking again', () => {
    const cache = new QueryClient()
    const key = ['AdminService/ListClusters', {}]
    const cluster = { cluster_id: 'c', node_count: 3, pod_count: 9, k8s_version: '1.33', health_status: 'RED', status: 'offline' }
    cache.setQueryData(key, [cluster, { ...cluster, cluster_id: 'd' }])
    new Applier(cache).apply({ type: 'cluster_state', cluster_id: 'c', state: { total_nodes: 4, total_pods: 12, health_status: 'GREEN', current_cost_per_hour: 2 } as never })
    expect(cache.getQueryData(key)).toMatchObject([
      { node_count: 4, pod_count: 12, health_status: 'GREEN', status: 'active', current_cost_per_hour: 2 },
      { node_count: 3, status: 'offline' },
    ])
  })

  it('asks again once for many messages, and again only after its quiet time', () => {
    const cache = new QueryClient()
    const asked: unknown[] = []
    vi.spyOn(cache, 'invalidateQueries').mockImplementation(async (filters) => {
      asked.push(filters?.queryKey?.[0])
    })
    const applier = new Applier(cache)
    const flood = (ms: number) => {
      for (let i = 0; i < ms / 10; i++) {
        applier.apply({ type: 'optimization_step', optimization_id: 'o', sequence: '5' })
        vi.advanceTimersByTime(10)
      }
    }
    flood(2050)
    expect(asked.filter((rpc) => rpc === 'AdminService/GetOptimization')).toHaveLength(2)
    expect(asked).toContain('AdminService/ListActivity')
    applier.stop()
    asked.length = 0
    vi.advanceTimersByTime(10_000)
    expect(asked).toHaveLength(0)
  })

  it('asks for schedules and their runs when one has moved', () => {
    const cache = new QueryClient()
    const asked: unknown[] = []
    vi.spyOn(cache, 'invalidateQueries').mockImplementation(async (filters) => {
      asked.push(filters?.queryKey?.[0])
    })
    new Applier(cache).apply({ type: 'schedule', status: 'falling_asleep', subject: 's', sequence: '7' })
    vi.advanceTimersByTime(200)
    expect(asked.toSorted()).toEqual(['AdminService/ListActivity', 'ScheduleService/ListScheduleRuns', 'ScheduleService/ListSchedules'])
  })
})
