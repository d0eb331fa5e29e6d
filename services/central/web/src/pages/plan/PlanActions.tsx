import { useState } from 'react'
import { useWhyNot } from '@/api/me'
import { useAct } from '@/api/query'
import type { Rpc } from '@/api/client'
import type { Optimization } from '@/api/schema'
import { money } from '@/format/money'
import { word } from '@/format/words'
import { Button } from '@/ui/Button'
import { Confirm, typedFrom } from '@/ui/Confirm'
import { Field, Select } from '@/ui/Field'

const changes: Rpc[] = ['AdminService/ListOptimizations', 'AdminService/GetOptimization']
const snoozes: [hours: number, text: string][] = [
  [4, '4 hours'],
  [24, 'a day'],
  [72, '3 days'],
  [168, 'a week'],
  [720, '30 days'],
]

type Asked = 'approve' | 'reject' | 'snooze' | 'cancel'

/** What a plan touches, in a sentence. */
export function blastRadius(plan: Optimization): string {
  const text = plan.plan?.blast_radius || 'What it touches is not known yet'
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`
}

/** The decisions that a person may take about a plan, as far as its state allows them. */
export function PlanActions({ plan, small }: { plan: Optimization; small?: boolean }) {
  const [asked, setAsked] = useState<Asked | null>(null)
  const [hours, setHours] = useState(24)
  const may = {
    approve: useWhyNot('GuardService/ApproveOptimization'),
    reject: useWhyNot('GuardService/RejectOptimization'),
    snooze: useWhyNot('GuardService/SnoozeOptimization'),
    cancel: useWhyNot('GuardService/CancelOptimization'),
  }
  const close = () => setAsked(null)
  const approve = useAct('GuardService/ApproveOptimization', { done: 'Approved. It runs as soon as windows and budgets allow.', changes, onDone: close })
  const reject = useAct('GuardService/RejectOptimization', { done: 'Rejected.', changes, onDone: close })
  const snooze = useAct('GuardService/SnoozeOptimization', { done: 'Snoozed.', changes, onDone: close })
  const cancel = useAct('GuardService/CancelOptimization', { done: 'Cancelled. What was begun is brought to a safe end.', changes, onDone: close })

  const undecided = plan.status === 'pending' && (plan.approval === 'awaiting' || plan.approval === 'snoozed')
  const underway = plan.status === 'executing' || (plan.status === 'pending' && !undecided && plan.approval !== 'recommended')
  const title = `${word(plan.optimization_type)} in ${plan.cluster_name || 'this cluster'}`
  const id = { optimization_id: plan.optimization_id }
  const many = (plan.plan?.nodes_drained ?? 0) >= typedFrom
  return (
    <>
      {undecided && (
        <>
          <Button small={small} kind="ghost" icon="snooze" label="Snooze" whyNot={may.snooze} onClick={() => setAsked('snooze')}>
            {small ? undefined : 'Snooze'}
          </Button>
          <Button small={small} kind={small ? 'ghost' : 'plain'} icon={small ? 'close' : undefined} label="Reject" whyNot={may.reject} onClick={() => setAsked('reject')}>
            {small ? undefined : 'Reject'}
          </Button>
          <Button small={small} kind="primary" icon="check" whyNot={may.approve} onClick={() => setAsked('approve')}>
            Approve
          </Button>
        </>
      )}
      {underway && (
        <Button small={small} kind="caution" whyNot={may.cancel} onClick={() => setAsked('cancel')}>
          Cancel
        </Button>
      )}
      <Confirm
        open={asked === 'approve'}
        onClose={close}
        title={`Approve: ${title}?`}
        act="Approve"
        busy={approve.isPending}
        blastRadius={blastRadius(plan)}
        typed={many ? plan.cluster_name : undefined}
        reason="optional"
        onAct={(reason) => approve.mutate({ ...id, reason, etag: plan.etag })}
      >
        <p className="text-sm text-ink-2">
          Promises {money(plan.estimated_savings)} a month. Every step is checked again before it is taken; budgets of the workloads are kept. If the plan has changed since you looked at it, it is not approved.
        </p>
      </Confirm>
      <Confirm
        open={asked === 'reject'}
        onClose={close}
        title={`Reject: ${title}?`}
        act="Reject"
        busy={reject.isPending}
        reason="required"
        onAct={(reason) => reject.mutate({ ...id, reason, etag: plan.etag })}
      />
      <Confirm
        open={asked === 'snooze'}
        onClose={close}
        title={`Snooze: ${title}?`}
        act="Snooze"
        busy={snooze.isPending}
        reason="required"
        onAct={(reason) => snooze.mutate({ ...id, reason, etag: plan.etag, until: new Date(Date.now() + hours * 3_600_000).toISOString() })}
      >
        <Field label="For" hint="It comes back by itself; meanwhile a newer plan may take its place.">
          {(ids) => (
            <Select {...ids} value={hours} onChange={(event) => setHours(Number(event.target.value))}>
              {snoozes.map(([value, text]) => (
                <option key={value} value={value}>
                  {text}
                </option>
              ))}
            </Select>
          )}
        </Field>
      </Confirm>
      <Confirm
        open={asked === 'cancel'}
        onClose={close}
        title={`Cancel: ${title}?`}
        act="Cancel the plan"
        danger
        busy={cancel.isPending}
        blastRadius="Drains under way are cancelled and their nodes taken back into use. Instances that were launched and hold nothing are ended."
        reason="required"
        onAct={(reason) => cancel.mutate({ ...id, reason })}
      />
    </>
  )
}
