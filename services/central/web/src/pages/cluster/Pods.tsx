import { useMemo } from 'react'
import { usePages } from '@/api/query'
import type { Pod } from '@/api/schema'
import { bytes, count, decimal } from '@/format/money'
import { useFilters } from '@/shell/filters'
import { Badge } from '@/ui/Badge'
import { Button } from '@/ui/Button'
import { Card } from '@/ui/Card'
import { DataTable, type Column } from '@/ui/DataTable'
import { Empty } from '@/ui/Empty'
import { Input, Search } from '@/ui/Field'
import { Ago } from '@/ui/Time'
import { useTyped } from '@/ui/useTyped'

const columns: Column<Pod>[] = [
  { id: 'namespace', header: 'Namespace', cell: (row) => row.namespace },
  {
    id: 'name',
    header: 'Pod',
    cell: (row) => (
      <span className="flex items-center gap-2">
        <span className="max-w-72 truncate font-mono text-xs" title={row.name}>
          {row.name}
        </span>
        {row.do_not_disrupt && <Badge>Do not disrupt</Badge>}
        {row.local_storage && <Badge>Local storage</Badge>}
      </span>
    ),
  },
  { id: 'owner', header: 'Workload', cell: (row) => (row.owner ? `${row.owner.kind} ${row.owner.name}` : <Badge tone="warn">None: it would not come back</Badge>) },
  {
    id: 'phase',
    header: 'State',
    cell: (row) => (row.terminating ? <Badge tone="info">Ending</Badge> : row.phase === 'Running' ? <Badge tone={row.ready ? 'ok' : 'warn'}>{row.ready ? 'Ready' : 'Not ready'}</Badge> : <Badge tone="warn">{row.phase}</Badge>),
  },
  { id: 'node', header: 'Node', cell: (row) => (row.node_name ? <span className="block max-w-56 truncate font-mono text-xs" title={row.node_name}>{row.node_name}</span> : <span className="text-ink-3">none yet</span>) },
  { id: 'cpu', header: 'CPU', align: 'right', hint: 'vCPU that it asks for.', cell: (row) => decimal(Number(row.requests?.cpu_millicores ?? 0) / 1000, 2) },
  { id: 'memory', header: 'Memory', align: 'right', hint: 'What it asks for.', cell: (row) => bytes(Number(row.requests?.memory_bytes ?? 0)) },
  { id: 'age', header: 'Age', align: 'right', cell: (row) => <Ago at={row.created_at} none="–" /> },
]

/** Pods, by namespace and name. */
export function Pods({ clusterId, stale }: { clusterId: string; stale: boolean }) {
  const [filters, set] = useFilters<'q' | 'namespace' | 'node'>()
  const [typed, setTyped] = useTyped(filters.q ?? '', (q) => set({ q }))
  const [space, setSpace] = useTyped(filters.namespace ?? '', (namespace) => set({ namespace }))
  const args = useMemo(() => ({ cluster_id: clusterId, search: filters.q, namespace: filters.namespace, node_name: filters.node, page_size: 500 }), [clusterId, filters.q, filters.namespace, filters.node])
  const list = usePages('InventoryService/ListPods', args)
  const clear = () => {
    setTyped('')
    setSpace('')
    set({ q: undefined, namespace: undefined, node: undefined })
  }
  return (
    <Card flush>
      <div className="flex flex-wrap items-center gap-2 px-4 py-3">
        <Search label="Search by name" value={typed} onChange={setTyped} />
        <Input aria-label="Namespace" placeholder="Namespace" className="w-44!" value={space} onChange={(event) => setSpace(event.target.value)} />
        {filters.node && (
          <Button small icon="close" onClick={() => set({ node: undefined })}>
            On {filters.node}
          </Button>
        )}
        <span className="ml-auto text-sm text-ink-3" role="status">
          {list.isPending ? '' : `${count(list.items.length)}${list.hasNextPage ? '+' : ''} pods`}
        </span>
      </div>
      <DataTable
        label="Pods"
        columns={columns}
        rows={list.items}
        rowId={(row) => row.uid}
        loading={list.isPending}
        fault={list.error}
        retry={() => void list.refetch()}
        more={{ has: list.hasNextPage, loading: list.isFetchingNextPage, load: list.fetchNextPage }}
        height="calc(100vh - 18rem)"
        stale={stale}
        empty={
          filters.q || filters.namespace || filters.node ? (
            <Empty icon="search" title="No pod is like that" action={<Button onClick={clear}>Show all</Button>} />
          ) : (
            <Empty icon="node" title="No pods are known">
              They appear with the agent’s first report.
            </Empty>
          )
        }
      />
    </Card>
  )
}
