import type { QueryClient } from '@tanstack/react-query'
import type { Rpc } from '@/api/client'
import type { Cluster } from '@/api/schema'
import type { Message } from './stream'

/** What a message makes old: RPCs whose answers are asked again where they are on the screen. */
const outdated: Record<string, Rpc[]> = {
  optimization_started: ['AdminService/ListOptimizations', 'AdminService/GetOptimization', 'GuardService/GetClusterEstimate'],
  optimization_step: ['AdminService/GetOptimization', 'AdminService/ListOptimizations'],
  optimization_waiting: ['AdminService/GetOptimization', 'AdminService/ListOptimizations'],
  optimization_decided: ['AdminService/GetOptimization', 'AdminService/ListOptimizations'],
  optimization_complete: [
    'AdminService/GetOptimization',
    'AdminService/ListOptimizations',
    'AdminService/ListClusters',
    'AdminService/GetSavings',
    'SavingsService/GetSavingsHistory',
    'SavingsService/ListDecisionSavings',
    'GuardService/GetClusterEstimate',
    'InventoryService/ListNodes',
    'AdminService/GetClusterState',
  ],
  task_update: ['AdminService/GetOptimization', 'InventoryService/ListNodes', 'ScheduleService/ListSchedules', 'ScheduleService/ListScheduleRuns'],
  spot_event: ['AdminService/ListSpotEvents', 'InventoryService/ListSpotPools', 'InventoryService/ListNodes'],
  stop: ['GuardService/ListStops', 'GuardService/GetEffectivePolicy', 'AdminService/ListClusters', 'AdminService/GetOptimization', 'AdminService/ListOptimizations'],
  policy: ['GuardService/ListPolicies', 'GuardService/GetEffectivePolicy', 'AdminService/ListClusters'],
  schedule: ['ScheduleService/ListSchedules', 'ScheduleService/ListScheduleRuns'],
  cluster: ['AdminService/ListClusters', 'InventoryService/GetCluster', 'GuardService/GetClusterEstimate', 'ScheduleService/ListSchedules'],
  model: ['AdminService/ListModels'],
}

/** How often at most the same answer is asked again because of messages. */
const quietMs = 1000
/** Answers that are long or dear, more rarely. */
const rarely: Partial<Record<Rpc, number>> = {
  'InventoryService/ListNodes': 5000,
  'AdminService/GetClusterState': 5000,
  'AdminService/ListClusters': 3000,
  'InventoryService/ListSpotPools': 10_000,
  'SavingsService/GetSavingsHistory': 10_000,
}

/**
 * Applier brings the cache up to date with what the stream tells. Many messages make one question: an answer is asked
 * again at most once in its quiet time, however fast messages come.
 */
export class Applier {
  private readonly due = new Map<Rpc, ReturnType<typeof setTimeout>>()
  private readonly asked = new Map<Rpc, number>()

  constructor(
    private readonly cache: QueryClient,
    private readonly now: () => number = Date.now,
  ) {}

  apply(message: Message): void {
    if (message.type === 'cluster_state') this.clusterState(message)
    for (const rpc of outdated[message.type] ?? []) this.soon(rpc)
    if (Number(message.sequence ?? 0) > 0) this.soon('AdminService/ListActivity')
  }

  /** Everything may be old: what is on the screen is asked again, the rest when it is looked at. */
  reset(): void {
    void this.cache.invalidateQueries()
  }

  stop(): void {
    for (const timer of this.due.values()) clearTimeout(timer)
    this.due.clear()
  }

  private soon(rpc: Rpc): void {
    if (this.due.has(rpc)) return
    const quiet = rarely[rpc] ?? quietMs
    const wait = Math.max(100, (this.asked.get(rpc) ?? 0) + quiet - this.now())
    const timer = setTimeout(() => {
      this.due.delete(rpc)
      this.asked.set(rpc, this.now())
      void this.cache.invalidateQueries({ queryKey: [rpc] })
    }, wait)
    this.due.set(rpc, timer)
  }

  // A cluster's numbers come with the message, so lists move without being asked again.
  private clusterState({ state, cluster_id: id, timestamp }: Message): void {
    if (!state || !id) return
    const moved = (cluster: Cluster): Cluster =>
      cluster.cluster_id !== id
        ? cluster
        : {
            ...cluster,
            status: 'active',
            node_count: state.total_nodes ?? cluster.node_count,
            pod_count: state.total_pods ?? cluster.pod_count,
            current_cost_per_hour: state.current_cost_per_hour ?? cluster.current_cost_per_hour,
            baseline_cost_per_hour: state.baseline_cost_per_hour ?? cluster.baseline_cost_per_hour,
            health_status: state.health_status || cluster.health_status,
            last_seen_at: timestamp ?? cluster.last_seen_at,
          }
    this.cache.setQueriesData<Cluster[]>({ queryKey: ['AdminService/ListClusters'] }, (old) => (Array.isArray(old) ? old.map(moved) : old))
    const listed = this.cache.getQueriesData<Cluster[]>({ queryKey: ['AdminService/ListClusters'] })
    const pending = listed.some(([, rows]) => Array.isArray(rows) && rows.some((row) => row.cluster_id === id && !row.k8s_version))
    if (pending) this.soon('AdminService/ListClusters')
    this.soon('InventoryService/ListNodes')
    this.soon('InventoryService/GetCluster')
    this.soon('AdminService/GetClusterState')
  }
}
