import { useMemo, useState } from 'react'
import { useAsk, usePages } from '@/api/query'
import type { AuditEntry } from '@/api/schema'
import { moment } from '@/format/time'
import { useFilters, useScope } from '@/shell/filters'
import { Badge } from '@/ui/Badge'
import { Button } from '@/ui/Button'
import { Card } from '@/ui/Card'
import { DataTable, type Column } from '@/ui/DataTable'
import { Empty } from '@/ui/Empty'
import { Field, Input } from '@/ui/Field'
import { Page } from '@/ui/Page'
import { Time } from '@/ui/Time'
import { Chain } from './Chain'
import { Entry } from './Entry'

type Filters = 'action' | 'actor' | 'subject' | 'start' | 'end' | 'id'

/** Who did what, in a record that cannot be changed unseen. */
export function Audit() {
  const { cluster } = useScope()
  const [{ action, actor, subject, start, end, id }, setFilter] = useFilters<Filters>()
  const entries = usePages('AuditService/ListAudit', { cluster_id: cluster, action, actor, subject, start: instant(start), end: instant(end), page_size: 200 }, { every: id ? false : 15_000 })
  const clusters = useAsk('AdminService/ListClusters', {})
  const names = useMemo(() => new Map(clusters.data?.map((each) => [each.cluster_id, each.cluster_name])), [clusters.data])
  const open = (entry: AuditEntry) => setFilter({ id: keyOf(entry) })
  const columns = useMemo(() => columnsOf(names), [names])
  const filtered = Boolean(action || actor || subject || start || end)
  const shown = id ? entries.items.find((each) => keyOf(each) === id) : undefined
  return (
    <Page title="Audit" about="Every act of people and of CloudOptim, sealed into a chain of hashes within a second.">
      <Chain newest={entries.items.find((each) => each.hash)} plain={!filtered && !cluster} />
      <Card flush>
        <div className="flex flex-wrap items-end gap-3 border-b border-line px-4 py-3">
          <Text label="Action" placeholder="policy.*" value={action} onChange={(value) => setFilter({ action: value })} />
          <Text label="Actor" placeholder="member:*" value={actor} onChange={(value) => setFilter({ actor: value })} />
          <Text label="Subject" placeholder="id or name" value={subject} onChange={(value) => setFilter({ subject: value })} />
          <Field label="From" className="w-48">
            {(ids) => <Input {...ids} type="datetime-local" value={start ?? ''} onChange={(event) => setFilter({ start: event.target.value || undefined })} />}
          </Field>
          <Field label="To" className="w-48">
            {(ids) => <Input {...ids} type="datetime-local" value={end ?? ''} onChange={(event) => setFilter({ end: event.target.value || undefined })} />}
          </Field>
          {filtered && (
            <Button icon="close" onClick={() => setFilter({ action: undefined, actor: undefined, subject: undefined, start: undefined, end: undefined })}>
              Clear
            </Button>
          )}
        </div>
        <DataTable
          label="Audit entries, newest first"
          columns={columns}
          rows={entries.items}
          rowId={keyOf}
          onOpen={open}
          current={id}
          loading={entries.isPending}
          fault={entries.error}
          retry={() => void entries.refetch()}
          more={{ has: entries.hasNextPage, loading: entries.isFetchingNextPage, load: () => void entries.fetchNextPage() }}
          height="calc(100vh - 21rem)"
          empty={
            <Empty icon="audit" title={filtered ? 'No entry matches' : 'Nothing is recorded yet'}>
              {filtered ? 'A star at the end matches what begins alike: optimization.*' : 'The first thing that somebody does is the first entry.'}
            </Empty>
          }
        />
      </Card>
      {shown && <Entry entry={shown} cluster={names.get(shown.cluster_id)} onClose={() => setFilter({ id: undefined })} onFilter={(change) => setFilter({ ...change, id: undefined })} />}
    </Page>
  )
}

const keyOf = (entry: AuditEntry): string => (Number(entry.sequence) > 0 ? entry.sequence : `${entry.at}${entry.actor}${entry.action}${entry.subject}`)

const instant = (local: string | undefined): string | undefined => moment(local)?.toISOString()

/** A filter that is asked for when it is left or Enter is pressed, not with each letter. */
function Text({ label, placeholder, value, onChange }: { label: string; placeholder: string; value?: string; onChange: (value: string | undefined) => void }) {
  const [typed, setTyped] = useState<string>()
  const take = () => {
    if (typed !== undefined && typed !== (value ?? '')) onChange(typed.trim() || undefined)
    setTyped(undefined)
  }
  return (
    <Field label={label} className="w-full sm:w-44">
      {(ids) => (
        <Input
          {...ids}
          placeholder={placeholder}
          spellCheck={false}
          value={typed ?? value ?? ''}
          onChange={(event) => setTyped(event.target.value)}
          onBlur={take}
          onKeyDown={(event) => event.key === 'Enter' && take()}
        />
      )}
    </Field>
  )
}

function columnsOf(names: Map<string, string>): Column<AuditEntry>[] {
  return [
    { id: 'sequence', header: '#', align: 'right', width: '5rem', cell: (row) => (Number(row.sequence) > 0 ? row.sequence : <Badge tone="info">sealing</Badge>) },
    { id: 'at', header: 'When', width: '9rem', cell: (row) => <Time at={row.at} /> },
    { id: 'actor', header: 'Who', width: '16rem', cell: (row) => <span className="block max-w-60 truncate" title={row.actor}>{row.actor}</span> },
    { id: 'action', header: 'What', width: '14rem', cell: (row) => <code className="font-mono text-xs">{row.action}</code> },
    { id: 'subject', header: 'To what', cell: (row) => <span className="block max-w-72 truncate" title={row.subject}>{row.subject || '–'}</span> },
    { id: 'cluster', header: 'Cluster', width: '11rem', cell: (row) => (row.cluster_id ? (names.get(row.cluster_id) ?? row.cluster_id.slice(0, 8)) : <span className="text-ink-3">–</span>) },
    { id: 'hash', header: 'Hash', width: '7rem', cell: (row) => <code className="font-mono text-xs text-ink-3" title={row.hash}>{row.hash.slice(0, 10) || '–'}</code> },
  ]
}
