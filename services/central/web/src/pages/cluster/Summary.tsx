import type { UseQueryResult } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import type { Fault } from '@/api/fault'
import { useAsk } from '@/api/query'
import type { Cluster, ClusterRecord, EffectivePolicy } from '@/api/schema'
import { count, decimal, hoursPerMonth, many, money, percent, perMonth } from '@/format/money'
import { span } from '@/format/time'
import { word } from '@/format/words'
import { FirstEstimate } from '@/pages/clusters/FirstEstimate'
import { Split } from '@/ui/Bars'
import { Card, Facts, Stat } from '@/ui/Card'
import { cx } from '@/ui/cx'
import { Empty, FaultView, Skeleton } from '@/ui/Empty'
import { FrozenPlans } from '@/ui/Frozen'
import { ModeBadge, PlanBadge } from '@/ui/States'
import { Ago, Time } from '@/ui/Time'

/** A cluster on one screen. */
export function Summary({ cluster, record, policy, stale }: { cluster: Cluster; record?: ClusterRecord; policy: UseQueryResult<EffectivePolicy, Fault>; stale: boolean }) {
  const state = useAsk('AdminService/GetClusterState', { cluster_id: cluster.cluster_id })
  const saved = cluster.baseline_cost_per_hour - cluster.current_cost_per_hour
  const now = state.data
  return (
    <div className="flex flex-col gap-4">
      <FrozenPlans values={policy.data?.values} />
      <Card className={cx(stale && 'is-stale')}>
        <dl className="grid grid-cols-2 gap-x-6 gap-y-4 md:grid-cols-4">
          <Stat label="Spend now" value={`${money(cluster.current_cost_per_hour)}/h`} note={`${money(cluster.current_cost_per_hour * hoursPerMonth)} a month`} formula="Σ price of every node that is there" />
          <Stat
            label="Saving now"
            value={`${perMonth(saved * hoursPerMonth)}`}
            note={`${percent(cluster.baseline_cost_per_hour > 0 ? saved / cluster.baseline_cost_per_hour : 0)} less than without CloudOptim`}
            tone={saved > 0 ? 'ok' : saved < 0 ? 'bad' : undefined}
            formula={`(cost without CloudOptim − spend now) × ${hoursPerMonth} hours`}
          />
          <Stat label="Nodes" value={count(cluster.node_count)} note={now ? `${count(now.spot_nodes)} spot, ${count(now.on_demand_nodes)} on demand` : undefined} />
          <Stat label="Pods" value={count(cluster.pod_count)} note={now ? (now.pending_pods > 0 ? `${count(now.pending_pods)} pending` : 'none pending') : undefined} tone={now && now.pending_pods > 0 ? 'warn' : undefined} />
        </dl>
      </Card>
      <div className="grid items-start gap-4 lg:grid-cols-2">
        <Card title="Capacity" className={cx(stale && 'is-stale')}>
          {now ? (
            <div className="flex flex-col gap-5">
              <Requested label="CPU" unit="vCPU" asked={now.allocated_cpu_cores} of={now.total_cpu_cores} />
              <Requested label="Memory" unit="GiB" asked={now.allocated_memory_gb} of={now.total_memory_gb} />
              <Split
                label="Nodes"
                parts={[
                  { name: 'Spot', value: now.spot_nodes, text: count(now.spot_nodes), className: 'bg-spot' },
                  { name: 'On-demand', value: now.on_demand_nodes, text: count(now.on_demand_nodes), className: 'bg-demand' },
                ]}
              />
            </div>
          ) : state.error ? (
            <FaultView fault={state.error} retry={() => void state.refetch()} compact />
          ) : (
            <Skeleton lines={5} />
          )}
        </Card>
        <PolicyCard policy={policy} clusterId={cluster.cluster_id} />
        <Plans clusterId={cluster.cluster_id} />
        <Card title="Agent">
          <Facts
            facts={[
              ['Last word', <Ago key="seen" at={cluster.last_seen_at} />],
              ['Connection', record ? (record.connected ? (record.connected_to ? `Streams to ${record.connected_to}` : 'Polls') : 'None') : word(cluster.status)],
              ['State', record && record.state_age_seconds >= 0 ? `${span(record.state_age_seconds)} old` : '–'],
              ['Build', record?.agent_version || '–'],
              ['Registered', <Time key="made" at={cluster.created_at} />],
              ['Id', <code key="id" className="font-mono text-xs">{cluster.cluster_id}</code>],
            ]}
          />
        </Card>
      </div>
      {cluster.last_seen_at && <FirstEstimate cluster={cluster} />}
    </div>
  )
}

