import { useQueryClient } from '@tanstack/react-query'
import { Link, useNavigate } from '@tanstack/react-router'
import { useState, type ReactNode } from 'react'
import { call } from '@/api/client'
import { useWhyNot } from '@/api/me'
import { useAct, useAsk } from '@/api/query'
import type { Schedule } from '@/api/schema'
import { decimal, many } from '@/format/money'
import { useNow } from '@/live/Live'
import { useFilters, useScope } from '@/shell/filters'
import { toast } from '@/ui/Toasts'
import { faultOf } from '@/api/fault'
import { Button } from '@/ui/Button'
import { Confirm } from '@/ui/Confirm'
import { Conflict, isConflict } from '@/ui/Conflict'
import { Empty, FaultView, Skeleton } from '@/ui/Empty'
import { FrozenUntil } from '@/ui/Frozen'
import { Icon } from '@/ui/Icon'
import { Leave } from '@/ui/Leave'
import { Page } from '@/ui/Page'
import { Tabs } from '@/ui/Tabs'
import { Ago } from '@/ui/Time'
import { alike, blank, faultsOf, frozen, saved } from './draft'
import { Form } from './Form'
import { Preview, usePreview } from './Preview'
import { Runs } from './Runs'
import { StateBadge } from './Schedules'
import { WakeDialog } from './Wake'

/** One schedule: what it is, what it would do, what it did. */
export function Editor({ id }: { id: string }) {
  const { cluster } = useScope()
  const schedules = useAsk('ScheduleService/ListSchedules', { page_size: 1000 }, { enabled: id !== 'new' })
  const clusters = useAsk('AdminService/ListClusters', {}, { enabled: id === 'new' && !cluster })
  if (id === 'new') {
    if (!cluster && clusters.isPending) return <Loading />
    return <Desk kept={blank(cluster ?? (clusters.data?.length === 1 ? clusters.data[0]!.cluster_id : ''))} />
  }
  if (schedules.isPending) return <Loading />
  if (schedules.error && !schedules.data)
    return (
      <Page title="Schedule" about={<Back />}>
        <FaultView fault={schedules.error} retry={() => void schedules.refetch()} />
      </Page>
    )
  const kept = schedules.data?.find((each) => each.schedule_id === id)
  if (!kept)
    return (
      <Page title="Schedule" about={<Back />}>
        <Empty icon="schedules" title="There is no such schedule">
          It may have been deleted.
        </Empty>
      </Page>
    )
  return <Desk kept={kept} />
}

function Loading() {
  return (
    <Page title="Schedule" about={<Back />}>
      <Skeleton lines={8} />
    </Page>
  )
}

function Back() {
  return (
    <Link to="/schedules" search={{}} className="inline-flex min-h-6 items-center gap-1 text-accent hover:underline">
      <Icon name="left" size={13} /> All schedules
    </Link>
  )
}

