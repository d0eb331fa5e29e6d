import { Link, useParams } from '@tanstack/react-router'
import { useAsk } from '@/api/query'
import type { Optimization } from '@/api/schema'
import { capital, word } from '@/format/words'
import { useFilters } from '@/shell/filters'
import { Card } from '@/ui/Card'
import { FaultView, Skeleton } from '@/ui/Empty'
import { FrozenPlans } from '@/ui/Frozen'
import { Icon } from '@/ui/Icon'
import { Page } from '@/ui/Page'
import { Actor, ModeBadge, PlanBadge, waitingText } from '@/ui/States'
import { Tabs } from '@/ui/Tabs'
import { Ago, Time } from '@/ui/Time'
import { Effect } from './Effect'
import { PlanActions } from './PlanActions'
import { PlanMap } from './PlanMap'
import { Sizes } from './Sizes'
import { Steps } from './Steps'
import { Verdicts } from './Verdicts'
import { Weighed } from './Weighed'

type Tab = 'sizes' | 'steps' | 'nodes' | 'map' | 'why'

const tabs: [Tab, string][] = [
  ['steps', 'Steps'],
  ['nodes', 'Node by node'],
  ['map', 'Packing map'],
  ['why', 'What was weighed'],
]

/** Rightsizing changes requests, not nodes. */
const sizing: [Tab, string][] = [
  ['sizes', 'Container by container'],
  ['steps', 'Steps'],
]

/** One plan: what it does and touches, what it waits for, its steps as they happen, and the reasons. */
export function Plan() {
  const { planId } = useParams({ from: '/plans/$planId' })
  const [filters, set] = useFilters<'tab'>()
  const { data: plan, error, refetch } = useAsk('AdminService/GetOptimization', { optimization_id: planId }, { every: 15_000 })
  if (!plan)
    return (
      <Page title="Plan">
        <Card>{error ? <FaultView fault={error} retry={() => void refetch()} /> : <Skeleton lines={8} />}</Card>
      </Page>
    )
  const parts = plan.optimization_type === 'rightsize' ? sizing : tabs
  const first = parts[0]![0]
  const tab = parts.some(([id]) => id === filters.tab) ? (filters.tab as Tab) : first
  return (
    <Page
      title={`${word(plan.optimization_type)} in ${plan.cluster_name || 'a cluster'}`}
      about={
        <span className="inline-flex flex-wrap items-center gap-x-3 gap-y-1">
          <PlanBadge plan={plan} />
          {plan.mode && <ModeBadge mode={plan.mode} />}
          <Link to="/clusters/$clusterId" params={{ clusterId: plan.cluster_id }} className="tap text-accent hover:underline">
            {plan.cluster_name || 'Cluster'}
          </Link>
          <span>
            asked for <Ago at={plan.created_at} />
            {plan.requested_by && (
              <>
                {' '}
                by <Actor actor={plan.requested_by} />
              </>
            )}
          </span>
          {plan.reason && <span>“{plan.reason}”</span>}
        </span>
      }
      actions={<PlanActions plan={plan} />}
    >
      <Frozen plan={plan} />
      <Standing plan={plan} />
      <Decided plan={plan} />
      <Effect plan={plan} />
      <Tabs label="Parts of the plan" tabs={parts} shown={tab} onShow={(next) => set({ tab: next === first ? undefined : next, ...cleared })}>
        {tab === 'sizes' && <Sizes plan={plan} />}
        {tab === 'steps' && <Steps plan={plan} />}
        {tab === 'nodes' && <Verdicts plan={plan} />}
        {tab === 'map' && <PlanMap plan={plan} />}
        {tab === 'why' && <Weighed plan={plan} />}
      </Tabs>
    </Page>
  )
}

const cleared = { verdict: undefined, q: undefined, sort: undefined }

/** The freeze that it waits for, or will wait for when it is approved. */
function Frozen({ plan }: { plan: Optimization }) {
  const waits = !plan.dry_run && (plan.status === 'pending' || plan.status === 'executing')
  const policy = useAsk('GuardService/GetEffectivePolicy', { cluster_id: plan.cluster_id }, { enabled: waits })
  return waits && <FrozenPlans values={policy.data?.values} />
}

/** Why it does not go on, or what went wrong. */
function Standing({ plan }: { plan: Optimization }) {
  if (plan.waiting_for && plan.status !== 'completed' && plan.status !== 'cancelled')
    return (
      <p role="status" className="flex items-start gap-2.5 rounded-lg bg-warn-soft px-4 py-2.5 text-sm text-warn">
        <Icon name="clock" className="mt-0.5" />
        <span>
          <span className="font-medium">{waitingText(plan.waiting_for)}</span> Since <Ago at={plan.waiting_for.since} />
          {plan.waiting_for.until ? (
            <>
              ; goes on by itself <Time at={plan.waiting_for.until} />.
            </>
          ) : (
            '.'
          )}
        </span>
      </p>
    )
  if (plan.error_message)
    return (
      <p className={`flex items-start gap-2.5 rounded-lg px-4 py-2.5 text-sm ${plan.status === 'failed' ? 'bg-bad-soft text-bad' : 'bg-warn-soft text-warn'}`}>
        <Icon name={plan.status === 'failed' ? 'error' : 'warning'} className="mt-0.5" />
        <span className="break-words">{capital(plan.error_message)}</span>
      </p>
    )
  return null
}

/** Who has decided about it, and why; also while it waits for what comes next. */
function Decided({ plan }: { plan: Optimization }) {
  if (!plan.decided_by || plan.status === 'executing' || plan.status === 'completed') return null
  return (
    <p className="flex items-start gap-2.5 rounded-lg bg-sunk px-4 py-2.5 text-sm text-ink-2">
      <Icon name="user" className="mt-0.5" />
      <span>
        {word(plan.approval)} by <Actor actor={plan.decided_by} /> <Ago at={plan.decided_at} />
        {plan.decision_reason && `: “${plan.decision_reason}”`}
        {plan.snoozed_until && plan.approval === 'snoozed' && (
          <>
            . Comes back <Time at={plan.snoozed_until} />.
          </>
        )}
      </span>
    </p>
  )
}
