import type { Cluster, Optimization, Waiting } from '@/api/schema'
import { word } from '@/format/words'
import { Badge, Dot, type Tone } from './Badge'
import { Tip } from './Tip'

const modes: Record<string, [tone: Tone, about: string]> = {
  read_only: ['plain', 'CloudOptim looks and tells what could be saved. Nothing is changed.'],
  recommend: ['info', 'Plans are kept ready; nobody can start them.'],
  approve: ['accent', 'A person lets each plan run.'],
  automatic: ['ok', 'Plans run by themselves, within budgets and windows.'],
}

/** How far CloudOptim may go. */
export function ModeBadge({ mode }: { mode: string }) {
  if (!mode) return null
  const [tone, about] = modes[mode] ?? ['plain', '']
  return (
    <Tip text={about}>
      {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- what it means must be reachable by keyboard */}
      <span tabIndex={0}>
        <Badge tone={tone}>{word(mode)}</Badge>
      </span>
    </Tip>
  )
}

/** A cluster's connection and health in one. */
export function ClusterState({ cluster }: { cluster: Pick<Cluster, 'status' | 'health_status' | 'stopped'> }) {
  const [tone, text]: [Tone, string] =
    cluster.status === 'pending'
      ? ['info', 'Waiting for its agent']
      : cluster.status === 'offline'
        ? ['bad', 'Agent offline']
        : cluster.status === 'disconnected'
          ? ['plain', 'Disconnected']
          : cluster.health_status === 'GREEN'
            ? ['ok', 'Healthy']
            : cluster.health_status === 'YELLOW'
              ? ['warn', 'Degraded']
              : ['bad', 'Unhealthy']
  return (
    <span className="inline-flex items-center gap-2">
      <Dot tone={tone} pulse={cluster.status === 'pending'}>
        {text}
      </Dot>
      {cluster.stopped && <Badge tone="bad">Stopped</Badge>}
    </span>
  )
}

/** What a plan's state is called and how it looks; approval and status in one word. */
export function planState(plan: Pick<Optimization, 'status' | 'approval' | 'dry_run' | 'waiting_for'>): [tone: Tone, text: string] {
  if (plan.dry_run) return plan.status === 'failed' ? ['bad', 'Dry run failed'] : plan.status === 'completed' ? ['plain', 'Dry run'] : ['info', 'Dry run, planning']
  switch (plan.status) {
    case 'executing':
      return plan.waiting_for ? ['warn', `Waits: ${word(plan.waiting_for.code).toLowerCase()}`] : ['info', 'Running']
    case 'completed':
      return plan.approval === 'recommended' ? ['plain', 'Recommended only'] : ['ok', 'Completed']
    case 'failed':
      return ['bad', 'Failed']
    case 'cancelled':
      return ['plain', word(['rejected', 'expired', 'superseded'].includes(plan.approval) ? plan.approval : 'cancelled')]
  }
  switch (plan.approval) {
    case 'awaiting':
      return ['accent', 'Waiting for approval']
    case 'snoozed':
      return ['plain', 'Snoozed']
    case 'recommended':
      return ['plain', 'Recommended only']
    case 'approved':
      return plan.waiting_for ? ['warn', `Waits: ${word(plan.waiting_for.code).toLowerCase()}`] : ['info', 'Approved']
    default:
      return plan.waiting_for ? ['warn', `Waits: ${word(plan.waiting_for.code).toLowerCase()}`] : ['info', 'Planning']
  }
}

export function PlanBadge({ plan }: { plan: Parameters<typeof planState>[0] }) {
  const [tone, text] = planState(plan)
  return <Badge tone={tone}>{text}</Badge>
}

/** What a plan waits for, in a sentence. */
export function waitingText(waiting: Waiting): string {
  const text = waiting.message || `Waits for ${word(waiting.code).toLowerCase()}`
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? '' : '.'}`
}

/** spot or on demand, with its colour. */
export function Bought({ as }: { as: string }) {
  const spot = as === 'spot'
  return (
    <span className="inline-flex items-center gap-1.5">
      <span aria-hidden="true" className={spot ? 'size-2.5 rounded-sm bg-spot' : 'size-2.5 rounded-sm bg-demand'} />
      {spot ? 'Spot' : 'On-demand'}
    </span>
  )
}

/** Who did something, as the audit log calls them, without the kind in front. */
export function Actor({ actor }: { actor: string }) {
  if (!actor) return <span className="text-ink-3">–</span>
  return (
    <span title={actor} className="break-all">
      {actor.replace(/^(user|member|key|api_key):/, '')}
    </span>
  )
}
