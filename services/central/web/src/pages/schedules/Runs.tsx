import { usePages } from '@/api/query'
import type { Schedule, ScheduleRun } from '@/api/schema'
import { count } from '@/format/money'
import { moment, span } from '@/format/time'
import { word } from '@/format/words'
import { Badge } from '@/ui/Badge'
import { Card } from '@/ui/Card'
import { DataTable, type Column } from '@/ui/DataTable'
import { Empty } from '@/ui/Empty'
import { Time } from '@/ui/Time'

const seconds = (run: ScheduleRun) => {
  const [from, to] = [moment(run.started_at), moment(run.finished_at)]
  return from && to ? (to.getTime() - from.getTime()) / 1000 : undefined
}

const columns: Column<ScheduleRun>[] = [
  { id: 'at', header: 'Began', cell: (row) => <Time at={row.started_at} />, width: '11rem' },
  { id: 'action', header: 'What', cell: (row) => (row.action === 'sleep' ? 'Put to sleep' : 'Woken'), width: '9rem' },
  { id: 'reason', header: 'Because of', cell: (row) => word(row.reason), width: '9rem' },
  { id: 'status', header: 'State', cell: (row) => <Badge tone={row.status === 'completed' ? 'ok' : row.status === 'failed' ? 'bad' : 'info'}>{word(row.status)}</Badge>, width: '8rem' },
  { id: 'workloads', header: 'Workloads', align: 'right', cell: (row) => count(row.workloads), width: '7rem' },
  { id: 'took', header: 'Took', align: 'right', cell: (row) => span(seconds(row)), width: '7rem' },
  {
    id: 'problems',
    header: 'Problems',
    cell: (row) =>
      row.problems.length > 0 ? (
        <span className="line-clamp-2 min-w-64 text-sm whitespace-normal text-bad" title={row.problems.join('\n')}>
          {row.problems.join('; ')}
        </span>
      ) : (
        <span className="text-ink-3">None</span>
      ),
  },
]

/** Sleeps and wakes that were carried out. */
export function Runs({ schedule }: { schedule: Schedule }) {
  const runs = usePages('ScheduleService/ListScheduleRuns', { schedule_id: schedule.schedule_id })
  return (
    <Card flush>
      <DataTable
        label="Runs"
        columns={columns}
        rows={runs.items}
        rowId={(row) => row.run_id}
        loading={runs.isPending}
        fault={runs.error}
        retry={() => void runs.refetch()}
        more={{ has: runs.hasNextPage, loading: runs.isFetchingNextPage, load: () => void runs.fetchNextPage() }}
        empty={
          <Empty icon="schedules" title="It has not acted yet">
            {schedule.enabled ? 'Its first sleep is listed here.' : 'It is disabled. Enable it and its sleeps and wakes are listed here.'}
          </Empty>
        }
      />
    </Card>
  )
}
