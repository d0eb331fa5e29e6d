import { useEffect, useState } from 'react'
import { useAsk } from '@/api/query'
import type { Schedule, ScheduleTransition, WorkloadVerdict } from '@/api/schema'
import { count, decimal } from '@/format/money'
import { capital, word } from '@/format/words'
import { Badge } from '@/ui/Badge'
import { Card, Stat } from '@/ui/Card'
import { DataTable, type Column } from '@/ui/DataTable'
import { Empty, FaultView, Skeleton } from '@/ui/Empty'
import { Icon } from '@/ui/Icon'
import { Time } from '@/ui/Time'
import { saved } from './draft'

/** What a draft would do, asked once the hands rest. */
export function usePreview(draft: Schedule, ready: boolean) {
  const text = JSON.stringify({ ...saved(draft), schedule_id: draft.schedule_id || undefined })
  const [asked, setAsked] = useState(text)
  useEffect(() => {
    const timer = setTimeout(() => setAsked(text), 500)
    return () => clearTimeout(timer)
  }, [text])
  const preview = useAsk('ScheduleService/PreviewSchedule', JSON.parse(asked) as Partial<Schedule>, { enabled: ready && asked === text })
  return { ...preview, data: asked === text ? preview.data : undefined }
}

/** What it would do if it were saved like this. */
export function Preview({ preview, wrong }: { preview: ReturnType<typeof usePreview>; wrong?: string }) {
  const [sort, setSort] = useState('')
  if (wrong)
    return (
      <Card title="Preview">
        <Empty compact icon="schedules" title="Not yet">
          {wrong}
        </Empty>
      </Card>
    )
  if (preview.error)
    return (
      <Card title="Preview">
        <FaultView compact fault={preview.error} retry={() => void preview.refetch()} />
      </Card>
    )
  const { data } = preview
  if (!data)
    return (
      <Card title="Preview" note="Nothing is changed by it.">
        <Skeleton lines={7} />
      </Card>
    )
  const sleeping = data.workloads.filter((each) => each.verdict === 'sleep').length
  return (
    <div className="flex flex-col gap-4" aria-live="polite">
      <Card title="Preview" note="What it would do. Nothing is changed by it.">
        <dl className="grid grid-cols-2 gap-x-4 gap-y-3">
          <Stat label="Asleep" value={`${decimal(data.hours_asleep_per_week)} h`} note="of the coming 168" />
          <Stat label="Workloads that sleep" value={count(sleeping)} note={`of ${count(data.workloads.length)} in scope`} />
          <Stat label="CPU given back" value={`${decimal(data.cpu_cores)}`} note="vCPU requested" />
          <Stat label="Memory given back" value={`${decimal(data.memory_gb)}`} note="GiB requested" />
        </dl>
        {data.warnings.length > 0 && (
          <ul className="mt-4 flex flex-col gap-1.5 rounded-md bg-warn-soft px-3 py-2.5 text-sm text-warn">
            {data.warnings.map((each) => (
              <li key={each} className="flex items-start gap-2">
                <Icon name="warning" size={14} className="mt-0.5" />
                {capital(each)}
              </li>
            ))}
          </ul>
        )}
        <h3 className="mt-4 mb-1.5 text-sm font-medium">What comes next</h3>
        <Transitions next={data.next} />
      </Card>
      <Card title="Workloads" flush>
        <DataTable
          label="Workloads in scope and what becomes of them"
          columns={columns}
          rows={data.workloads}
          rowId={(row) => `${row.namespace}/${row.kind}/${row.name}`}
          sort={sort}
          onSort={setSort}
          height="24rem"
          empty={
            <Empty compact icon="schedules" title="Nothing is in scope">
              The cluster has no workload that this selects.
            </Empty>
          }
        />
      </Card>
    </div>
  )
}

/** Changes to come, in the calendar's zone and the viewer's. */
export function Transitions({ next }: { next: ScheduleTransition[] }) {
  if (next.length === 0) return <p className="text-sm text-ink-3">Nothing changes by itself.</p>
  return (
    <ol className="flex flex-col">
      {next.map((each) => (
        <li key={`${each.at}${each.action}`} className="flex items-baseline gap-3 border-t border-line/70 py-1.5 text-sm first:border-0">
          <span className="inline-flex w-16 items-center gap-1.5 font-medium">
            <Icon name={each.action === 'sleep' ? 'moon' : 'sun'} size={13} className={each.action === 'sleep' ? 'text-info' : 'text-warn'} />
            {each.action === 'sleep' ? 'Sleep' : 'Wake'}
          </span>
          <span className="min-w-0 flex-1">
            {capital(each.local_time)}
            <span className="block text-xs text-ink-3">
              <Time at={each.at} /> for you{each.reason !== 'calendar' && `, by ${word(each.reason).toLowerCase()}`}
            </span>
          </span>
        </li>
      ))}
    </ol>
  )
}

const columns: Column<WorkloadVerdict>[] = [
  {
    id: 'name',
    header: 'Workload',
    value: (row) => `${row.namespace}/${row.name}`,
    cell: (row) => (
      <div className="min-w-0">
        <p className="truncate font-medium" title={row.name}>
          {row.name}
        </p>
        <p className="truncate text-xs text-ink-3">
          {row.namespace}, {row.kind}
        </p>
      </div>
    ),
  },
  {
    id: 'verdict',
    header: 'Becomes',
    value: (row) => row.verdict,
    cell: (row) => (
      <span title={row.detail}>
        <Badge tone={row.verdict === 'sleep' ? 'accent' : 'plain'}>{row.verdict === 'sleep' ? 'Sleeps' : 'Stays awake'}</Badge>
        <span className="block text-xs text-ink-3">{word(row.reason)}</span>
      </span>
    ),
  },
]
