import { useMemo, useState } from 'react'
import { useAsk } from '@/api/query'
import type { Optimization, RequestChange, ResourceChange } from '@/api/schema'
import { decimal, many, percent, perMonth } from '@/format/money'
import { useFilters } from '@/shell/filters'
import { Badge } from '@/ui/Badge'
import { Button } from '@/ui/Button'
import { Card } from '@/ui/Card'
import { CodeBlock } from '@/ui/Copy'
import { DataTable, type Column } from '@/ui/DataTable'
import { Dialog } from '@/ui/Dialog'
import { Empty } from '@/ui/Empty'
import { Choice, Search } from '@/ui/Field'
import { useTyped } from '@/ui/useTyped'
import { cpuText, memoryShort, noteText, patchOf, whyText } from './sizes'

const idOf = (row: RequestChange) => `${row.namespace}/${row.kind}/${row.name}/${row.container}`

/** From what to what, or what stays. */
function Amount({ part, text }: { part?: ResourceChange | null; text: (n: string) => string }) {
  if (!part) return <span className="text-ink-3">–</span>
  const from = Number(part.from) === 0 ? 'none' : text(part.from)
  if (part.verdict !== 'change') return <span title={`${whyText(part.reason)}. ${part.detail}`} className="text-ink-3">{from}</span>
  return (
    <span title={`${whyText(part.reason)}. ${part.detail}`} className="whitespace-nowrap">
      <span className="text-ink-3">{from}</span> <span aria-label="to">→</span> <span className={Number(part.to) < Number(part.from) ? 'font-medium text-ok' : 'font-medium text-warn'}>{text(part.to)}</span>
    </span>
  )
}

/** The reasons of what changes, or else of what stays. */
function why(row: RequestChange): string {
  const parts = [row.cpu, row.memory].filter((part) => part !== undefined && part !== null)
  const counted = parts.filter((part) => part.verdict === 'change')
  return [...new Set((counted.length > 0 ? counted : parts).map((part) => whyText(part.reason)))].join('; ')
}

const columns: Column<RequestChange>[] = [
  {
    id: 'name',
    header: 'Workload and container',
    value: idOf,
    cell: (row) => (
      <span title={`${row.kind} ${row.namespace}/${row.name}, container ${row.container}`} className="block max-w-72 truncate">
        <span className="text-ink-3">{row.namespace} /</span> {row.name} <span className="text-ink-3">/ {row.container}</span>
      </span>
    ),
  },
  { id: 'replicas', header: 'Replicas', align: 'right', value: (row) => row.replicas, cell: (row) => row.replicas },
  { id: 'cpu', header: 'CPU request', value: (row) => Number(row.cpu?.to ?? 0) - Number(row.cpu?.from ?? 0), cell: (row) => <Amount part={row.cpu} text={cpuText} /> },
  { id: 'memory', header: 'Memory request', value: (row) => Number(row.memory?.to ?? 0) - Number(row.memory?.from ?? 0), cell: (row) => <Amount part={row.memory} text={memoryShort} /> },
  { id: 'saving', header: 'Saving', align: 'right', hint: 'Had once nodes shrink or go, which consolidation plans.', value: (row) => row.savings_per_month, cell: (row) => (row.savings_per_month === 0 ? '–' : perMonth(row.savings_per_month)) },
  { id: 'confidence', header: 'Confidence', align: 'right', hint: 'How much usage it rests on.', value: (row) => row.confidence, cell: (row) => <span title={`${decimal(row.days)} days of usage`}>{row.confidence > 0 ? percent(row.confidence) : '–'}</span> },
  {
    id: 'why',
    header: 'Why',
    value: why,
    cell: (row) => (
      <span title={[why(row), ...row.notes.map(noteText)].join('\n')} className="block max-w-72 truncate text-ink-2">
        {why(row)} {row.notes.length > 0 && <Badge>{many(row.notes.length, 'note')}</Badge>}
      </span>
    ),
  },
]

/** Every container with what it requests and what it should, and the patch that makes it so. */
export function Sizes({ plan }: { plan: Optimization }) {
  const [filters, set] = useFilters<'verdict' | 'q' | 'sort'>()
  const [typed, setTyped] = useTyped(filters.q ?? '', (q) => set({ q }))
  const [opened, setOpened] = useState<RequestChange | null>(null)
  const { data, error, isPending, refetch } = useAsk('AdminService/GetOptimizationDecision', { optimization_id: plan.optimization_id })
  const all = useMemo(() => data?.request_changes ?? [], [data])
  const rows = useMemo(
    () => all.filter((row) => (filters.verdict === 'all' || row.verdict === 'change') && (!filters.q || idOf(row).includes(filters.q))),
    [all, filters.verdict, filters.q],
  )
  const patch = opened && patchOf(all, opened)
  return (
    <Card flush>
      <div className="flex flex-wrap items-center gap-2 px-4 py-3">
        <Search label="Namespace, workload or container" value={typed} onChange={setTyped} />
        <Choice
          label="Shown"
          value={filters.verdict ?? ''}
          onChange={(verdict) => set({ verdict: verdict || undefined })}
          options={[
            ['', 'To be changed'],
            ['all', 'All containers'],
          ]}
        />
        <span role="status" className="ml-auto text-sm text-ink-3">
          {data ? `${many(rows.length, 'container')} of ${all.length}` : ''}
        </span>
      </div>
      <p className="border-t border-line px-4 py-2.5 text-sm text-ink-2">
        Open a row for its patch. CloudOptim does not set requests: apply these in your manifests, after a look at workloads that a HorizontalPodAutoscaler scales by CPU or memory, which CloudOptim does not see.
      </p>
      <DataTable
        label="Containers and their requests"
        columns={columns}
        rows={rows}
        rowId={idOf}
        sort={filters.sort}
        onSort={(sort) => set({ sort: sort || undefined })}
        loading={isPending && plan.status !== 'failed'}
        fault={plan.status === 'failed' ? null : error}
        retry={() => void refetch()}
        onOpen={setOpened}
        height="calc(100vh - 20rem)"
        empty={<Empty icon="search" title={all.length > 0 ? 'No container needs another request, or too little is known of it' : 'No container was looked at'} />}
      />
      <Dialog
        open={opened !== null}
        onClose={() => setOpened(null)}
        title={opened ? `Requests of ${opened.name}` : ''}
        about={opened ? `${opened.kind} in ${opened.namespace}: ${why(opened).toLowerCase()}.` : ''}
        actions={<Button onClick={() => setOpened(null)}>Close</Button>}
      >
        {opened?.notes.map((note) => (
          <p key={note} className="mb-2 text-sm text-ink-2">
            {noteText(note)}
          </p>
        ))}
        {patch ? (
          <div className="flex flex-col gap-4">
            <p className="text-sm text-ink-2">Applying it restarts its pods.</p>
            <CodeBlock label="In its manifest" text={patch.manifest} />
            <CodeBlock label="Or at once, until its manifest is applied again" text={patch.command} />
          </div>
        ) : (
          <p className="text-sm text-ink-2">There is nothing to patch: its requests stay, or are not set in a manifest of its kind.</p>
        )}
      </Dialog>
    </Card>
  )
}
