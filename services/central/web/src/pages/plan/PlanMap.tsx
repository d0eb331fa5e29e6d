import { useMemo } from 'react'
import { useAsk } from '@/api/query'
import type { Optimization, PlanMap as Kept } from '@/api/schema'
import { BeforeAfter, Pair, Places } from '@/pages/cluster/Map'
import { Card } from '@/ui/Card'
import { Empty, FaultView, Skeleton } from '@/ui/Empty'
import { PackingLegend } from '@/ui/PackingMap'
import { planned } from '@/ui/packing'
import { Time } from '@/ui/Time'

/** The cluster as it is, and as the plan leaves it; of a plan that is over, as it was planned. */
export function PlanMap({ plan }: { plan: Optimization }) {
  const over = !plan.dry_run && (plan.status === 'completed' || plan.status === 'failed' || plan.status === 'cancelled') && plan.approval !== 'recommended'
  return <Card title="Before and after">{over ? <Past plan={plan} /> : <Present plan={plan} />}</Card>
}

function Present({ plan }: { plan: Optimization }) {
  const state = useAsk('AdminService/GetClusterState', { cluster_id: plan.cluster_id })
  if (state.data) return <BeforeAfter state={state.data} planId={plan.optimization_id} />
  return state.error ? <FaultView fault={state.error} retry={() => void state.refetch()} /> : <Skeleton lines={8} />
}

function Past({ plan }: { plan: Optimization }) {
  const kept = useAsk('AdminService/GetPlanMap', { optimization_id: plan.optimization_id })
  if (kept.data) return <Drawn kept={kept.data} />
  if (kept.error?.status === 404)
    return (
      <Empty icon="node" title="There is no map" compact>
        It ended before there was a plan.
      </Empty>
    )
  return kept.error ? <FaultView fault={kept.error} retry={() => void kept.refetch()} /> : <Skeleton lines={8} />
}

function Drawn({ kept }: { kept: Kept }) {
  const both = useMemo(() => planned(kept), [kept])
  return (
    <div className="flex flex-col gap-4">
      <p className="text-sm text-ink-2">
        As it was planned, from the cluster of <Time at={kept.as_of} />. What became of each node is under “Node by node”.
      </p>
      <PackingLegend plan />
      <Pair packing={both} />
      <Places placed={kept.placed} expected={kept.expected} />
    </div>
  )
}
