import type { ReactNode } from 'react'
import type { Optimization } from '@/api/schema'
import { count, hoursPerMonth, many, money, moneyChange, percent, perMonth } from '@/format/money'
import { Card, Stat } from '@/ui/Card'
import { Empty } from '@/ui/Empty'
import { Icon } from '@/ui/Icon'

/** What a plan does to the cluster: saving, before and after, and its blast radius. */
export function Effect({ plan }: { plan: Optimization }) {
  const p = plan.plan
  const done = plan.status === 'completed' && !plan.dry_run && plan.approval !== 'recommended'
  if (!p)
    return (
      <Card>
        {plan.status === 'pending' || plan.status === 'executing' ? (
          <Empty icon="clock" title="The plan is being made" compact>
            It takes a few seconds; this page goes on by itself.
          </Empty>
        ) : (
          <dl className="grid grid-cols-2 gap-6 md:grid-cols-4">
            <Stat label="Promised" value={`${perMonth(plan.estimated_savings)}`} />
            {done && <Stat label="Came of it" value={`${perMonth(plan.actual_savings)}`} />}
          </dl>
        )}
      </Card>
    )
  const share = p.cost_before_per_hour > 0 ? (p.cost_before_per_hour - p.cost_after_per_hour) / p.cost_before_per_hour : 0
  const miss = plan.estimated_savings > 0 ? (plan.actual_savings - plan.estimated_savings) / plan.estimated_savings : 0
  return (
    <Card>
      <div className="grid gap-x-10 gap-y-5 lg:grid-cols-[auto_minmax(0,1fr)]">
        <dl className="flex flex-wrap gap-x-10 gap-y-4 lg:flex-col">
          <Stat
            label={done ? 'Came of it' : 'Promises'}
            value={`${perMonth(done ? plan.actual_savings : plan.estimated_savings)}`}
            tone={(done ? plan.actual_savings : plan.estimated_savings) > 0 ? 'ok' : undefined}
            note={done ? `promised ${money(plan.estimated_savings)}, ${miss >= 0 ? '+' : ''}${percent(miss)}` : `${percent(share)} of the cluster’s cost`}
            formula={`(cost before − cost after) × ${hoursPerMonth} hours`}
          />
          <Stat label="Confidence" value={plan.confidence_score > 0 ? percent(plan.confidence_score) : '–'} note="age and completeness of prices and state" />
        </dl>
        <div className="min-w-0">
          <p className="mb-3 flex items-center gap-2 text-base font-semibold">
            <Icon name="warning" className="text-warn" /> {p.blast_radius ? `${p.blast_radius.charAt(0).toUpperCase()}${p.blast_radius.slice(1)}.` : 'It touches nothing.'}
          </p>
          <div className="grid gap-x-8 gap-y-1.5 sm:grid-cols-2">
            <Change name="Nodes" before={count(p.nodes_before)} after={count(p.nodes_after)} by={p.nodes_after - p.nodes_before} />
            <Change name="Cost" before={`${money(p.cost_before_per_hour)}/h`} after={`${money(p.cost_after_per_hour)}/h`} text={moneyChange(p.cost_after_per_hour - p.cost_before_per_hour)} />
            <Change name="Of which spot" before={count(p.spot_nodes_before)} after={count(p.spot_nodes_after)} by={p.spot_nodes_after - p.spot_nodes_before} />
            <Row name="Bought">{many(p.nodes_launched, 'node')}</Row>
            <Row name="Workloads moved">
              {many(p.workloads_moved, 'workload')}, {many(p.pods_moved, 'pod')}
            </Row>
            <Row name="Budgets that guard them">{count(p.budgets)}</Row>
          </div>
          {p.namespaces.length > 0 && (
            <p className="mt-3 text-sm text-ink-3">
              In {many(p.namespaces.length, 'namespace')}: {p.namespaces.slice(0, 12).join(', ')}
              {p.namespaces.length > 12 && ' and more'}
            </p>
          )}
        </div>
      </div>
    </Card>
  )
}

function Row({ name, children }: { name: string; children: ReactNode }) {
  return (
    <p className="flex justify-between gap-4 border-b border-line/70 py-1">
      <span className="text-ink-3">{name}</span>
      <span className="text-right">{children}</span>
    </p>
  )
}

function Change({ name, before, after, by, text }: { name: string; before: string; after: string; by?: number; text?: string }) {
  const change = text ?? (by === undefined || by === 0 ? '±0' : by > 0 ? `+${count(by)}` : `−${count(-by)}`)
  return (
    <Row name={name}>
      <span className="text-ink-3">{before}</span> <span aria-label="to">→</span> <span className="font-medium">{after}</span> <span className="ml-1 text-sm text-ink-3">({change})</span>
    </Row>
  )
}