function Requested({ label, unit, asked, of }: { label: string; unit: string; asked: number; of: number }) {
  const ratio = of > 0 ? asked / of : 0
  return (
    <div>
      <p className="mb-1.5 flex flex-wrap justify-between gap-x-3 text-sm">
        <span className="text-ink-2">{label} requested</span>
        <span>
          <span className="font-medium">{percent(ratio)}</span>{' '}
          <span className="text-ink-3">
            {decimal(asked)} of {decimal(of)} {unit}
          </span>
        </span>
      </p>
      <div aria-hidden="true" className="h-2.5 overflow-hidden rounded-full bg-sunk ring-1 ring-line ring-inset">
        <div className="h-full rounded-full bg-accent" style={{ width: `${Math.min(1, ratio) * 100}%` }} />
      </div>
    </div>
  )
}

function PolicyCard({ policy, clusterId }: { policy: UseQueryResult<EffectivePolicy, Fault>; clusterId: string }) {
  const { data, error, refetch } = policy
  const from = (field: string) => {
    const source = data?.sources[field]
    return source ? ` from ${source.scope === 'default' ? 'CloudOptim’s defaults' : `the ${source.scope}`}` : ''
  }
  return (
    <Card
      title="What may be done"
      actions={
        <Link to="/policies" search={{ cluster: clusterId }} className="inline-flex min-h-6 items-center text-sm font-medium text-accent hover:underline">
          Policy
        </Link>
      }
    >
      {data ? (
        <Facts
          facts={[
            [
              'Mode',
              <span key="mode" className="inline-flex flex-wrap items-center gap-x-2">
                <ModeBadge mode={data.values?.mode ?? 'read_only'} />
                <span className="text-sm text-ink-3">{from('mode')}</span>
              </span>,
            ],
            ['Disruption now', data.disruption_allowed ? 'Allowed' : <span key="no" className="text-warn">{data.denied_because || 'Not allowed'}</span>],
            ['Changes', data.changes_at ? <Time key="at" at={data.changes_at} /> : 'Not by itself'],
            ['Nodes at once', data.nodes_allowed < 0 ? 'No bound' : `${many(data.nodes_allowed, 'more node')} may be drained now`],
            ['State', data.state_age_seconds < 0 ? 'None yet' : `${span(data.state_age_seconds)} old, acted on up to ${span(data.values?.stale_after_seconds ?? 60)}`],
          ]}
        />
      ) : error ? (
        <FaultView fault={error} retry={() => void refetch()} compact />
      ) : (
        <Skeleton lines={4} />
      )}
    </Card>
  )
}

function Plans({ clusterId }: { clusterId: string }) {
  const { data, error, refetch } = useAsk('AdminService/ListOptimizations', { cluster_id: clusterId, page_size: 6 })
  return (
    <Card
      title="Newest plans"
      flush
      actions={
        <Link to="/recommendations" search={{ cluster: clusterId }} className="inline-flex min-h-6 items-center text-sm font-medium text-accent hover:underline">
          All
        </Link>
      }
    >
      {data ? (
        data.length > 0 ? (
          <ul className="pb-2">
            {data.map((plan) => (
              <li key={plan.optimization_id}>
                <Link to="/plans/$planId" params={{ planId: plan.optimization_id }} className="flex flex-wrap items-center gap-x-3 px-4 py-1.5 -outline-offset-2 hover:bg-hover">
                  <span className="min-w-28 flex-1 truncate">{word(plan.optimization_type)}</span>
                  <PlanBadge plan={plan} />
                  <span className="w-20 text-right">{perMonth(plan.status === 'completed' && !plan.dry_run ? plan.actual_savings : plan.estimated_savings)}</span>
                </Link>
              </li>
            ))}
          </ul>
        ) : (
          <Empty icon="recommendations" title="No plan yet" compact>
            The first is looked for within the hour; “Make a plan” does it now.
          </Empty>
        )
      ) : error ? (
        <FaultView fault={error} retry={() => void refetch()} compact />
      ) : (
        <Skeleton className="px-4 pb-4" />
      )}
    </Card>
  )
}
