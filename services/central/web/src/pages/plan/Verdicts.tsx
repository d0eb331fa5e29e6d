import { useMemo } from 'react'
import { useAsk } from '@/api/query'
import type { NodeVerdict, Optimization } from '@/api/schema'
import { count, many } from '@/format/money'
import { useFilters } from '@/shell/filters'
import { Badge } from '@/ui/Badge'
import { Card } from '@/ui/Card'
import { DataTable, type Column } from '@/ui/DataTable'
import { Empty } from '@/ui/Empty'
import { Choice, Search } from '@/ui/Field'
import { useTyped } from '@/ui/useTyped'
import { reasonText } from './reasons'

const columns: Column<NodeVerdict>[] = [
  { id: 'node_name', header: 'Node', value: (row) => row.node_name, cell: (row) => <span className="font-mono text-xs">{row.node_name}</span> },
  { id: 'verdict', header: 'Verdict', value: (row) => row.verdict, cell: (row) => <Badge tone={row.verdict === 'keep' ? 'plain' : 'accent'}>{row.verdict === 'keep' ? 'Stays' : row.verdict === 'sleep' ? 'Sleeps' : 'Taken away'}</Badge> },
  { id: 'reason', header: 'Why', value: (row) => reasonText(row.reason), cell: (row) => reasonText(row.reason) },
  { id: 'detail', header: 'Because of', value: (row) => row.detail, cell: (row) => <span title={row.detail} className="block max-w-96 truncate text-ink-2">{row.detail || '–'}</span> },
  { id: 'pods_moved', header: 'Pods moved', align: 'right', value: (row) => row.pods_moved, cell: (row) => (row.pods_moved > 0 ? count(row.pods_moved) : '–') },
]

/** What becomes of every node, and why. */
export function Verdicts({ plan }: { plan: Optimization }) {
  const [filters, set] = useFilters<'verdict' | 'q' | 'sort'>()
  const [typed, setTyped] = useTyped(filters.q ?? '', (q) => set({ q }))
  const { data, error, isPending, refetch } = useAsk('AdminService/GetOptimizationDecision', { optimization_id: plan.optimization_id })
  const rows = useMemo(
    () =>
      (data?.node_verdicts ?? []).filter(
        (row) => (!filters.verdict || row.verdict === filters.verdict || row.reason === filters.verdict) && (!filters.q || row.node_name.includes(filters.q) || row.detail.includes(filters.q)),
      ),
    [data, filters.verdict, filters.q],
  )
  const kept = useMemo(() => {
    const tally = new Map<string, number>()
    for (const row of data?.node_verdicts ?? []) if (row.verdict === 'keep') tally.set(row.reason, (tally.get(row.reason) ?? 0) + 1)
    return [...tally].toSorted(([, a], [, b]) => b - a)
  }, [data])
  return (
    <Card flush>
      <div className="flex flex-wrap items-center gap-2 px-4 py-3">
        <Search label="Node, pod or budget" value={typed} onChange={setTyped} />
        <Choice
          label="Verdict"
          value={filters.verdict ?? ''}
          onChange={(verdict) => set({ verdict: verdict || undefined })}
          options={[['', 'All nodes'], ['replace', 'Taken away'], ['keep', 'Stays'], ...kept.map(([reason, n]): [string, string] => [reason, `Stays: ${reasonText(reason).toLowerCase()} (${n})`])]}
        />
        <span role="status" className="ml-auto text-sm text-ink-3">
          {data ? many(rows.length, 'node') : ''}
        </span>
      </div>
      <DataTable
        label="Nodes and reasons"
        columns={columns}
        rows={rows}
        rowId={(row) => row.node_name}
        sort={filters.sort}
        onSort={(sort) => set({ sort: sort || undefined })}
        loading={isPending}
        fault={error}
        retry={() => void refetch()}
        height="calc(100vh - 18rem)"
        empty={<Empty icon="search" title={data && data.node_verdicts.length > 0 ? 'No node is like that' : 'The engine gave no reasons for nodes'} />}
      />
    </Card>
  )
}
