import type { Optimization } from '@/api/schema'
import { many } from '@/format/money'
import { sentence } from '@/format/words'
import { waitingText } from '@/ui/States'

/** What a step does, for people. */
export const stepNames: Record<string, string> = {
  state: 'Read the cluster’s state',
  decide: 'Decide',
  launch: 'Launch instances',
  ready: 'Wait for nodes to be ready',
  label: 'Label the new nodes',
  drain: 'Drain nodes',
  terminate: 'End instances',
  verify: 'Verify the result',
  rollback: 'Roll back',
}

export const stepName = (name: string): string => stepNames[name] ?? sentence(name)

/** How far a plan is: its steps, and in the long step of draining its nodes. */
export function progress(plan: Optimization): { done: number; of: number; text: string } {
  const steps = plan.steps.filter((step) => step.status !== 'skipped')
  const finished = steps.filter((step) => step.status === 'completed').length
  const now = steps.find((step) => step.status === 'running') ?? steps.find((step) => step.status === 'pending')
  const gone = plan.nodes.filter((node) => node.status === 'drained' || node.status === 'terminated' || node.status === 'kept').length
  const part = now?.name === 'drain' && plan.nodes.length > 0 ? gone / plan.nodes.length : 0
  const drained = now?.name === 'drain' && plan.nodes.length > 0 ? `, ${gone} of ${many(plan.nodes.length, 'node')}` : ''
  const doing = now ? `${stepName(now.name)}${drained}` : 'Done'
  const text = plan.waiting_for ? `${doing}. ${waitingText(plan.waiting_for)}` : doing
  return { done: finished + part, of: Math.max(steps.length, 1), text }
}
