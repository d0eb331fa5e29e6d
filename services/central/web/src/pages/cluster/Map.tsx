import { useMemo } from 'react'
import { useAsk } from '@/api/query'
import type { Cluster } from '@/api/schema'
import { perMonth } from '@/format/money'
import { word } from '@/format/words'
import { useFilters } from '@/shell/filters'
import { Card } from '@/ui/Card'
import { cx } from '@/ui/cx'
import { Empty, FaultView, Skeleton } from '@/ui/Empty'
import { Choice } from '@/ui/Field'
import { packing, type Packing } from '@/ui/packing'
import { PackingLegend, PackingMap } from '@/ui/PackingMap'

/** How full the nodes are, and how they would be after a plan. */
export function Map({ cluster, stale }: { cluster: Cluster; stale: boolean }) {
  const [filters, set] = useFilters<'plan'>()
  const state = useAsk('AdminService/GetClusterState', { cluster_id: cluster.cluster_id })
  const plans = useAsk('AdminService/ListOptimizations', { cluster_id: cluster.cluster_id, include_dry_runs: true, page_size: 50 })
  const open = plans.data?.filter((plan) => plan.estimated_savings > 0 && (plan.status === 'pending' || plan.status === 'executing' || (plan.dry_run && plan.status === 'completed'))) ?? []
  return (
    <Card
      title="How full every node is"
      actions={
        <Choice
          label="Plan to compare with"
          value={filters.plan ?? ''}
          onChange={(plan) => set({ plan: plan || undefined })}
          options={[['', 'As it is now'], ...open.map((plan): [string, string] => [plan.optimization_id, `After: ${word(plan.optimization_type)}${plan.dry_run ? ', dry run' : ''}, ${perMonth(plan.estimated_savings)}`])]}
        />
      }
    >
      {state.data ? (
        state.data.nodes.length > 0 ? (
          <div className={cx(stale && 'is-stale')}>
            <BeforeAfter state={state.data} planId={filters.plan} />
          </div>
        ) : (
          <Empty icon="node" title="No nodes are known">
            They appear with the agent’s first report.
          </Empty>
        )
      ) : state.error ? (
        <FaultView fault={state.error} retry={() => void state.refetch()} />
      ) : (
        <Skeleton lines={8} />
      )}
    </Card>
  )
}

/** Whose word it is where pods land after a plan. */
export function Places({ placed, expected }: { placed: boolean; expected: boolean }) {
  if (!placed) return <p className="text-sm text-ink-3">This plan does not say where pods land: Kubernetes’ scheduler places them on the new nodes, so how full those will be is not drawn.</p>
  if (expected) return <p className="text-sm text-ink-3">Where pods land is what Kubernetes’ scheduler is expected to do. It decides by itself, so the nodes may fill otherwise.</p>
  return null
}

/** The maps before and after a plan, side by side. */
export function Pair({ packing: { before, after } }: { packing: Packing }) {
  const gone = useMemo(() => before.filter((node) => node.fate === 'goes'), [before])
  return (
    <div className="grid gap-8 xl:grid-cols-2">
      <PackingMap title="Before" nodes={before} />
      <PackingMap title="After" nodes={after} ghosts={gone} />
    </div>
  )
}

/** The map as it is; with a plan, beside it the map as the plan leaves it. */
export function BeforeAfter({ state, planId }: { state: Parameters<typeof packing>[0]; planId?: string }) {
  const decision = useAsk('AdminService/GetOptimizationDecision', { optimization_id: planId ?? '' }, { enabled: Boolean(planId) })
  const plan = planId ? decision.data : undefined
  const { before, after } = useMemo(() => packing(state, plan), [state, plan])
  if (planId && decision.error) return <FaultView fault={decision.error} retry={() => void decision.refetch()} compact />
  return (
    <div className="flex flex-col gap-4">
      <PackingLegend plan={Boolean(plan)} />
      {plan ? <Pair packing={{ before, after }} /> : <PackingMap title="Now" nodes={before} />}
      {plan && <Places placed={plan.pod_moves.length > 0 || plan.recommendations.length === 0} expected={plan.pod_moves.some((move) => move.expected)} />}
    </div>
  )
}
