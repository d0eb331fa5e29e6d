import { useQueryClient } from '@tanstack/react-query'
import { useState, type ReactNode } from 'react'
import { call } from '@/api/client'
import { faultOf } from '@/api/fault'
import { useAct, useAsk } from '@/api/query'
import type { Policy, PolicyValues } from '@/api/schema'
import { many } from '@/format/money'
import { useScope } from '@/shell/filters'
import { Badge } from '@/ui/Badge'
import { Button } from '@/ui/Button'
import { Card } from '@/ui/Card'
import { Confirm, typedFrom } from '@/ui/Confirm'
import { Conflict, isConflict } from '@/ui/Conflict'
import { Icon } from '@/ui/Icon'
import { Leave } from '@/ui/Leave'
import { Switch } from '@/ui/Switch'
import { toast } from '@/ui/Toasts'
import { Control } from './Control'
import type { PolicyScope } from './Policies'
import { changesOf, fieldNames, fieldNotes, fields, valuesFault, valueText, type Change, type Field } from './values'

interface Props {
  scope: PolicyScope
  /** What is set here; undefined: nothing. */
  policy?: Policy
  /** What holds where nothing is set here. */
  around: PolicyValues
  onDone: () => void
}

/** Sets values of one scope, or lets them be inherited again. */
export function EditPolicy({ scope, policy, around, onDone }: Props) {
  const [base, setBase] = useState(policy)
  const own = base?.values ?? {}
  const [draft, setDraft] = useState<PolicyValues>(own)
  const [asking, setAsking] = useState<'save' | 'conflict' | null>(null)
  const [left, setLeft] = useState(false)
  const cache = useQueryClient()
  const changes = changesOf(own, draft, around)
  const shown: readonly Field[] = scope.kind === 'namespace' ? ['mode'] : fields
  const set = useAct('GuardService/SetPolicy', {
    done: 'The policy is saved. It holds from now on.',
    changes: ['GuardService/ListPolicies', 'GuardService/GetEffectivePolicy', 'AdminService/ListClusters'],
    quiet: true,
    onDone: () => {
      setLeft(true)
      onDone()
    },
  })
  const where = { customer_id: scope.customer_id, cluster_id: scope.cluster_id, namespace: scope.namespace }
  const save = (etag: string | undefined) =>
    set.mutate(
      { ...where, values: draft, etag },
      {
        onError: (fault) => {
          if (isConflict(fault)) setAsking('conflict')
          else toast.fault(fault)
        },
      },
    )
  const now = async () => (await call('GuardService/ListPolicies', { customer_id: scope.customer_id, cluster_id: scope.cluster_id, page_size: 1000 })).find((each) => each.cluster_id === (scope.cluster_id ?? '') && each.namespace === (scope.namespace ?? ''))
  const overwrite = () => now().then((theirs) => save(theirs?.etag), (error) => toast.fault(faultOf(error)))
  const reload = () =>
    now().then(
      (theirs) => {
        setBase(theirs)
        setDraft(theirs?.values ?? {})
        setAsking(null)
        void cache.invalidateQueries({ queryKey: ['GuardService/GetEffectivePolicy'] })
      },
      (error) => toast.fault(faultOf(error)),
    )
  const fault = valuesFault(draft)
  const looser = changes.some((change) => change.loosens)
  return (
    <div className="flex min-w-0 flex-col gap-4">
      <Card
        title={`Rules of ${scope.name}`}
        note="Set a rule here, or let it be inherited."
        actions={
          <>
            <Button onClick={onDone}>Cancel</Button>
            <Button kind="primary" busy={set.isPending} whyNot={fault ?? (changes.length > 0 ? undefined : 'Nothing is changed.')} onClick={() => (looser ? setAsking('save') : save(base?.etag))}>
              Save
            </Button>
          </>
        }
      >
        <div className="flex flex-col divide-y divide-line/70">
          {shown.map((field) => (
            <Row key={field} field={field} isSet={draft[field] !== undefined && draft[field] !== null} inherited={valueText(field, around)} onSet={(here) => setDraft({ ...draft, [field]: here ? (own[field] ?? around[field]) : undefined })}>
              <Control field={field} values={draft} onChange={(change) => setDraft({ ...draft, ...change })} />
            </Row>
          ))}
        </div>
        {fault && (
          <p role="alert" className="mt-3 flex items-center gap-1.5 text-sm text-bad">
            <Icon name="error" size={14} /> {fault}
          </p>
        )}
      </Card>
      {changes.length > 0 && (
        <Card title="What saving changes">
          <ChangeList changes={changes} />
        </Card>
      )}
      <SaveConfirm open={asking === 'save'} scope={scope} changes={changes} after={draft.mode ?? around.mode ?? ''} busy={set.isPending} onClose={() => setAsking(null)} onSave={() => save(base?.etag)} />
      <Conflict open={asking === 'conflict'} what={`The policy of ${scope.name}`} busy={set.isPending} onClose={() => setAsking(null)} onReload={() => void reload()} onOverwrite={() => void overwrite()} />
      <Leave dirty={changes.length > 0 && !left} />
    </div>
  )
}

