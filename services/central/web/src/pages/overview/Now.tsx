import { Link } from '@tanstack/react-router'
import { useAsk } from '@/api/query'
import type { Cluster, Optimization } from '@/api/schema'
import { many, money, perMonth } from '@/format/money'
import { capital, word } from '@/format/words'
import { useScope } from '@/shell/filters'
import { Card } from '@/ui/Card'
import { Empty, FaultView, Skeleton } from '@/ui/Empty'
import { Icon } from '@/ui/Icon'
import { ClusterState, ModeBadge, PlanBadge } from '@/ui/States'
import { ScrollList } from '@/ui/ScrollList'
import { Ago } from '@/ui/Time'
import { progress } from '../plan/progress'

/** Clusters, the troubled first. */
export function ClustersByHealth({ clusters }: { clusters: Cluster[] }) {
  const { cluster } = useScope()
  const rank = (each: Cluster) => (each.status === 'offline' ? 0 : each.status === 'pending' ? 3 : { RED: 0, YELLOW: 1, GREEN: 2 }[each.health_status] ?? 2)
  const shown = clusters.filter((each) => !cluster || each.cluster_id === cluster).toSorted((a, b) => rank(a) - rank(b) || b.current_cost_per_hour - a.current_cost_per_hour)
  return (
    <Card title="Clusters" flush actions={<Link to="/clusters" className="inline-flex min-h-6 items-center text-sm font-medium text-accent hover:underline">All clusters</Link>}>
      <ScrollList label="Clusters">
        {shown.map((each) => (
          <li key={each.cluster_id}>
            <Link to="/clusters/$clusterId" params={{ clusterId: each.cluster_id }} className="flex items-center gap-3 px-4 py-2 -outline-offset-2 hover:bg-hover">
              <div className="min-w-0 flex-1">
                <p className="truncate font-medium">{each.cluster_name}</p>
                <p className="text-sm text-ink-3">
                  <ClusterState cluster={each} />
                </p>
              </div>
              <div className="text-right">
                <p className="font-medium">{each.current_cost_per_hour > 0 ? `${money(each.current_cost_per_hour)}/h` : '–'}</p>
                <ModeBadge mode={each.mode} />
              </div>
            </Link>
          </li>
        ))}
      </ScrollList>
    </Card>
  )
}

/** Plans that run at this moment, with how far they are. */
export function Running() {
  const { cluster } = useScope()
  const asked = useAsk('AdminService/ListOptimizations', { cluster_id: cluster, status: 'executing', page_size: 20 })
  const data = asked.data?.filter((plan) => plan.status === 'executing')
  if (!data || data.length === 0) return null
  return (
    <Card title={data.length === 1 ? 'A plan is running' : `${data.length} plans are running`} flush>
      <ul className="pb-2">
        {data.map((plan) => (
          <RunningPlan key={plan.optimization_id} plan={plan} />
        ))}
      </ul>
    </Card>
  )
}

function RunningPlan({ plan }: { plan: Optimization }) {
  // The list has no steps; this one plan is asked for whole.
  const { data } = useAsk('AdminService/GetOptimization', { optimization_id: plan.optimization_id })
  const whole = data ?? plan
  const { done, of, text } = progress(whole)
  return (
    <li>
      <Link to="/plans/$planId" params={{ planId: plan.optimization_id }} className="flex flex-wrap items-center gap-x-4 gap-y-1 px-4 py-2 -outline-offset-2 hover:bg-hover">
        <span className="w-56 min-w-0">
          <span className="block truncate font-medium">
            {word(plan.optimization_type)} in {plan.cluster_name}
          </span>
          <span className="block text-sm text-ink-3">saves {money(plan.estimated_savings)} a month</span>
        </span>
        <span className="min-w-40 flex-1">
          <span role="progressbar" aria-valuenow={done} aria-valuemin={0} aria-valuemax={of} aria-label={text} className="block h-1.5 overflow-hidden rounded-full bg-sunk ring-1 ring-line ring-inset">
            <span className="block h-full rounded-full bg-accent transition-[width] duration-500" style={{ width: `${of > 0 ? (done / of) * 100 : 0}%` }} />
          </span>
          <span className="mt-1 block text-sm text-ink-2">{text}</span>
        </span>
        <PlanBadge plan={whole} />
        <Icon name="right" className="text-ink-3" />
      </Link>
    </li>
  )
}

/** Plans that a person must decide about. */
export function WaitingPlans() {
  const { cluster } = useScope()
  const { data: asked, error, refetch } = useAsk('AdminService/ListOptimizations', { approval: 'awaiting', cluster_id: cluster, page_size: 100 })
  const data = asked?.filter((plan) => plan.approval === 'awaiting')
  return (
    <Card title="Waiting for approval" flush actions={<Link to="/recommendations" className="inline-flex min-h-6 items-center text-sm font-medium text-accent hover:underline">All plans</Link>}>
      {!data && error ? (
        <FaultView fault={error} retry={() => void refetch()} compact />
      ) : !data ? (
        <Skeleton className="px-4 pb-4" />
      ) : data.length === 0 ? (
        <Empty icon="check" title="Nothing waits for you" compact>
          Plans of clusters in mode “approve each” appear here.
        </Empty>
      ) : (
        <ScrollList label="Waiting for approval">
          {data.slice(0, 8).map((plan) => (
            <li key={plan.optimization_id}>
              <Link to="/plans/$planId" params={{ planId: plan.optimization_id }} className="flex items-start gap-3 px-4 py-2 -outline-offset-2 hover:bg-hover">
                <span className="min-w-0 flex-1">
                  <span className="block truncate font-medium">
                    {word(plan.optimization_type)} in {plan.cluster_name}
                  </span>
                  <span className="block text-sm text-ink-3">{capital(plan.plan?.blast_radius ?? '') || many(plan.nodes.length, 'node')}</span>
                </span>
                <span className="text-right">
                  <span className="block font-medium text-ok">{perMonth(plan.estimated_savings)}</span>
                  <span className="block text-sm text-ink-3">
                    <Ago at={plan.created_at} />
                  </span>
                </span>
              </Link>
            </li>
          ))}
        </ScrollList>
      )}
    </Card>
  )
}
