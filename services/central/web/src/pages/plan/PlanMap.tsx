import { useAsk } from '@/api/query'
import type { Optimization } from '@/api/schema'
import { BeforeAfter } from '@/pages/cluster/Map'
import { Card } from '@/ui/Card'
import { Empty, FaultView, Skeleton } from '@/ui/Empty'

/** The cluster as it is, and as the plan leaves it. */
export function PlanMap({ plan }: { plan: Optimization }) {
  const over = !plan.dry_run && (plan.status === 'completed' || plan.status === 'failed' || plan.status === 'cancelled') && plan.approval !== 'recommended'
  const state = useAsk('AdminService/GetClusterState', { cluster_id: plan.cluster_id }, { enabled: !over })
  return (
    <Card title="Before and after">
      {over ? (
        <Empty icon="node" title="The plan is over" compact>
          The map compares with the cluster as it is now, which this plan no longer fits. What became of each node is under “Node by node”.
        </Empty>
      ) : state.data ? (
        <BeforeAfter state={state.data} planId={plan.optimization_id} />
      ) : state.error ? (
        <FaultView fault={state.error} retry={() => void state.refetch()} />
      ) : (
        <Skeleton lines={8} />
      )}
    </Card>
  )
}