function Row({ field, isSet, inherited, onSet, children }: { field: Field; isSet: boolean; inherited: string; onSet: (here: boolean) => void; children: ReactNode }) {
  return (
    <section aria-label={fieldNames[field]} className="grid gap-x-6 gap-y-2 py-4 first:pt-1 last:pb-0 xl:grid-cols-[13rem_minmax(0,1fr)]">
      <div>
        <h3 className="font-medium">{fieldNames[field]}</h3>
        <p className="text-sm text-ink-3">{fieldNotes[field]}</p>
      </div>
      <div className="flex min-w-0 flex-col items-start gap-3">
        <Switch
          label={`${fieldNames[field]}: where from`}
          options={[
            ['inherit', 'Inherited'],
            ['here', 'Set here'],
          ]}
          value={isSet ? 'here' : 'inherit'}
          onChange={(value) => onSet(value === 'here')}
        />
        {isSet ? <div className="w-full min-w-0">{children}</div> : <p className="text-ink-2">{inherited}</p>}
      </div>
    </section>
  )
}

function ChangeList({ changes }: { changes: Change[] }) {
  return (
    <ul className="flex flex-col gap-2.5">
      {changes.map((change) => (
        <li key={change.field}>
          <p>
            <span className="font-medium">{fieldNames[change.field]}</span>: <span className="text-ink-3 line-through decoration-line-strong">{change.before}</span> <Icon name="arrow" size={13} className="inline text-ink-3" />{' '}
            <span className="font-medium">{change.after}</span> {change.loosens && (change.field === 'mode' || change.field === 'stale_after_seconds') && <Badge tone="warn">lets it do more</Badge>}
          </p>
          {change.meaning && <p className="text-sm text-ink-3">{change.meaning}</p>}
        </li>
      ))}
    </ul>
  )
}

function SaveConfirm({ open, scope, changes, after, busy, onClose, onSave }: { open: boolean; scope: PolicyScope; changes: Change[]; after: string; busy: boolean; onClose: () => void; onSave: () => void }) {
  const { customer } = useScope()
  const clusters = useAsk('AdminService/ListClusters', { customer_id: scope.customer_id ?? customer, page_size: 1000 }, { enabled: open })
  const policies = useAsk('GuardService/ListPolicies', { customer_id: scope.customer_id, page_size: 1000 }, { enabled: open && scope.kind === 'customer' })
  const raises = changes.some((change) => change.field === 'mode' && change.loosens)
  const ownMode = new Set(policies.data?.filter((each) => each.namespace === '' && each.values?.mode).map((each) => each.cluster_id))
  const reached = clusters.data?.filter((each) => (scope.cluster_id ? each.cluster_id === scope.cluster_id : !ownMode.has(each.cluster_id))) ?? []
  const nodes = reached.reduce((sum, each) => sum + each.node_count, 0)
  const automatic = raises && after === 'automatic'
  return (
    <Confirm
      open={open}
      onClose={onClose}
      title={automatic ? `Let plans run by themselves in ${scope.name}?` : `Change the rules of ${scope.name}?`}
      act={automatic ? 'Make it automatic' : 'Save'}
      danger={automatic}
      busy={busy}
      typed={automatic && nodes >= typedFrom ? scope.name : undefined}
      blastRadius={
        scope.kind === 'namespace'
          ? `Pods of ${scope.name} may be moved${automatic ? ' by plans that run by themselves' : ''}.`
          : `Reaches ${many(reached.length, 'cluster')} with ${many(nodes, 'node')}.${automatic ? ' From the next plan on nodes are drained and pods moved without anybody being asked, within budgets and windows.' : ''}`
      }
      onAct={onSave}
    >
      <ChangeList changes={changes} />
    </Confirm>
  )
}
