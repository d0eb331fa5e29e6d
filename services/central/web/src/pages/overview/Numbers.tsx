import { useAsk } from '@/api/query'
import type { Optimization } from '@/api/schema'
import { amount, hoursPerMonth, money, percent, perMonth } from '@/format/money'
import { useScope } from '@/shell/filters'
import { Card, Stat } from '@/ui/Card'
import { FaultView, Skeleton } from '@/ui/Empty'

/** The best plan of each cluster that nobody has decided about yet: plans of one cluster are alternatives. */
export function availableSavings(plans: Optimization[]): number {
  const best = new Map<string, number>()
  for (const plan of plans) {
    const open = plan.status === 'pending' && ['awaiting', 'snoozed', 'recommended'].includes(plan.approval)
    if (open) best.set(plan.cluster_id, Math.max(best.get(plan.cluster_id) ?? 0, plan.estimated_savings))
  }
  return [...best.values()].reduce((sum, each) => sum + each, 0)
}

/** Spend, run rate, and what is saved against what could be. */
export function Numbers() {
  const { cluster } = useScope()
  const now = useAsk('AdminService/GetSavings', { cluster_id: cluster }, { every: 30_000 })
  const history = useAsk('SavingsService/GetSavingsHistory', { cluster_id: cluster })
  const plans = useAsk('AdminService/ListOptimizations', { cluster_id: cluster, status: 'pending', page_size: 500 })
  if (now.error && !now.data)
    return (
      <Card>
        <FaultView fault={now.error} retry={() => void now.refetch()} compact />
      </Card>
    )
  if (!now.data)
    return (
      <Card>
        <Skeleton lines={2} />
      </Card>
    )
  const { current_cost_per_hour: cost, savings_per_month: saved, savings_ratio: share, baseline_cost_per_hour: baseline } = now.data
  // Before the first hour is metered there is a total, of nothing.
  const total = history.data?.total && history.data.total.coverage > 0 ? history.data.total : undefined
  const available = availableSavings(plans.data ?? [])
  return (
    <Card>
      <dl className="grid grid-cols-2 gap-x-6 gap-y-4 md:grid-cols-3 xl:grid-cols-5">
        <Stat label="Spend now" value={`${money(cost)}/h`} note={`${money(baseline)}/h without CloudOptim`} formula="Σ price of every node that is there, at this hour's prices" />
        <Stat label="Run rate" value={`${perMonth(cost * hoursPerMonth)}`} note="if nothing changes" formula={`Spend now × ${hoursPerMonth} hours`} />
        <Stat label="Saving now" value={`${perMonth(saved)}`} note={`${percent(share)} of the cost without it`} tone={saved > 0 ? 'ok' : undefined} formula={`(cost without CloudOptim − spend now) × ${hoursPerMonth} hours`} />
        <Stat
          label="Realised, 30 days"
          value={total ? amount(total.saved) : '–'}
          note={total ? `${percent(total.baseline > 0 ? total.saved / total.baseline : 0)} of ${amount(total.baseline)}` : history.error?.unbuilt ? 'this server does not meter yet' : 'not metered yet'}
          tone={total && total.saved < 0 ? 'bad' : undefined}
          formula="Σ over 30 days of (baseline − actual), from metered node-hours"
        />
        <Stat label="Available" value={`${perMonth(available)}`} note="in plans not decided yet" formula="The best undecided plan of each cluster, by its estimate" />
      </dl>
    </Card>
  )
}