function Desk({ kept }: { kept: Schedule }) {
  const isNew = kept.schedule_id === ''
  const [{ tab }, setFilter] = useFilters<'tab'>()
  // What was opened stays the base of the draft: what comes live must not change what is being edited.
  const [base, setBase] = useState(kept)
  const [draft, setDraft] = useState(kept)
  const [left, setLeft] = useState(false)
  const [asking, setAsking] = useState<'save' | 'delete' | 'wake' | 'conflict' | null>(null)
  const [toSave, setToSave] = useState<Schedule>(kept)
  const navigate = useNavigate()
  const cache = useQueryClient()
  const mayNotSave = useWhyNot(isNew ? 'ScheduleService/CreateSchedule' : 'ScheduleService/UpdateSchedule')
  const mayNotDelete = useWhyNot('ScheduleService/DeleteSchedule')
  const mayNotWake = useWhyNot('ScheduleService/WakeSchedule')
  const faults = faultsOf(draft)
  const wrong = Object.values(faults)[0]
  const dirty = isNew ? !alike(draft, kept) : !alike(draft, base)
  const preview = usePreview(draft, wrong === undefined)
  const changedElsewhere = !isNew && kept.etag !== base.etag && dirty
  if (!isNew && kept.etag !== base.etag && !dirty) {
    setBase(kept)
    setDraft(kept)
  }

  const done = (answer: Schedule) => {
    setBase(answer)
    setDraft(answer)
    setAsking(null)
    void cache.invalidateQueries({ queryKey: ['ScheduleService/ListSchedules'] })
    if (!isNew) return
    setLeft(true)
    setTimeout(() => void navigate({ to: '/schedules', search: { id: answer.schedule_id }, replace: true }))
  }
  const create = useAct('ScheduleService/CreateSchedule', { done: (answer) => `“${answer.name}” is saved.`, onDone: done })
  const update = useAct('ScheduleService/UpdateSchedule', { done: (answer) => `“${answer.name}” is saved.`, onDone: done, quiet: true })
  const remove = useAct('ScheduleService/DeleteSchedule', {
    done: `“${kept.name}” is deleted.`,
    changes: ['ScheduleService/ListSchedules'],
    onDone: () => {
      setLeft(true)
      setTimeout(() => void navigate({ to: '/schedules', search: {} }))
    },
  })
  const save = (schedule: Schedule) => {
    if (isNew) create.mutate(saved(schedule))
    else
      update.mutate(
        { 'schedule.schedule_id': schedule.schedule_id, ...saved(schedule) },
        {
          onError: (fault) => {
            if (isConflict(fault)) setAsking('conflict')
            else toast.fault(fault)
          },
        },
      )
  }
  const ask = (schedule: Schedule) => {
    setToSave(schedule)
    // What acts, or did until now, changes when workloads run: that is confirmed with what it touches.
    if (schedule.enabled || base.enabled) setAsking('save')
    else save(schedule)
  }
  const overwrite = async () => {
    try {
      const now = (await call('ScheduleService/ListSchedules', { page_size: 1000 })).find((each) => each.schedule_id === kept.schedule_id)
      save({ ...toSave, etag: now?.etag ?? '' })
    } catch (error) {
      toast.fault(faultOf(error))
    }
  }
  const reload = () => {
    setAsking(null)
    void cache.invalidateQueries({ queryKey: ['ScheduleService/ListSchedules'] }).then(() => {
      const now = cache.getQueryData<Schedule[]>(['ScheduleService/ListSchedules', { page_size: 1000 }])?.find((each) => each.schedule_id === kept.schedule_id)
      if (!now) return
      setBase(now)
      setDraft(now)
    })
  }
  const busy = create.isPending || update.isPending
  const whyNot = mayNotSave ?? wrong
  return (
    <Page
      title={isNew ? 'New schedule' : base.name}
      about={
        <span className="flex flex-wrap items-center gap-x-3">
          <Back />
          {!isNew && (
            <>
              <StateBadge schedule={kept} />
              <span>
                Changed by {kept.updated_by || 'nobody'}, made <Ago at={kept.created_at} />
              </span>
            </>
          )}
        </span>
      }
      actions={
        <>
          {!isNew && (
            <>
              <Button icon="trash" whyNot={mayNotDelete} onClick={() => setAsking('delete')}>
                Delete
              </Button>
              <Button icon="sun" whyNot={mayNotWake ?? (kept.enabled ? undefined : 'It is disabled: nothing of it sleeps.')} onClick={() => setAsking('wake')}>
                Wake now
              </Button>
              <Button whyNot={whyNot} onClick={() => ask({ ...draft, enabled: !base.enabled })}>
                {base.enabled ? 'Disable' : 'Enable'}
              </Button>
            </>
          )}
          <Button kind="primary" busy={busy} whyNot={whyNot ?? (dirty || isNew ? undefined : 'Nothing is changed.')} onClick={() => ask(draft)}>
            Save
          </Button>
        </>
      }
    >
      <FrozenSchedule schedule={kept} />
      {kept.held_because && <Notice>Held: {kept.held_because}</Notice>}
      {changedElsewhere && (
        <Notice>
          {kept.updated_by || 'Somebody'} changed this schedule while you edit it.{' '}
          <button type="button" className="underline" onClick={reload}>
            Reload and lose my changes
          </button>
        </Notice>
      )}
      {isNew ? (
        <Both draft={draft} setDraft={setDraft} faults={faults} preview={preview} />
      ) : (
        <Tabs
          label="Schedule"
          shown={tab === 'runs' ? 'runs' : 'calendar'}
          onShow={(next) => setFilter({ tab: next === 'runs' ? next : undefined })}
          tabs={[
            ['calendar', 'Calendar and scope'],
            ['runs', 'What it did'],
          ]}
        >
          {tab === 'runs' ? <Runs schedule={kept} /> : <Both draft={draft} setDraft={setDraft} faults={faults} preview={preview} />}
        </Tabs>
      )}
      <Confirm
        open={asking === 'save'}
        onClose={() => setAsking(null)}
        title={!toSave.enabled ? `Disable “${base.name}”?` : base.enabled ? `Save “${toSave.name}”?` : `Enable “${toSave.name}”?`}
        act={!toSave.enabled ? 'Disable' : base.enabled ? 'Save' : 'Enable'}
        busy={busy}
        blastRadius={toSave.enabled ? <Blast preview={preview} /> : `What sleeps is left as it is: ${many(kept.workloads_asleep, 'workload')} now. Wake it first if it is needed.`}
        onAct={() => save(toSave)}
      >
        {toSave.enabled && !base.enabled && (
          <p className="text-sm text-ink-2">To enable a schedule is to approve what it does, each time. It acts only where the cluster’s mode is approve or automatic, and never where a stop holds.</p>
        )}
      </Confirm>
      <Confirm
        open={asking === 'delete'}
        onClose={() => setAsking(null)}
        title={`Delete “${base.name}”?`}
        act="Delete"
        danger
        busy={remove.isPending}
        blastRadius={kept.workloads_asleep > 0 ? `Wakes ${many(kept.workloads_asleep, 'sleeping workload')} first, and launches the nodes that they need.` : 'Nothing of it sleeps now. If something does by then, it is woken first.'}
        onAct={() => remove.mutate({ schedule_id: kept.schedule_id })}
      />
      {asking === 'wake' && <WakeDialog schedule={kept} onClose={() => setAsking(null)} />}
      <Conflict open={asking === 'conflict'} what={`“${base.name}”`} by={kept.updated_by} busy={update.isPending} onClose={() => setAsking(null)} onReload={reload} onOverwrite={() => void overwrite()} />
      <Leave dirty={dirty && !left} />
    </Page>
  )
}

