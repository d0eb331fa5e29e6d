import { useNavigate } from '@tanstack/react-router'
import { useMemo } from 'react'
import { usePages } from '@/api/query'
import type { DecisionSavings } from '@/api/schema'
import { amount, percent, perMonth, shortMoney } from '@/format/money'
import { word } from '@/format/words'
import { useFilters, useScope } from '@/shell/filters'
import { Badge } from '@/ui/Badge'
import { Card } from '@/ui/Card'
import { Chart, frame, type Draw } from '@/ui/Chart'
import { DataTable, type Column } from '@/ui/DataTable'
import { Empty } from '@/ui/Empty'
import { Time } from '@/ui/Time'
import { metered } from './metered'

function Miss({ error, promised }: { error: number; promised: number }) {
  if (promised <= 0) return <span className="text-ink-3">–</span>
  return <span className={error < -0.2 ? 'text-bad' : error < -0.05 ? 'text-warn' : 'text-ok'}>{error > 0 ? `+${percent(error)}` : percent(error)}</span>
}

const columns: Column<DecisionSavings>[] = [
  {
    id: 'plan',
    header: 'Plan',
    value: (row) => row.cluster_name,
    cell: (row) => (
      <span>
        <span className="font-medium">{word(row.optimization_type)}</span> <span className="text-ink-3">in {row.cluster_name}</span>
      </span>
    ),
  },
  { id: 'completed_at', header: 'Completed', value: (row) => row.completed_at ?? undefined, cell: (row) => <Time at={row.completed_at} /> },
  { id: 'active', header: 'Now', value: (row) => (row.active ? 1 : 0), cell: (row) => <Badge tone={row.active ? 'ok' : 'plain'}>{row.active ? 'Still saves' : 'Has ended'}</Badge> },
  { id: 'estimated', header: 'Promised', align: 'right', value: (row) => row.estimated_savings, cell: (row) => perMonth(row.estimated_savings) },
  { id: 'actual', header: 'Right after', align: 'right', hint: 'By the prices of the nodes right after it ended.', value: (row) => row.actual_savings, cell: (row) => perMonth(row.actual_savings) },
  { id: 'promised', header: 'Promised so far', align: 'right', hint: 'What it would have saved by now if it had kept its promise.', value: (row) => row.promised_so_far, cell: (row) => amount(row.promised_so_far) },
  { id: 'realised', header: 'Realised', align: 'right', hint: 'What it has saved by now, as metered.', value: (row) => row.realised, cell: (row) => <span className="font-medium">{amount(row.realised)}</span> },
  { id: 'error', header: 'Error', align: 'right', hint: '(realised − promised so far) ÷ promised so far', value: (row) => row.error, cell: (row) => <Miss error={row.error} promised={row.promised_so_far} /> },
]

function dots(rows: DecisionSavings[]): Draw {
  return (p) => {
    const most = Math.max(0.01, ...rows.map((row) => Math.max(row.promised_so_far, row.realised)))
    const axis = frame(p, { money: shortMoney })
    const value = { ...(axis.yAxis as object), type: 'value', min: 0, splitNumber: 3, nameLocation: 'middle', nameTextStyle: { color: p.faint } }
    return {
      ...axis,
      grid: { left: 36, right: 16, top: 16, bottom: 36, containLabel: true },
      tooltip: { ...(axis.tooltip as object), trigger: 'item', formatter: (item: { data: [number, number, string] }) => `${item.data[2]}<br/>promised ${amount(item.data[0])}, realised ${amount(item.data[1])}` },
      xAxis: { ...value, axisLabel: { ...(axis.yAxis as { axisLabel: object }).axisLabel, hideOverlap: true }, name: 'Promised so far', nameGap: 26 },
      yAxis: { ...value, name: 'Realised', nameGap: 48 },
      series: [
        {
          type: 'scatter',
          symbolSize: 9,
          itemStyle: { color: p.spot, opacity: 0.8 },
          data: rows.map((row) => [row.promised_so_far, row.realised, `${word(row.optimization_type)}`]),
        },
        { type: 'line', data: [[0, 0], [most, most]], symbol: 'none', silent: true, tooltip: { show: false }, lineStyle: { color: p.faint, type: 'dashed', width: 1 } },
      ],
    }
  }
}

/** Every decision's promise beside what came of it. */
export function Decisions() {
  const [filters, set] = useFilters<'sort'>()
  const { cluster } = useScope()
  const navigate = useNavigate()
  const { items: rows, ...list } = usePages('SavingsService/ListDecisionSavings', useMemo(() => ({ cluster_id: cluster, page_size: 200 }), [cluster]), { every: metered })
  const promised = rows.reduce((sum, row) => sum + row.promised_so_far, 0)
  const realised = rows.reduce((sum, row) => sum + row.realised, 0)
  const draw = useMemo(() => dots(rows), [rows])
  const twin = useMemo(
    () => ({ columns: ['Plan', 'Promised so far', 'Realised'], rows: rows.map((row) => [`${word(row.optimization_type)} in ${row.cluster_name}`, amount(row.promised_so_far), amount(row.realised)]) }),
    [rows],
  )
  return (
    <div className="flex flex-col gap-4">
      {rows.length > 0 && (
        <Card title="Promise and outcome" note={`Realised ${amount(realised)} of ${amount(promised)} promised so far${promised > 0 ? `, ${percent(realised / promised)}` : ''}. On the dashed line, a plan kept its promise.`}>
          <Chart label={`Promised against realised saving of ${rows.length} plans`} draw={draw} twin={twin} height={280} />
        </Card>
      )}
      <Card title="Plan by plan" flush>
        <DataTable
          label="Plans with promise and outcome"
          columns={columns}
          rows={rows}
          rowId={(row) => row.optimization_id + row.completed_at}
          sort={filters.sort}
          onSort={(sort) => set({ sort: sort || undefined })}
          onOpen={(row) => void navigate({ to: '/plans/$planId', params: { planId: row.optimization_id } })}
          loading={list.isPending}
          fault={list.error}
          retry={() => void list.refetch()}
          more={{ has: list.hasNextPage, loading: list.isFetchingNextPage, load: list.fetchNextPage }}
          empty={
            <Empty icon="savings" title="No plan has been carried out yet">
              Once one has, its promise stands here beside what came of it.
            </Empty>
          }
        />
      </Card>
    </div>
  )
}
