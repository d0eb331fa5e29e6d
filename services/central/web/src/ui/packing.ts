import type { ClusterState, DecisionResponse, NodeMetric, PlanMap, PlanMapNode, Pod } from '@/api/schema'

/** A pod's place on a node. */
export interface MapPod {
  name: string
  namespace: string
  cpu: number
  /** Runs on every node and is not moved. */
  daemon: boolean
  /** A plan moves it. */
  moves: boolean
}

/** What becomes of a node: it stays, is taken away, or is bought. */
export type Fate = 'stays' | 'goes' | 'new'

/** A node as the map draws it. */
export interface MapNode {
  name: string
  type: string
  zone: string
  spot: boolean
  /** vCPU that pods may ask for. */
  cpu: number
  /** Requested share, the larger of CPU and memory; undefined: not known before Kubernetes has placed the pods. */
  full?: number
  /** Pods on it; those that are drawn may be none of them in a large cluster. */
  count: number
  pods: MapPod[]
  price: number
  fate: Fate
}

export interface Packing {
  before: MapNode[]
  after: MapNode[]
}

const gib = 2 ** 30

interface Load {
  cpu: number
  memory: number
}

const asks = (pod: Pod): Load => ({
  cpu: Number(pod.requests?.cpu_millicores ?? 0) / 1000,
  memory: Number(pod.requests?.memory_bytes ?? 0) / gib,
})

function share(load: Load, node: NodeMetric): number {
  const cpu = node.cpu_allocatable > 0 ? load.cpu / node.cpu_allocatable : 0
  const memory = node.memory_allocatable_gb > 0 ? load.memory / node.memory_allocatable_gb : 0
  return Math.max(cpu, memory)
}

/** The cluster as it is, and as it is expected to be once a plan is carried out. Without a plan both are the same. */
export function packing(state: Pick<ClusterState, 'nodes' | 'pods'>, decision?: DecisionResponse): Packing {
  const goes = new Set(decision?.node_verdicts.filter((each) => each.verdict === 'replace').map((each) => each.node_name))
  const to = new Map(decision?.pod_moves.map((move) => [move.uid, move.to_node]))
  const byNode = new Map<string, Pod[]>()
  const later = new Map<string, Pod[]>()
  for (const pod of state.pods) {
    if (!pod.node_name) continue
    push(byNode, pod.node_name, pod)
    const moved = to.get(pod.uid)
    if (moved !== undefined) push(later, moved, pod)
    else if (!goes.has(pod.node_name)) push(later, pod.node_name, pod)
  }
  // Only some engines say where pods land; where they do not, new nodes are drawn without a filling.
  const placed = to.size > 0
  const drawn = (node: NodeMetric, pods: Pod[], fate: Fate, known: boolean): MapNode => {
    const load = pods.map(asks).reduce((sum, each) => ({ cpu: sum.cpu + each.cpu, memory: sum.memory + each.memory }), { cpu: 0, memory: 0 })
    const reported = Math.max(node.cpu_allocatable > 0 ? node.cpu_allocated / node.cpu_allocatable : 0, node.memory_allocatable_gb > 0 ? node.memory_allocated_gb / node.memory_allocatable_gb : 0)
    return {
      name: node.node_name,
      type: node.instance_type,
      zone: node.availability_zone,
      spot: node.node_type === 'spot',
      cpu: node.cpu_allocatable,
      count: pods.length,
      full: known ? (pods.length > 0 ? share(load, node) : reported) : undefined,
      pods: pods.map((pod) => ({ name: pod.name, namespace: pod.namespace, cpu: asks(pod).cpu, daemon: pod.owner?.kind === 'DaemonSet', moves: to.has(pod.uid) })).toSorted((a, b) => b.cpu - a.cpu),
      price: node.hourly_price,
      fate,
    }
  }
  const before = state.nodes.map((node) => drawn(node, byNode.get(node.node_name) ?? [], goes.has(node.node_name) ? 'goes' : 'stays', true))
  if (!decision) return { before, after: before }
  const stays = state.nodes.filter((node) => !goes.has(node.node_name)).map((node) => drawn(node, later.get(node.node_name) ?? [], 'stays', true))
  const bought = decision.new_nodes.length > 0 ? decision.new_nodes.map((node) => drawn(node, later.get(node.node_name) ?? [], 'new', placed)) : recommended(decision)
  return { before, after: [...stays, ...bought] }
}

/** What a plan was to change, as it was kept. */
export function planned({ before, after }: Pick<PlanMap, 'before' | 'after'>): Packing {
  const drawn = (node: PlanMapNode): MapNode => ({
    name: node.node_name,
    type: node.instance_type,
    zone: node.availability_zone,
    spot: node.node_type === 'spot',
    cpu: node.cpu_allocatable,
    full: node.requested_ratio ?? undefined,
    count: node.pod_count,
    pods: node.pods,
    price: node.hourly_price,
    fate: node.fate === 'goes' || node.fate === 'new' ? node.fate : 'stays',
  })
  return { before: before.map(drawn), after: after.map(drawn) }
}

function recommended(decision: DecisionResponse): MapNode[] {
  return decision.recommendations.flatMap((each) =>
    Array.from({ length: each.node_count }, (_, i) => ({
      name: `new ${each.instance_type} in ${each.availability_zone} ${i + 1}`,
      type: each.instance_type,
      zone: each.availability_zone,
      spot: each.node_type === 'spot',
      cpu: 0,
      count: 0,
      pods: [],
      price: each.hourly_price,
      fate: 'new' as const,
    })),
  )
}

function push(into: Map<string, Pod[]>, key: string, pod: Pod) {
  const list = into.get(key)
  if (list) list.push(pod)
  else into.set(key, [pod])
}

/** Mean requested share over the nodes where it is known, weighed by vCPU. */
export function meanFull(nodes: MapNode[]): number | undefined {
  const known = nodes.filter((node) => node.full !== undefined && node.cpu > 0)
  const cpu = known.reduce((sum, node) => sum + node.cpu, 0)
  return cpu > 0 ? known.reduce((sum, node) => sum + node.full! * node.cpu, 0) / cpu : undefined
}
