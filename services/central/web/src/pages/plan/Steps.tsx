import type { LaunchedInstance, Optimization, OptimizationStep, PlannedNode } from '@/api/schema'
import { decimal, money } from '@/format/money'
import { moment, span } from '@/format/time'
import { sentence } from '@/format/words'
import { useNow } from '@/live/Live'
import { Badge, type Tone } from '@/ui/Badge'
import { Card } from '@/ui/Card'
import { cx } from '@/ui/cx'
import { Empty } from '@/ui/Empty'
import { Icon, type IconName } from '@/ui/Icon'
import { Bought } from '@/ui/States'
import { Time } from '@/ui/Time'
import { stepName } from './progress'

const looks: Record<string, [icon: IconName, className: string]> = {
  pending: ['clock', 'bg-sunk text-ink-3'],
  running: ['refresh', 'bg-accent-soft text-accent'],
  completed: ['check', 'bg-ok-soft text-ok'],
  failed: ['close', 'bg-bad-soft text-bad'],
  skipped: ['right', 'bg-sunk text-ink-3'],
}

/** The steps of the run as they happen, with the nodes it drains and the instances it launched. */
export function Steps({ plan }: { plan: Optimization }) {
  // Nothing had to be rolled back: not worth a line.
  const steps = plan.steps.filter((step) => !(step.name === 'rollback' && step.status === 'skipped'))
  return (
    <div className="grid items-start gap-4 xl:grid-cols-[minmax(0,1fr)_minmax(0,1.2fr)]">
      <Card title="Steps">
        {steps.length > 0 ? (
          <ol className="flex flex-col">
            {steps.map((step, i) => (
              <Step key={step.position} step={step} last={i === steps.length - 1} />
            ))}
          </ol>
        ) : plan.execution_plan.length > 0 ? (
          <Intended plan={plan} />
        ) : (
          <Empty icon="clock" title="No step yet" compact />
        )}
      </Card>
      <div className="flex min-w-0 flex-col gap-4">
        <Drained nodes={plan.nodes} />
        <Launched instances={plan.launched} />
      </div>
    </div>
  )
}

function Step({ step, last }: { step: OptimizationStep; last: boolean }) {
  const [icon, look] = looks[step.status] ?? looks.pending!
  const facts = Object.entries(step.detail ?? {}).filter(([, value]) => ['string', 'number', 'boolean'].includes(typeof value))
  return (
    <li className="flex gap-3">
      <div className="flex flex-col items-center">
        <span className={cx('grid size-7 place-items-center rounded-full', look)}>
          <Icon name={icon} size={14} className={step.status === 'running' ? 'spin' : undefined} />
        </span>
        {!last && <span aria-hidden="true" className={cx('my-1 w-px flex-1', step.status === 'completed' ? 'bg-ok' : 'bg-line')} />}
      </div>
      <div className={cx('min-w-0 flex-1', !last && 'pb-4')}>
        <div className="flex flex-wrap items-baseline justify-between gap-x-3">
          <p className={cx('font-medium', step.status === 'pending' && 'text-ink-3')}>
            {stepName(step.name)} <span className="sr-only">{step.status}</span>
          </p>
          <span className="text-sm whitespace-nowrap text-ink-3">
            <Took step={step} />
          </span>
        </div>
        {step.error && <p className={cx('text-sm break-words', step.status === 'running' ? 'text-ink-2' : 'text-bad')}>{step.error}</p>}
        {facts.length > 0 && (
          <p className="text-sm break-words text-ink-3">
            {facts
              .slice(0, 6)
              .map(([name, value]) => `${sentence(name).toLowerCase()} ${typeof value === 'number' ? decimal(value, 2) : String(value)}`)
              .join(', ')}
          </p>
        )}
      </div>
    </li>
  )
}

function Took({ step }: { step: OptimizationStep }) {
  const now = useNow()
  const begin = moment(step.started_at)
  if (!begin) return null
  const end = moment(step.finished_at)
  const seconds = ((end?.getTime() ?? now) - begin.getTime()) / 1000
  return (
    <>
      <Time at={step.started_at} /> · {span(seconds)}
    </>
  )
}

