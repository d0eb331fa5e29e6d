import type { UseQueryResult } from '@tanstack/react-query'
import { useState } from 'react'
import { useWhyNot } from '@/api/me'
import type { Fault } from '@/api/fault'
import { useAct } from '@/api/query'
import type { Cluster, ClusterRecord } from '@/api/schema'
import { many } from '@/format/money'
import { Button } from '@/ui/Button'
import { Card } from '@/ui/Card'
import { Confirm } from '@/ui/Confirm'
import { FaultFacts, FaultView, Skeleton } from '@/ui/Empty'
import { Check, Field, Input } from '@/ui/Field'
import { Time } from '@/ui/Time'
import { RotateKey } from './RotateKey'

/** A cluster's name, how its nodes are launched, its agent's key, and the way out. */
export function Settings({ cluster, record }: { cluster: Cluster; record: UseQueryResult<ClusterRecord, Fault> }) {
  return (
    <div className="flex max-w-3xl flex-col gap-4">
      {record.data ? (
        <Form key={record.data.etag} cluster={cluster} record={record.data} />
      ) : (
        <Card title="Name and launching">{record.error ? <FaultView fault={record.error} retry={() => void record.refetch()} compact /> : <Skeleton lines={5} />}</Card>
      )}
      <Card title="Agent key" note="The agent signs in with it. A new one is shown once; those before end after the overlap you choose.">
        <RotateKey clusterId={cluster.cluster_id} name={cluster.cluster_name} />
      </Card>
      <Disconnect cluster={cluster} at={record.data?.disconnected_at} />
    </div>
  )
}

interface Subnet {
  zone: string
  subnet: string
}

function Form({ cluster, record }: { cluster: Cluster; record: ClusterRecord }) {
  const whyNot = useWhyNot('InventoryService/UpdateCluster')
  const [name, setName] = useState(record.cluster?.cluster_name ?? cluster.cluster_name)
  const [launches, setLaunches] = useState(Boolean(record.launch))
  const [template, setTemplate] = useState(record.launch?.launch_template_id ?? '')
  const [subnets, setSubnets] = useState<Subnet[]>(() => {
    const known = Object.entries(record.launch?.subnet_ids ?? {}).map(([zone, subnet]) => ({ zone, subnet }))
    return known.length > 0 ? known : [{ zone: `${cluster.region}a`, subnet: '' }]
  })
  const save = useAct('InventoryService/UpdateCluster', { done: 'Saved.', quiet: true, changes: ['InventoryService/GetCluster', 'AdminService/ListClusters'] })
  const fault = save.error
  const templateWrong = launches && template !== '' && !/^lt-[0-9a-f]+$/.test(template)
  const complete = !launches || (/^lt-[0-9a-f]+$/.test(template) && subnets.some((each) => each.zone && each.subnet))
  const change = (index: number, to: Partial<Subnet>) => setSubnets(subnets.map((each, i) => (i === index ? { ...each, ...to } : each)))
  return (
    <Card title="Name and launching">
      <form
        className="flex flex-col gap-4"
        onSubmit={(event) => {
          event.preventDefault()
          if (whyNot || !complete) return
          const ids = Object.fromEntries(subnets.filter((each) => each.zone && each.subnet).map((each) => [each.zone.trim(), each.subnet.trim()]))
          save.mutate({ cluster_id: cluster.cluster_id, cluster_name: name.trim(), launch: launches ? { launch_template_id: template, subnet_ids: ids } : undefined, etag: record.etag })
        }}
      >
        <Field label="Name">{(ids) => <Input {...ids} value={name} maxLength={255} onChange={(event) => setName(event.target.value)} />}</Field>
        <Check
          label="CloudOptim may launch nodes"
          hint="Without it, plans that buy nodes cannot run, and replacements of interrupted nodes are left to their groups."
          checked={launches}
          onChange={(event) => setLaunches(event.target.checked)}
        />
        {launches && (
          <>
            <Field label="Launch template" hint="With image, security groups, instance profile and user data that joins the cluster." error={templateWrong ? 'A template’s id looks like lt-0123456789abcdef0.' : undefined}>
              {(ids) => <Input {...ids} value={template} placeholder="lt-0123456789abcdef0" spellCheck={false} onChange={(event) => setTemplate(event.target.value.trim())} />}
            </Field>
            <fieldset className="flex flex-col gap-2">
              <legend className="mb-1 text-sm font-medium">Subnets</legend>
              <p className="text-sm text-ink-3">Nodes are launched in these zones alone.</p>
              {subnets.map((each, i) => (
                <div key={i} className="grid grid-cols-[minmax(0,1fr)_2rem] gap-2 sm:grid-cols-[10rem_minmax(0,1fr)_2rem]">
                  <Input aria-label={`Zone ${i + 1}`} placeholder="eu-west-1a" value={each.zone} spellCheck={false} onChange={(event) => change(i, { zone: event.target.value })} />
                  <Input aria-label={`Subnet ${i + 1}`} className="max-sm:col-start-1 max-sm:row-start-2" placeholder="subnet-0123456789abcdef0" value={each.subnet} spellCheck={false} onChange={(event) => change(i, { subnet: event.target.value })} />
                  <Button kind="ghost" icon="trash" label={`Remove zone ${i + 1}`} onClick={() => setSubnets(subnets.filter((_, j) => j !== i))} />
                </div>
              ))}
              <div>
                <Button small icon="plus" onClick={() => setSubnets([...subnets, { zone: '', subnet: '' }])}>
                  Add a zone
                </Button>
              </div>
            </fieldset>
          </>
        )}
        {fault && (
          <p role="alert" className="text-sm text-bad">
            {fault.code === 'CONFLICT' ? 'Somebody else changed it meanwhile. What they saved is shown once you reload.' : fault.message} <FaultFacts fault={fault} />
          </p>
        )}
        <div>
          <Button type="submit" kind="primary" busy={save.isPending} whyNot={whyNot ?? (!name.trim() ? 'It needs a name.' : complete ? undefined : 'A launch template and at least one subnet are needed.')}>
            Save
          </Button>
        </div>
      </form>
    </Card>
  )
}

