import { Link } from '@tanstack/react-router'
import { useAsk } from '@/api/query'
import type { Cluster } from '@/api/schema'
import { hoursPerMonth, money, percent, perMonth } from '@/format/money'
import { word } from '@/format/words'
import { Button } from '@/ui/Button'
import { Card } from '@/ui/Card'
import { FaultView, Skeleton } from '@/ui/Empty'
import { Icon } from '@/ui/Icon'

/** What could be saved in a cluster, by dry runs that change nothing. */
export function FirstEstimate({ cluster, onOpen }: { cluster: Cluster; onOpen?: () => void }) {
  const { data, error, refetch } = useAsk('GuardService/GetClusterEstimate', { cluster_id: cluster.cluster_id }, { every: 5000 })
  return (
    <Card title="What could be saved" note="By dry runs on the cluster as it is now. Nothing was changed.">
      {error && !data ? (
        <FaultView fault={error} retry={() => void refetch()} compact />
      ) : !data ? (
        <Skeleton lines={4} />
      ) : data.status === 'failed' ? (
        <p className="flex items-center gap-2 text-bad">
          <Icon name="error" /> {data.message}
        </p>
      ) : data.status !== 'ready' ? (
        <div role="status" className="flex items-center gap-2.5 py-3 text-ink-2">
          <Icon name="refresh" className="spin text-accent" /> {data.message || `${word(data.status)}…`}
        </div>
      ) : (
        <div className="flex flex-wrap items-start gap-x-12 gap-y-4">
          <div>
            <p className="text-sm text-ink-3">The best of the plans below</p>
            <p className="text-2xl font-semibold tracking-tight text-ok">{money(data.best_savings_per_month)} a month</p>
            <p className="text-sm text-ink-3">
              {percent(data.current_cost_per_hour > 0 ? data.best_savings_per_month / (data.current_cost_per_hour * hoursPerMonth) : 0)} of {money(data.current_cost_per_hour * hoursPerMonth)}
            </p>
          </div>
          <ul className="min-w-64 flex-1 divide-y divide-line">
            {data.estimates.map((plan) => (
              <li key={plan.optimization_id} className="flex items-center gap-4 py-2">
                <Link to="/plans/$planId" params={{ planId: plan.optimization_id }} className="min-w-0 flex-1 hover:underline">
                  <span className="block font-medium">{word(plan.optimization_type)}</span>
                  <span className="block text-sm text-ink-3">{plan.plan?.blast_radius || 'No plan is worth its disruption.'}</span>
                </Link>
                <span className="font-medium text-ok">{perMonth(plan.estimated_savings)}</span>
              </li>
            ))}
          </ul>
          {onOpen && (
            <Button kind="primary" icon="arrow" onClick={onOpen}>
              Look at the cluster
            </Button>
          )}
        </div>
      )}
    </Card>
  )
}
