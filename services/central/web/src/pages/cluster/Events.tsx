import { useMemo } from 'react'
import { usePages } from '@/api/query'
import type { Event } from '@/api/schema'
import { count } from '@/format/money'
import { useFilters } from '@/shell/filters'
import { Badge } from '@/ui/Badge'
import { Card } from '@/ui/Card'
import { DataTable, type Column } from '@/ui/DataTable'
import { Empty } from '@/ui/Empty'
import { Choice, Search } from '@/ui/Field'
import { Ago } from '@/ui/Time'
import { useTyped } from '@/ui/useTyped'

const columns: Column<Event>[] = [
  { id: 'last_seen', header: 'Last seen', width: '7rem', cell: (row) => <Ago at={row.last_seen} /> },
  { id: 'type', header: 'Type', width: '6rem', cell: (row) => <Badge tone={row.type === 'Warning' ? 'warn' : 'plain'}>{row.type}</Badge> },
  { id: 'reason', header: 'Reason', cell: (row) => row.reason },
  {
    id: 'object',
    header: 'Object',
    cell: (row) => (
      <span className="whitespace-nowrap">
        {row.object_kind}{' '}
        <span className="font-mono text-xs">
          {row.object_namespace && `${row.object_namespace}/`}
          {row.object_name}
        </span>
      </span>
    ),
  },
  { id: 'message', header: 'Message', cell: (row) => <span title={row.message} className="block max-w-[26rem] truncate text-sm text-ink-2 2xl:max-w-[40rem]">{row.message}</span> },
  { id: 'count', header: 'Times', align: 'right', width: '5rem', cell: (row) => count(row.count) },
]

/** Kubernetes' own events, as the agent passed them on. */
export function Events({ clusterId }: { clusterId: string }) {
  const [filters, set] = useFilters<'type' | 'object'>()
  const [typed, setTyped] = useTyped(filters.object ?? '', (object) => set({ object }))
  const args = useMemo(() => ({ cluster_id: clusterId, type: filters.type, object_name: filters.object, page_size: 200 }), [clusterId, filters.type, filters.object])
  const list = usePages('InventoryService/ListEvents', args, { every: 20_000 })
  return (
    <Card flush>
      <div className="flex flex-wrap gap-2 px-4 py-3">
        <Search label="Object’s whole name" value={typed} onChange={setTyped} />
        <Choice
          label="Type"
          value={filters.type ?? ''}
          onChange={(type) => set({ type: type || undefined })}
          options={[
            ['', 'All types'],
            ['Warning', 'Warnings'],
            ['Normal', 'Normal'],
          ]}
        />
      </div>
      <DataTable
        label="Events"
        columns={columns}
        rows={list.items}
        rowId={(row) => row.event_id}
        loading={list.isPending}
        fault={list.error}
        retry={() => void list.refetch()}
        more={{ has: list.hasNextPage, loading: list.isFetchingNextPage, load: list.fetchNextPage }}
        height="calc(100vh - 18rem)"
        empty={<Empty icon="activity" title="No events">Kubernetes keeps events for an hour; the agent passes on those that matter.</Empty>}
      />
    </Card>
  )
}
