import { useMemo } from 'react'
import { useAsk, usePages } from '@/api/query'
import type { Node } from '@/api/schema'
import { count, decimal, money, percent } from '@/format/money'
import { sentence } from '@/format/words'
import { useFilters } from '@/shell/filters'
import { Badge, type Tone } from '@/ui/Badge'
import { Share } from '@/ui/Bars'
import { Button } from '@/ui/Button'
import { Card } from '@/ui/Card'
import { DataTable, type Column } from '@/ui/DataTable'
import { Empty } from '@/ui/Empty'
import { Choice, Search } from '@/ui/Field'
import { Bought } from '@/ui/States'
import { Ago } from '@/ui/Time'
import { useTyped } from '@/ui/useTyped'

const whole = (ratio?: number | null) => percent(ratio === undefined || ratio === null ? ratio : Math.round(ratio * 100) / 100)

const tones: Record<string, Tone> = { active: 'ok', not_ready: 'bad', cordoned: 'warn', draining: 'info', interrupted: 'bad', joining: 'info' }

function Risk({ risk }: { risk?: number | null }) {
  if (risk === undefined || risk === null) return <span className="text-ink-3">–</span>
  return <span className={risk >= 0.25 ? 'font-medium text-bad' : risk >= 0.1 ? 'text-warn' : ''}>{percent(risk)}</span>
}

const columns: Column<Node>[] = [
  {
    id: 'node_name',
    header: 'Node',
    sortable: true,
    cell: (row) => (
      <span className="flex items-center gap-2">
        <span className="max-w-44 truncate font-mono text-xs" title={`${row.node?.node_name}\n${row.node?.instance_id}`}>
          {row.node?.node_name.split('.')[0]}
        </span>
        {row.node?.do_not_disrupt && (
          <span title="An annotation on the node forbids disruption.">
            <Badge>Protected</Badge>
          </span>
        )}
      </span>
    ),
  },
  {
    id: 'state',
    header: 'State',
    cell: (row) => <Badge tone={tones[row.state] ?? 'plain'}>{sentence(row.state)}</Badge>,
  },
  { id: 'instance_type', header: 'Type', sortable: true, cell: (row) => <span className="whitespace-nowrap">{row.node?.instance_type || '–'}</span> },
  { id: 'node_type', header: 'Bought', cell: (row) => <Bought as={row.node?.node_type ?? ''} /> },
  { id: 'zone', header: 'Zone', cell: (row) => row.node?.availability_zone },
  { id: 'created_at', header: 'Age', sortable: true, cell: (row) => <Ago at={row.node?.created_at} none="–" /> },
  { id: 'hourly_price', header: 'Price', sortable: true, align: 'right', cell: (row) => (row.node && row.node.hourly_price > 0 ? `${money(row.node.hourly_price)}/h` : <span className="text-ink-3">not known</span>) },
  {
    id: 'requested',
    header: 'Requested',
    sortable: true,
    hint: 'What its pods ask for as a share of what it has: the larger of CPU and memory.',
    cell: (row) => (
      <span title={`CPU ${decimal(row.node?.cpu_allocated)} of ${decimal(row.node?.cpu_allocatable)}, memory ${decimal(row.node?.memory_allocated_gb)} of ${decimal(row.node?.memory_allocatable_gb)} GiB`}>
        <Share ratio={row.requested_ratio} label="Requested" />
      </span>
    ),
  },
  { id: 'risk', header: 'Risk', sortable: true, align: 'right', hint: 'Probability that AWS takes it within the next day.', cell: (row) => <Risk risk={row.interruption_risk} /> },
  {
    id: 'used',
    header: 'Used',
    hint: 'CPU and memory in use as shares of what it has, as the cluster’s metrics API tells; a dash where it has not for three minutes.',
    cell: (row) =>
      row.cpu_used_ratio === undefined || row.cpu_used_ratio === null ? (
        <span className="text-ink-3">–</span>
      ) : (
        <span>
          {whole(row.cpu_used_ratio)} <span className="text-ink-3">/</span> {whole(row.memory_used_ratio)}
        </span>
      ),
  },
  { id: 'pods', header: 'Pods', align: 'right', cell: (row) => count(row.node?.pod_count) },
]

