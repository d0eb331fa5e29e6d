import type { Schedule } from '@/api/schema'
import { moment, viewerZone } from '@/format/time'
import { spansFault } from '@/week/SpanRows'
import { isZone } from '@/week/zone'

/** A schedule as one begins: office hours of the viewer's zone, disabled. */
export function blank(cluster: string): Schedule {
  return {
    schedule_id: '',
    cluster_id: cluster,
    name: '',
    calendar: { time_zone: viewerZone(), open: [{ days: ['mon-fri'], from: '08:00', to: '18:00' }], holidays: [], exceptions: [] },
    scope: { namespaces: [], workloads: [], node_labels: {} },
    wake_order: [],
    lead_minutes: 15,
    enabled: false,
    etag: '',
    state: '',
    held_because: '',
    next: [],
    workloads_asleep: 0,
    updated_by: '',
  }
}

const workload = /^[^/]+\/([^/]+\/)?[^/]+$/

/** What keeps a schedule from being saved or previewed, by field. */
export function faultsOf(schedule: Schedule): Partial<Record<'name' | 'cluster' | 'zone' | 'spans' | 'workloads' | 'stages' | 'exceptions', string>> {
  const faults: ReturnType<typeof faultsOf> = {}
  if (schedule.name.trim() === '') faults.name = 'Give it a name.'
  if (schedule.cluster_id === '') faults.cluster = 'Choose a cluster.'
  if (!isZone(schedule.calendar?.time_zone ?? '')) faults.zone = 'Choose a zone.'
  const open = schedule.calendar?.open ?? []
  faults.spans = open.length === 0 ? 'Paint when it is awake. What is never needed is better deleted than put to sleep.' : spansFault(open, 64)
  const wrong = (names: string[]) => names.find((each) => !workload.test(each))
  const odd = wrong(schedule.scope?.workloads ?? [])
  if (odd) faults.workloads = `“${odd}” must be namespace/name or namespace/kind/name.`
  for (const stage of schedule.wake_order) {
    const bad = wrong(stage.workloads)
    if (stage.workloads.length === 0) faults.stages = 'A stage needs a workload.'
    else if (bad) faults.stages = `“${bad}” must be namespace/name or namespace/kind/name.`
  }
  if (schedule.calendar?.exceptions.some(({ first_date, last_date }) => first_date === '' || (last_date !== '' && last_date < first_date))) faults.exceptions = 'Dates must be in order.'
  for (const field of Object.keys(faults) as (keyof typeof faults)[]) if (!faults[field]) delete faults[field]
  return faults
}

/** Until when nothing is put to sleep or woken; undefined: it follows its calendar. */
export function frozen(schedule: Pick<Schedule, 'calendar'>, now: number): Date | undefined {
  const until = moment(schedule.calendar?.freeze_until)
  return until && until.getTime() > now ? until : undefined
}

/** The part of a schedule that is saved. */
export function saved({ name, cluster_id, calendar, scope, wake_order, lead_minutes, enabled, etag }: Schedule) {
  return {
    name: name.trim(),
    cluster_id,
    calendar: calendar ? { ...calendar, wake_until: undefined, freeze_until: calendar.freeze_until || undefined } : undefined,
    scope: scope ?? undefined,
    wake_order,
    lead_minutes,
    enabled,
    etag,
  }
}

/** Whether two would be saved alike. */
export function alike(a: Schedule, b: Schedule): boolean {
  const text = (each: Schedule) => JSON.stringify({ ...saved(each), etag: '' })
  return text(a) === text(b)
}
