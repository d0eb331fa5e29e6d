import { useMemo, useState } from 'react'
import { useAsk } from '@/api/query'
import type { Calendar, Schedule, ScheduleScope, WakeStage } from '@/api/schema'
import { atLocal, atUTC, forField, moment } from '@/format/time'
import { useNow } from '@/live/Live'
import { Button } from '@/ui/Button'
import { Card } from '@/ui/Card'
import { Field, Input, Select } from '@/ui/Field'
import { Lines } from '@/ui/Lines'
import { narrow } from '@/ui/narrow'
import { Dates, Exceptions } from './Dates'
import type { faultsOf } from './draft'
import { officePresets, WeekGrid } from '@/week/WeekGrid'
import { SpanRows } from '@/week/SpanRows'
import { ZoneField } from '@/week/ZoneField'
import { Switch } from '@/ui/Switch'

interface Props {
  draft: Schedule
  onChange: (draft: Schedule) => void
  faults: ReturnType<typeof faultsOf>
}

/** What a schedule is made of. */
export function Form({ draft, onChange, faults }: Props) {
  const calendar = draft.calendar!
  const scope = draft.scope ?? { namespaces: [], workloads: [], node_labels: {} }
  const setCalendar = (change: Partial<Calendar>) => onChange({ ...draft, calendar: { ...calendar, ...change } })
  const setScope = (change: Partial<ScheduleScope>) => onChange({ ...draft, scope: { ...scope, ...change } })
  return (
    <div className="flex min-w-0 flex-col gap-4">
      <Card title="Schedule">
        <div className="grid gap-4 sm:grid-cols-2">
          <Field label="Name" error={draft.name === '' ? undefined : faults.name} hint="Unique in the cluster">
            {(ids) => <Input {...ids} value={draft.name} maxLength={128} onChange={(event) => onChange({ ...draft, name: event.target.value })} />}
          </Field>
          <ClusterField draft={draft} onChange={(cluster_id) => onChange({ ...draft, cluster_id })} />
          <ZoneField value={calendar.time_zone} onChange={(time_zone) => setCalendar({ time_zone })} />
          <Field label="Wake ahead" hint="Minutes before a span begins">
            {(ids) => <Input {...ids} type="number" min={0} max={240} value={draft.lead_minutes} onChange={(event) => onChange({ ...draft, lead_minutes: Math.min(240, Math.max(0, Number(event.target.value))) })} />}
          </Field>
        </div>
      </Card>
      <Week calendar={calendar} fault={faults.spans} onChange={setCalendar} />
      <Card title="Days that differ" note="They go before the week above.">
        <div className="grid gap-6 lg:grid-cols-2">
          <Dates label="Holidays" hint="On these dates no span begins." dates={calendar.holidays} onChange={(holidays) => setCalendar({ holidays })} />
          <Exceptions exceptions={calendar.exceptions} fault={faults.exceptions} onChange={(exceptions) => setCalendar({ exceptions })} />
        </div>
      </Card>
      <Freeze calendar={calendar} onChange={setCalendar} />
      <Card title="What sleeps" note="What is empty does not narrow it. kube-system and CloudOptim's own namespace never sleep.">
        <div className="grid gap-4 lg:grid-cols-3">
          <Namespaces cluster={draft.cluster_id} chosen={scope.namespaces} onChange={(namespaces) => setScope({ namespaces })} />
          <Lines label="Workloads" hint="namespace/name or namespace/kind/name, one a line" error={faults.workloads} placeholder="shop/checkout" lines={scope.workloads} onChange={(workloads) => setScope({ workloads })} />
          <Lines
            label="Labels of nodes"
            hint="key=value: workloads all of whose pods are on such nodes"
            placeholder="pool=dev"
            lines={Object.entries(scope.node_labels).map(([key, value]) => `${key}=${value}`)}
            onChange={(lines) => setScope({ node_labels: Object.fromEntries(lines.filter((line) => line.includes('=')).map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)])) })}
          />
        </div>
      </Card>
      <Stages stages={draft.wake_order} fault={faults.stages} onChange={(wake_order) => onChange({ ...draft, wake_order })} />
    </div>
  )
}

function ClusterField({ draft, onChange }: { draft: Schedule; onChange: (id: string) => void }) {
  const clusters = useAsk('AdminService/ListClusters', {})
  return (
    <Field label="Cluster" hint={draft.schedule_id ? 'Stays as it is' : 'Where it acts'}>
      {(ids) => (
        <Select {...ids} value={draft.cluster_id} disabled={draft.schedule_id !== ''} onChange={(event) => onChange(event.target.value)}>
          <option value="">Choose a cluster</option>
          {clusters.data?.map((each) => (
            <option key={each.cluster_id} value={each.cluster_id}>
              {each.cluster_name}
            </option>
          ))}
        </Select>
      )}
    </Field>
  )
}