/** What it would do, before it does anything. */
function Intended({ plan }: { plan: Optimization }) {
  return (
    <>
      <p className="mb-3 text-sm text-ink-3">{plan.dry_run || plan.approval === 'recommended' ? 'What it would do. Nothing was changed.' : 'What it will do. Nothing was changed yet.'}</p>
      <ol className="flex flex-col gap-2">
        {plan.execution_plan.map((step) => (
          <li key={step.step} className="flex gap-3">
            <span className="grid size-6 shrink-0 place-items-center rounded-full bg-sunk text-xs font-semibold text-ink-2">{step.step}</span>
            <div className="min-w-0">
              <p>{sentence(step.action)}</p>
              <p className="text-sm break-words text-ink-3">
                {parameters(step.parameters)}
                {step.undo && ` Can be taken back: ${sentence(step.undo.action).toLowerCase()}.`}
              </p>
            </div>
          </li>
        ))}
      </ol>
    </>
  )
}

function parameters(given?: Record<string, unknown> | null): string {
  const parts = Object.entries(given ?? {}).map(([name, value]) => {
    if (Array.isArray(value)) return value.length <= 3 ? `${value.join(', ')}` : `${value.slice(0, 2).join(', ')} and ${value.length - 2} more`
    return typeof value === 'object' ? '' : `${sentence(name).toLowerCase()} ${String(value)}`
  })
  const text = parts.filter(Boolean).join(', ')
  return text ? `${text}.` : ''
}

const nodeTones: Record<string, Tone> = { pending: 'plain', draining: 'info', drained: 'accent', terminated: 'ok', kept: 'warn' }

function Drained({ nodes }: { nodes: PlannedNode[] }) {
  const tally = Object.entries(Object.groupBy(nodes, (node) => node.status)).map(([status, list]) => `${list?.length ?? 0} ${status}`)
  return (
    <Card title="Nodes it takes away" note={nodes.length > 0 ? tally.join(', ') : undefined} flush>
      {nodes.length === 0 ? (
        <Empty icon="node" title="None" compact />
      ) : (
        // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- what scrolls must be reachable by keyboard
        <div role="group" tabIndex={0} aria-label="Nodes it takes away" className="max-h-96 overflow-auto -outline-offset-2">
          <ul className="divide-y divide-line/70">
            {nodes.map((node) => (
              <li key={node.node_name} className="flex items-center gap-3 px-4 py-1.5">
                <span className="min-w-0 flex-1">
                  <span className="block truncate font-mono text-xs" title={node.instance_id}>
                    {node.node_name}
                  </span>
                  {node.error && <span className="block text-sm text-warn">{node.error}</span>}
                </span>
                <span className="text-sm whitespace-nowrap text-ink-3">{money(node.hourly_price)}/h</span>
                <Badge tone={nodeTones[node.status] ?? 'plain'}>{sentence(node.status)}</Badge>
              </li>
            ))}
          </ul>
        </div>
      )}
    </Card>
  )
}

function Launched({ instances }: { instances: LaunchedInstance[] }) {
  if (instances.length === 0) return null
  return (
    <Card title="Instances it launched" flush>
      <ul className="divide-y divide-line/70">
        {instances.map((each) => (
          <li key={each.instance_id} className="flex items-center gap-3 px-4 py-1.5">
            <span className="min-w-0 flex-1">
              <span className="block truncate font-mono text-xs">{each.node_name || each.instance_id}</span>
              <span className="block text-sm text-ink-3">
                {each.instance_type} in {each.availability_zone}, {money(each.hourly_price)}/h
              </span>
            </span>
            <span className="text-sm">
              <Bought as={each.node_type} />
            </span>
            <Badge tone={each.node_name ? 'ok' : 'info'}>{each.node_name ? 'Joined' : 'Starting'}</Badge>
          </li>
        ))}
      </ul>
    </Card>
  )
}
