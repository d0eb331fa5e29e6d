import { useNavigate } from '@tanstack/react-router'
import { useCallback, useMemo, useState } from 'react'
import { useWhyNot } from '@/api/me'
import { useAsk, usePages } from '@/api/query'
import type { Schedule } from '@/api/schema'
import { many } from '@/format/money'
import { atUTC } from '@/format/time'
import { capital, word } from '@/format/words'
import { useNow } from '@/live/Live'
import { useFilters, useScope } from '@/shell/filters'
import { Badge, type Tone } from '@/ui/Badge'
import { Button } from '@/ui/Button'
import { Card } from '@/ui/Card'
import { DataTable, type Column } from '@/ui/DataTable'
import { Empty } from '@/ui/Empty'
import { Page } from '@/ui/Page'
import { Ago, Time } from '@/ui/Time'
import { Tip } from '@/ui/Tip'
import { spansText } from '@/week/week'
import { frozen } from './draft'
import { Editor } from './Editor'
import { WakeDialog } from './Wake'

/** When workloads sleep: all schedules, or one to look at and change. */
export function Schedules() {
  const [{ id }] = useFilters<'id'>()
  return id ? <Editor key={id} id={id} /> : <List />
}

const tones: Record<string, Tone> = { awake: 'ok', waking: 'info', falling_asleep: 'info', asleep: 'accent', held: 'warn', disabled: 'plain' }

/** A schedule's state, and why it is held. */
export function StateBadge({ schedule }: { schedule: Schedule }) {
  const badge = <Badge tone={tones[schedule.state] ?? 'plain'}>{word(schedule.state)}</Badge>
  if (!schedule.held_because) return badge
  return (
    <Tip text={schedule.held_because}>
      {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- the reason must be reachable by keyboard */}
      <span tabIndex={0}>{badge}</span>
    </Tip>
  )
}

interface Deps {
  nameOf: (cluster: string) => string
  open: (id: string) => void
  wake: (schedule: Schedule) => void
  mayNotWake?: string
}

function columnsOf({ nameOf, open, wake, mayNotWake }: Deps): Column<Schedule>[] {
  return [
    {
      id: 'name',
      header: 'Schedule',
      value: (row) => row.name,
      cell: (row) => (
        <>
          <button type="button" className="tap max-w-full truncate text-left font-medium text-accent hover:underline" onClick={() => open(row.schedule_id)}>
            {row.name}
          </button>
          <p className="max-w-80 truncate text-xs text-ink-3" title={spansText(row.calendar?.open ?? [])}>
            Awake {spansText(row.calendar?.open ?? []).replace(/^Every/, 'every')}
          </p>
        </>
      ),
    },
    { id: 'cluster', header: 'Cluster', value: (row) => nameOf(row.cluster_id), cell: (row) => nameOf(row.cluster_id), width: '12rem' },
    { id: 'state', header: 'State', value: (row) => row.state, cell: (row) => <StateBadge schedule={row} />, width: '9rem' },
    {
      id: 'next',
      header: 'Next',
      value: (row) => row.next[0]?.at ?? undefined,
      cell: (row) => <Next schedule={row} />,
      width: '17rem',
    },
    { id: 'asleep', header: 'Asleep now', align: 'right', value: (row) => row.workloads_asleep, cell: (row) => (row.workloads_asleep > 0 ? many(row.workloads_asleep, 'workload') : '–'), width: '9rem' },
    {
      id: 'act',
      header: '',
      align: 'right',
      width: '9rem',
      cell: (row) => (
        <Button small icon="sun" whyNot={mayNotWake ?? (row.enabled ? undefined : 'It is disabled: nothing of it sleeps.')} onClick={() => wake(row)} aria-label={`Wake ${row.name}`}>
          Wake now
        </Button>
      ),
    },
  ]
}

function List() {
  const { cluster } = useScope()
  const navigate = useNavigate()
  const schedules = usePages('ScheduleService/ListSchedules', { cluster_id: cluster, page_size: 200 })
  const clusters = useAsk('AdminService/ListClusters', {})
  const [sort, setSort] = useState('')
  const [waking, setWaking] = useState<Schedule>()
  const mayNotCreate = useWhyNot('ScheduleService/CreateSchedule')
  const mayNotWake = useWhyNot('ScheduleService/WakeSchedule')
  const names = useMemo(() => new Map(clusters.data?.map((each) => [each.cluster_id, each.cluster_name])), [clusters.data])
  const open = useCallback((id: string) => void navigate({ to: '/schedules', search: { id } }), [navigate])

  const columns = useMemo(() => columnsOf({ nameOf: (id) => names.get(id) ?? id.slice(0, 8), open, wake: setWaking, mayNotWake }), [names, open, mayNotWake])
  const create = (
    <Button kind="primary" icon="plus" whyNot={mayNotCreate ?? (schedules.error?.unbuilt ? 'This server has no schedules yet.' : undefined)} onClick={() => open('new')}>
      New schedule
    </Button>
  )
  return (
    <Page title="Schedules" about="Workloads that nobody needs at night sleep, and are awake when people are." actions={create}>
      <Card flush>
        <DataTable
          label="Schedules"
          columns={columns}
          rows={schedules.items}
          rowId={(row) => row.schedule_id}
          sort={sort}
          onSort={setSort}
          onOpen={(row) => open(row.schedule_id)}
          loading={schedules.isPending}
          fault={schedules.error}
          retry={() => void schedules.refetch()}
          more={{ has: schedules.hasNextPage, loading: schedules.isFetchingNextPage, load: () => void schedules.fetchNextPage() }}
          height="calc(100vh - 12rem)"
          empty={
            <Empty icon="schedules" title="No schedules yet" action={create}>
              Development and test clusters are idle for two thirds of the week. A schedule scales them down by the clock; the preview shows what would sleep before anything does.
            </Empty>
          }
        />
      </Card>
      {waking && <WakeDialog schedule={waking} onClose={() => setWaking(undefined)} />}
    </Page>
  )
}

function Next({ schedule }: { schedule: Schedule }) {
  const next = schedule.next[0]
  const until = frozen(schedule, useNow())
  if (schedule.enabled && until)
    return (
      <div>
        <p>
          Frozen until <Time at={until.toISOString()} />
        </p>
        <p className="text-xs text-ink-3">{atUTC(until)}</p>
      </div>
    )
  if (!schedule.enabled || !next) return <span className="text-ink-3">–</span>
  return (
    <div>
      <p>
        {next.action === 'sleep' ? 'Sleeps' : 'Wakes'} <Ago at={next.at} /> <span className="text-ink-3">(<Time at={next.at} />)</span>
      </p>
      <p className="text-xs text-ink-3">{capital(next.local_time)}</p>
    </div>
  )
}