function Both({ draft, setDraft, faults, preview }: { draft: Schedule; setDraft: (next: Schedule) => void; faults: ReturnType<typeof faultsOf>; preview: ReturnType<typeof usePreview> }) {
  return (
    <div className="grid items-start gap-4 min-[1400px]:grid-cols-[minmax(0,1fr)_23rem]">
      <Form draft={draft} onChange={setDraft} faults={faults} />
      <Preview preview={preview} wrong={Object.values(faults)[0]} />
    </div>
  )
}

function Blast({ preview }: { preview: ReturnType<typeof usePreview> }) {
  if (!preview.data) return <>What it touches is not known: {preview.error?.message ?? 'the preview is not ready yet'}.</>
  const sleeping = preview.data.workloads.filter((each) => each.verdict === 'sleep')
  const spaces = new Set(sleeping.map((each) => each.namespace)).size
  return (
    <>
      Puts {many(sleeping.length, 'workload')} of {many(spaces, 'namespace')} to sleep for {decimal(preview.data.hours_asleep_per_week)} h of the coming week: {decimal(preview.data.cpu_cores)} vCPU and{' '}
      {decimal(preview.data.memory_gb)} GiB.
    </>
  )
}

function FrozenSchedule({ schedule }: { schedule: Schedule }) {
  const until = frozen(schedule, useNow())
  if (!until || !schedule.enabled) return null
  return <FrozenUntil until={until}>Nothing of it is put to sleep or woken before, unless it is woken by hand.</FrozenUntil>
}

function Notice({ children }: { children: ReactNode }) {
  return (
    <p role="status" className="flex items-center gap-2.5 rounded-md bg-warn-soft px-3 py-2.5 text-sm text-warn">
      <Icon name="warning" />
      <span>{children}</span>
    </p>
  )
}
