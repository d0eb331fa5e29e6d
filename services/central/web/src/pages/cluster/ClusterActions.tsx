import { useNavigate } from '@tanstack/react-router'
import { useState } from 'react'
import { useWhyNot } from '@/api/me'
import { useAct } from '@/api/query'
import type { Cluster, EffectivePolicy } from '@/api/schema'
import { many } from '@/format/money'
import { word } from '@/format/words'
import { StopDialog } from '@/shell/StopAll'
import { Button } from '@/ui/Button'
import { Dialog } from '@/ui/Dialog'
import { Check, Field, Input, Select } from '@/ui/Field'

/** What can be begun and stopped in a cluster. */
export function ClusterActions({ cluster, policy }: { cluster: Cluster; policy?: EffectivePolicy }) {
  const [asked, setAsked] = useState<'stop' | 'plan' | null>(null)
  const mayNotStop = useWhyNot('GuardService/CreateStop')
  const mayNotPlan = useWhyNot('AdminService/TriggerOptimization')
  const away = cluster.status !== 'active' ? 'Its agent is not connected.' : undefined
  return (
    <>
      <Button icon="stop" kind="caution" whyNot={mayNotStop ?? (cluster.stopped ? 'It is stopped already.' : undefined)} onClick={() => setAsked('stop')}>
        Stop
      </Button>
      <Button icon="play" kind="primary" whyNot={mayNotPlan ?? away} onClick={() => setAsked('plan')}>
        Make a plan
      </Button>
      <StopDialog open={asked === 'stop'} onClose={() => setAsked(null)} only={{ id: cluster.cluster_id, name: cluster.cluster_name }} />
      <PlanDialog open={asked === 'plan'} onClose={() => setAsked(null)} cluster={cluster} mode={policy?.values?.mode ?? cluster.mode} />
    </>
  )
}

const engines: [name: string, about: string][] = [
  ['bin_pack', 'Fewer nodes for the same pods.'],
  ['spot_optimize', 'Cheaper instances, spot where it is safe.'],
  ['rightsize', 'Requests as large as what containers use. Advice to apply in your manifests.'],
]

/** Those that only advise: nothing can carry them out. */
const advisory = ['rightsize']

const afterwards: Record<string, string> = {
  automatic: 'In mode automatic it runs at once, within budgets and windows.',
  approve: 'In mode approve it waits for approval once it has a plan.',
  recommend: 'In mode recommend it is a dry run: the plan is kept, nobody can start it.',
  read_only: 'In mode read-only it is a dry run: nothing is changed.',
}

function PlanDialog({ open, onClose, cluster, mode }: { open: boolean; onClose: () => void; cluster: Cluster; mode: string }) {
  const navigate = useNavigate()
  const [engine, setEngine] = useState('bin_pack')
  const [dry, setDry] = useState(true)
  const [reason, setReason] = useState('')
  const trigger = useAct('AdminService/TriggerOptimization', {
    changes: ['AdminService/ListOptimizations'],
    onDone: (plan) => {
      onClose()
      void navigate({ to: '/plans/$planId', params: { planId: plan.optimization_id } })
    },
  })
  const advises = advisory.includes(engine)
  const acts = mode === 'automatic' && !dry && !advises
  return (
    <Dialog
      open={open}
      onClose={onClose}
      title={`Make a plan for ${cluster.cluster_name}`}
      about={`${many(cluster.node_count, 'node')}, ${many(cluster.pod_count, 'pod')}.`}
      actions={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button
            kind={acts ? 'danger' : 'primary'}
            busy={trigger.isPending}
            onClick={() => trigger.mutate({ cluster_id: cluster.cluster_id, optimization_type: engine, dry_run: dry || advises, reason: reason || undefined })}
          >
            {acts ? 'Plan and run' : 'Make the plan'}
          </Button>
        </>
      }
    >
      <div className="flex flex-col gap-4">
        <Field label="What for" hint={engines.find(([name]) => name === engine)?.[1]}>
          {(ids) => (
            <Select {...ids} value={engine} onChange={(event) => setEngine(event.target.value)}>
              {engines.map(([name]) => (
                <option key={name} value={name}>
                  {word(name)}
                </option>
              ))}
            </Select>
          )}
        </Field>
        <Check label="Dry run" disabled={advises} hint={dry || advises ? 'Only makes the plan, whatever the policy. Nothing is changed.' : (afterwards[mode] ?? '')} checked={dry || advises} onChange={(event) => setDry(event.target.checked)} />
        <Field label="Reason (optional)" hint="Kept in the audit log.">
          {(ids) => <Input {...ids} value={reason} maxLength={255} onChange={(event) => setReason(event.target.value)} />}
        </Field>
      </div>
    </Dialog>
  )
}
