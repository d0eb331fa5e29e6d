import { Link, useNavigate } from '@tanstack/react-router'
import { useMemo } from 'react'
import { useWhyNot } from '@/api/me'
import { usePages } from '@/api/query'
import type { Cluster } from '@/api/schema'
import { count, money, percent } from '@/format/money'
import { useFilters, useScope } from '@/shell/filters'
import { Button, buttonClass } from '@/ui/Button'
import { Card } from '@/ui/Card'
import { DataTable, type Column } from '@/ui/DataTable'
import { Empty } from '@/ui/Empty'
import { Choice, Search } from '@/ui/Field'
import { Icon } from '@/ui/Icon'
import { Page } from '@/ui/Page'
import { ClusterState, ModeBadge } from '@/ui/States'
import { useTyped } from '@/ui/useTyped'
import { Ago } from '@/ui/Time'

const columns: Column<Cluster>[] = [
  {
    id: 'cluster_name',
    header: 'Cluster',
    sortable: true,
    cell: (row) => (
      <Link to="/clusters/$clusterId" params={{ clusterId: row.cluster_id }} className="tap font-medium hover:underline">
        {row.cluster_name}
      </Link>
    ),
  },
  { id: 'state', header: 'State', cell: (row) => <ClusterState cluster={row} /> },
  { id: 'mode', header: 'Mode', cell: (row) => <ModeBadge mode={row.mode} />, hint: 'How far CloudOptim may go there.' },
  { id: 'region', header: 'Region', cell: (row) => row.region },
  { id: 'k8s_version', header: 'Version', cell: (row) => row.k8s_version || '–' },
  { id: 'node_count', header: 'Nodes', sortable: true, align: 'right', cell: (row) => count(row.node_count) },
  { id: 'pods', header: 'Pods', align: 'right', cell: (row) => count(row.pod_count) },
  { id: 'current_cost_per_hour', header: 'Cost', sortable: true, align: 'right', cell: (row) => (row.node_count > 0 ? `${money(row.current_cost_per_hour)}/h` : '–') },
  {
    id: 'saved',
    header: 'Saved',
    align: 'right',
    hint: 'What it costs less now than it would without CloudOptim.',
    cell: (row) => {
      const saved = row.baseline_cost_per_hour - row.current_cost_per_hour
      if (row.baseline_cost_per_hour <= 0 || Math.abs(saved) < 0.0001) return <span className="text-ink-3">–</span>
      return <span className={saved > 0 ? 'font-medium text-ok' : 'font-medium text-bad'}>{percent(saved / row.baseline_cost_per_hour)}</span>
    },
  },
  { id: 'last_seen_at', header: 'Last seen', sortable: true, align: 'right', cell: (row) => <Ago at={row.last_seen_at} /> },
]

/** All clusters, and the way to connect one more. */
export function Clusters() {
  const [filters, set] = useFilters<'q' | 'status' | 'sort'>()
  const { customer } = useScope()
  const navigate = useNavigate()
  const mayNotConnect = useWhyNot('AdminService/CreateCluster')
  const [typed, setTyped] = useTyped(filters.q ?? '', (q) => set({ q }))
  const args = useMemo(
    () => ({ customer_id: customer, search: filters.q, status: filters.status, order_by: filters.sort, page_size: 200 }),
    [customer, filters.q, filters.status, filters.sort],
  )
  const list = usePages('AdminService/ListClusters', args)
  const filtered = Boolean(filters.q || filters.status)
  const connect = mayNotConnect ? (
    <Button kind="primary" icon="plus" whyNot={mayNotConnect}>
      Connect a cluster
    </Button>
  ) : (
    <Link to="/clusters/connect" className={buttonClass('primary')}>
      <Icon name="plus" size={15} /> Connect a cluster
    </Link>
  )
  return (
    <Page title="Clusters" actions={connect}>
      <Card flush>
        <div className="flex flex-wrap gap-2 px-4 py-3">
          <Search label="Search by name" value={typed} onChange={setTyped} />
          <Choice
            label="Status"
            value={filters.status ?? ''}
            onChange={(status) => set({ status: status || undefined })}
            options={[
              ['', 'All that are connected'],
              ['active', 'Active'],
              ['offline', 'Agent offline'],
              ['pending', 'Waiting for their agent'],
              ['disconnected', 'Disconnected'],
            ]}
          />
        </div>
        <DataTable
          label="Clusters"
          columns={columns}
          rows={list.items}
          rowId={(row) => row.cluster_id}
          sortedByServer
          sort={filters.sort}
          onSort={(sort) => set({ sort: sort || undefined })}
          onOpen={(row) => void navigate({ to: row.status === 'pending' ? '/clusters/connect' : '/clusters/$clusterId', params: { clusterId: row.cluster_id }, search: row.status === 'pending' ? { id: row.cluster_id } : {} })}
          loading={list.isPending}
          fault={list.error}
          retry={() => void list.refetch()}
          more={{ has: list.hasNextPage, loading: list.isFetchingNextPage, load: list.fetchNextPage }}
          height="calc(100vh - 14rem)"
          empty={
            filtered ? (
              <Empty icon="search" title="No cluster is like that" action={<Button onClick={() => (setTyped(''), set({ q: undefined, status: undefined }))}>Show all</Button>} />
            ) : (
              <Empty icon="clusters" title="No cluster is connected" action={connect}>
                A new cluster begins read-only: CloudOptim looks, tells what could be saved, and changes nothing.
              </Empty>
            )
          }
        />
      </Card>
    </Page>
  )
}