/** Why the column Used is empty. */
const unused: Record<string, string> = {
  '': 'Use is not known: the agent has not told yet.',
  no_metrics_api: 'Use is not known: nothing serves the metrics API in this cluster. Install metrics-server.',
  forbidden: 'Use is not known: the agent may not read metrics.k8s.io. Apply its newer rights.',
  unanswered: 'Use is not known: the cluster’s metrics API does not answer.',
}

/** Every node, with what it costs, how full it is, and the risk to lose it. */
export function Nodes({ clusterId, stale }: { clusterId: string; stale: boolean }) {
  const [filters, set] = useFilters<'q' | 'sort' | 'node_type' | 'zone' | 'node' | 'tab'>()
  const [typed, setTyped] = useTyped(filters.q ?? '', (q) => set({ q }))
  const args = useMemo(
    () => ({ cluster_id: clusterId, search: filters.q, order_by: filters.sort, node_type: filters.node_type, availability_zone: filters.zone, page_size: 500 }),
    [clusterId, filters.q, filters.sort, filters.node_type, filters.zone],
  )
  const list = usePages('InventoryService/ListNodes', args)
  const { data: record } = useAsk('InventoryService/GetCluster', { cluster_id: clusterId })
  const zones = useMemo(() => [...new Set([...list.items.map((row) => row.node?.availability_zone ?? ''), filters.zone ?? ''])].filter(Boolean).toSorted(), [list.items, filters.zone])
  const filtered = Boolean(filters.q || filters.node_type || filters.zone)
  return (
    <Card flush>
      <div className="flex flex-wrap items-center gap-2 px-4 py-3">
        <Search label="Name, type or instance" value={typed} onChange={setTyped} />
        <Choice
          label="Bought"
          value={filters.node_type ?? ''}
          onChange={(value) => set({ node_type: value || undefined })}
          options={[
            ['', 'Spot and on-demand'],
            ['spot', 'Spot'],
            ['on-demand', 'On-demand'],
          ]}
        />
        <Choice label="Zone" value={filters.zone ?? ''} onChange={(value) => set({ zone: value || undefined })} options={[['', 'All zones'], ...zones.map((zone): [string, string] => [zone, zone])]} />
        {record && unused[record.usage] && <span className="text-sm text-ink-3">{unused[record.usage]}</span>}
        <span className="ml-auto text-sm text-ink-3" role="status">
          {list.isPending ? '' : `${count(list.items.length)}${list.hasNextPage ? '+' : ''} nodes`}
        </span>
      </div>
      <DataTable
        label="Nodes"
        columns={columns}
        rows={list.items}
        rowId={(row) => row.node?.node_name ?? ''}
        sortedByServer
        sort={filters.sort}
        onSort={(sort) => set({ sort: sort || undefined })}
        onOpen={(row) => set({ tab: 'pods', node: row.node?.node_name, q: undefined, sort: undefined, node_type: undefined, zone: undefined })}
        loading={list.isPending}
        fault={list.error}
        retry={() => void list.refetch()}
        more={{ has: list.hasNextPage, loading: list.isFetchingNextPage, load: list.fetchNextPage }}
        height="calc(100vh - 18rem)"
        stale={stale}
        empty={
          filtered ? (
            <Empty icon="search" title="No node is like that" action={<Button onClick={() => (setTyped(''), set({ q: undefined, node_type: undefined, zone: undefined }))}>Show all</Button>} />
          ) : (
            <Empty icon="node" title="No nodes are known">
              They appear with the agent’s first report.
            </Empty>
          )
        }
      />
    </Card>
  )
}