function Week({ calendar, fault, onChange }: { calendar: Calendar; fault?: string; onChange: (change: Partial<Calendar>) => void }) {
  const [how, setHow] = useState<'paint' | 'type'>(narrow() ? 'type' : 'paint')
  return (
    <Card
      title="Awake"
      note="The rest of the week it sleeps."
      actions={
        <Switch
          label="How to set it"
          options={[
            ['paint', 'Paint'],
            ['type', 'Exact times'],
          ]}
          value={how}
          onChange={setHow}
        />
      }
    >
      {how === 'paint' ? (
        <WeekGrid label="When it is awake" spans={calendar.open} onChange={(open) => onChange({ open })} zone={calendar.time_zone} words={['awake', 'asleep']} presets={officePresets} />
      ) : (
        <SpanRows spans={calendar.open} onChange={(open) => onChange({ open })} />
      )}
      {fault && (
        <p role="alert" className="mt-2 text-sm text-bad">
          {fault}
        </p>
      )}
    </Card>
  )
}

function Freeze({ calendar, onChange }: { calendar: Calendar; onChange: (change: Partial<Calendar>) => void }) {
  const until = moment(calendar.freeze_until)
  const now = useNow()
  const over = until && until.getTime() <= now
  return (
    <Card title="Freeze" note="Until then nothing is put to sleep and nothing woken: what sleeps sleeps, what is awake stays awake. “Wake now” goes before it.">
      <div className="flex flex-wrap items-end gap-2">
        <Field label="Frozen until" hint={until ? `${over ? 'Over since' : 'Until'} ${atLocal(until)} your time (${atUTC(until)})` : 'Your time. Empty: it follows its calendar.'}>
          {(ids) => <Input {...ids} type="datetime-local" className="max-w-60" value={forField(until)} onChange={(event) => onChange({ freeze_until: moment(event.target.value)?.toISOString() })} />}
        </Field>
        {until && (
          <Button small className="mb-6.5" onClick={() => onChange({ freeze_until: undefined })}>
            End the freeze
          </Button>
        )}
      </div>
    </Card>
  )
}

function Namespaces({ cluster, chosen, onChange }: { cluster: string; chosen: string[]; onChange: (names: string[]) => void }) {
  const state = useAsk('AdminService/GetClusterState', { cluster_id: cluster }, { enabled: cluster !== '' })
  const others = useMemo(() => {
    const all = new Set(state.data?.pods.map((pod) => pod.namespace))
    return [...all].filter((name) => !chosen.includes(name) && !name.startsWith('kube-')).toSorted()
  }, [state.data, chosen])
  return (
    <div className="flex flex-col gap-2">
      <Lines label="Namespaces" hint="Names, or with a star: dev-*" placeholder="dev-*" lines={chosen} onChange={onChange} />
      {others.length > 0 && (
        <div role="group" aria-label="Namespaces of the cluster" className="flex flex-wrap gap-1.5">
          {others.slice(0, 12).map((name) => (
            <Button key={name} small icon="plus" onClick={() => onChange([...chosen, name])}>
              {name}
            </Button>
          ))}
        </div>
      )}
    </div>
  )
}

function Stages({ stages, fault, onChange }: { stages: WakeStage[]; fault?: string; onChange: (stages: WakeStage[]) => void }) {
  const change = (index: number, to: Partial<WakeStage>) => onChange(stages.map((stage, i) => (i === index ? { ...stage, ...to } : stage)))
  const swap = (index: number, by: number) => {
    const next = [...stages]
    const [moved] = next.splice(index, 1)
    next.splice(index + by, 0, moved!)
    onChange(next)
  }
  return (
    <Card
      title="Who wakes before whom"
      note="Each stage waits until the one before is ready, or its minutes are over. The rest wakes last."
      actions={
        <Button small icon="plus" onClick={() => onChange([...stages, { workloads: [], ready_minutes: 5 }])}>
          Add a stage
        </Button>
      }
    >
      {stages.length === 0 ? (
        <p className="text-sm text-ink-3">Everything wakes at once. Databases usually belong in a first stage.</p>
      ) : (
        <ol className="flex flex-col gap-3">
          {stages.map((stage, index) => (
            // oxlint-disable-next-line react/no-array-index-key -- stages have no names
            <li key={index} className="grid items-start gap-3 rounded-md border border-line p-3 sm:grid-cols-[2rem_minmax(0,1fr)_9rem_auto]">
              <span className="grid size-7 place-items-center rounded-full bg-accent-soft text-sm font-semibold text-accent">{index + 1}</span>
              <Lines label={`Workloads of stage ${index + 1}`} rows={2} placeholder="shop/statefulset/postgres" lines={stage.workloads} onChange={(workloads) => change(index, { workloads })} />
              <Field label="Minutes to ready">
                {(ids) => <Input {...ids} type="number" min={0} max={240} value={stage.ready_minutes ?? ''} onChange={(event) => change(index, { ready_minutes: event.target.value === '' ? undefined : Number(event.target.value) })} />}
              </Field>
              <span className="flex gap-1 sm:pt-6">
                <Button small kind="ghost" icon="up" label={`Stage ${index + 1} earlier`} whyNot={index === 0 ? 'It is the first.' : undefined} onClick={() => swap(index, -1)} />
                <Button small kind="ghost" icon="down" label={`Stage ${index + 1} later`} whyNot={index === stages.length - 1 ? 'It is the last.' : undefined} onClick={() => swap(index, 1)} />
                <Button small kind="ghost" icon="trash" label={`Remove stage ${index + 1}`} onClick={() => onChange(stages.filter((_, i) => i !== index))} />
              </span>
            </li>
          ))}
        </ol>
      )}
      {fault && <p className="mt-2 text-sm text-bad">{fault}</p>}
    </Card>
  )
}