function Disconnect({ cluster, at }: { cluster: Cluster; at?: string | null }) {
  const [asking, setAsking] = useState(false)
  const whyNot = useWhyNot('InventoryService/DisconnectCluster')
  const disconnect = useAct('InventoryService/DisconnectCluster', {
    done: 'Disconnected. Its history stays.',
    changes: ['AdminService/ListClusters', 'InventoryService/GetCluster'],
    onDone: () => setAsking(false),
  })
  const gone = cluster.status === 'disconnected' || Boolean(at)
  return (
    <Card title="Disconnect">
      {gone ? (
        <p className="text-sm text-ink-2">
          Disconnected <Time at={at} none="" />. Its history stays.
        </p>
      ) : (
        <div className="flex flex-wrap items-center justify-between gap-3">
          <p className="max-w-md text-sm text-ink-2">Ends its agent’s keys and every plan that runs there. Nodes and pods stay as they are. Uninstall the agent’s chart afterwards.</p>
          <Button kind="caution" whyNot={whyNot} onClick={() => setAsking(true)}>
            Disconnect the cluster
          </Button>
        </div>
      )}
      <Confirm
        open={asking}
        onClose={() => setAsking(false)}
        title={`Disconnect ${cluster.cluster_name}?`}
        act="Disconnect"
        danger
        busy={disconnect.isPending}
        typed={cluster.cluster_name}
        reason="optional"
        blastRadius={`CloudOptim no longer sees ${many(cluster.node_count, 'node')} and ${many(cluster.pod_count, 'pod')}, and no longer drains nodes that AWS takes. It cannot be undone; the cluster can be connected anew.`}
        onAct={(reason) => disconnect.mutate({ cluster_id: cluster.cluster_id, reason })}
      />
    </Card>
  )
}
