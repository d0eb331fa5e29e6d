import { useMemo, useState } from 'react'
import { useWhyNot } from '@/api/me'
import { useAsk, usePages } from '@/api/query'
import type { Stop } from '@/api/schema'
import { count } from '@/format/money'
import { moment, span } from '@/format/time'
import { word } from '@/format/words'
import { useScope } from '@/shell/filters'
import { StopDialog, StopItem } from '@/shell/StopAll'
import { Badge } from '@/ui/Badge'
import { Button } from '@/ui/Button'
import { Card } from '@/ui/Card'
import { DataTable, type Column } from '@/ui/DataTable'
import { Empty, FaultView, Skeleton } from '@/ui/Empty'
import { Time } from '@/ui/Time'

/** Stops in force, and those of before. */
export function Stops() {
  const { cluster } = useScope()
  const held = useAsk('GuardService/ListStops', { cluster_id: cluster })
  const all = usePages('GuardService/ListStops', { cluster_id: cluster, include_lifted: true })
  const clusters = useAsk('AdminService/ListClusters', {})
  const whyNot = useWhyNot('GuardService/CreateStop')
  const [asking, setAsking] = useState(false)
  const names = useMemo(() => new Map(clusters.data?.map((each) => [each.cluster_id, each.cluster_name])), [clusters.data])
  const columns = useMemo(() => columnsOf(names), [names])
  return (
    <div className="flex flex-col gap-4">
      <Card
        title="In force"
        note="Where a stop holds, central asks before every step and the agent refuses and breaks off what disrupts."
        actions={
          <Button icon="stop" className="text-bad" whyNot={whyNot ?? (held.error?.unbuilt ? 'This server has no stop yet.' : undefined)} onClick={() => setAsking(true)}>
            Stop
          </Button>
        }
      >
        {held.error ? (
          <FaultView compact fault={held.error} retry={() => void held.refetch()} />
        ) : held.isPending ? (
          <Skeleton lines={2} />
        ) : held.data.length === 0 ? (
          <p className="text-ink-3">None. Plans go as far as their policy allows.</p>
        ) : (
          <ul className="flex flex-col gap-3">
            {held.data.map((stop) => (
              <StopItem key={stop.stop_id} stop={stop} />
            ))}
          </ul>
        )}
      </Card>
      {!held.error && (
        <Card title="All stops" flush>
          <DataTable
            label="Stops"
            columns={columns}
            rows={all.items}
            rowId={(row) => row.stop_id}
            loading={all.isPending}
            fault={all.error}
            retry={() => void all.refetch()}
            more={{ has: all.hasNextPage, loading: all.isFetchingNextPage, load: () => void all.fetchNextPage() }}
            empty={<Empty compact icon="stop" title="There has been none" />}
          />
        </Card>
      )}
      <StopDialog open={asking} onClose={() => setAsking(false)} />
    </div>
  )
}

function columnsOf(names: Map<string, string>): Column<Stop>[] {
  const held = ({ created_at, lifted_at }: Stop) => {
    const [from, to] = [moment(created_at), moment(lifted_at)]
    return from && to ? (to.getTime() - from.getTime()) / 1000 : undefined
  }
  return [
    { id: 'state', header: 'State', cell: (row) => (row.lifted_at ? <Badge>Lifted</Badge> : <Badge tone="bad">In force</Badge>), width: '6rem' },
    { id: 'scope', header: 'Where', cell: (row) => (row.cluster_id ? (names.get(row.cluster_id) ?? row.cluster_id.slice(0, 8)) : row.scope === 'platform' ? 'All customers' : word(row.scope)), width: '11rem' },
    {
      id: 'reason',
      header: 'Why',
      cell: (row) => (
        <span className="line-clamp-2 min-w-48 whitespace-normal">
          {row.reason}
          {row.include_interruptions && <span className="text-sm text-bad"> (interruptions too)</span>}
        </span>
      ),
    },
    {
      id: 'at',
      header: 'Since',
      cell: (row) => (
        <span className="text-sm">
          <Time at={row.created_at} /> <span className="block truncate text-ink-3">by {row.created_by}</span>
        </span>
      ),
      width: '14rem',
    },
    { id: 'held', header: 'Held', align: 'right', cell: (row) => (row.lifted_at ? span(held(row)) : 'still'), width: '7rem' },
    { id: 'drains', header: 'Drains cancelled', align: 'right', cell: (row) => count(row.drains_cancelled), width: '8rem' },
    {
      id: 'lifted',
      header: 'Lifted',
      cell: (row) =>
        row.lifted_at ? (
          <span className="text-sm" title={row.lift_reason}>
            <Time at={row.lifted_at} />
            {row.lift_reason && `: ${row.lift_reason}`}
            <span className="block truncate text-ink-3">by {row.lifted_by}</span>
          </span>
        ) : (
          <span className="text-ink-3">–</span>
        ),
      width: '16rem',
    },
  ]
}
