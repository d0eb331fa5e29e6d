import { Link } from '@tanstack/react-router'
import { useMemo } from 'react'
import { useAsk } from '@/api/query'
import type { SpotPool } from '@/api/schema'
import { count, decimal, money, percent } from '@/format/money'
import { moment } from '@/format/time'
import { useNow } from '@/live/Live'
import { useFilters, useScope } from '@/shell/filters'
import { Badge } from '@/ui/Badge'
import { buttonClass } from '@/ui/Button'
import { Card } from '@/ui/Card'
import { DataTable, type Column } from '@/ui/DataTable'
import { Empty, FaultView, Skeleton } from '@/ui/Empty'
import { Search } from '@/ui/Field'
import { Time } from '@/ui/Time'
import { sourceOf } from './foretold'
import { HeatMap } from './HeatMap'

/** Pools that the clusters use, with their risk. */
export function Pools() {
  const { cluster } = useScope()
  const [{ q = '', sort = 'nodes desc' }, setFilter] = useFilters<'q' | 'sort'>()
  const pools = useAsk('InventoryService/ListSpotPools', { cluster_id: cluster }, { every: 60_000 })
  const all = useMemo(() => pools.data ?? [], [pools.data])
  const rows = useMemo(() => all.filter((each) => `${each.instance_type} ${each.availability_zone}`.includes(q.toLowerCase())), [all, q])
  if (pools.error && !pools.data)
    return (
      <Card>
        <FaultView fault={pools.error} retry={() => void pools.refetch()} />
      </Card>
    )
  if (pools.isPending)
    return (
      <Card title="Risk by pool">
        <Skeleton lines={8} />
      </Card>
    )
  if (all.length === 0)
    return (
      <Card>
        <Empty
          icon="spot"
          title="No cluster uses spot yet"
          action={
            <Link to="/recommendations" className={buttonClass('primary')}>
              To the recommendations
            </Link>
          }
        >
          A plan of kind spot mix moves what tolerates it to spot. Pools and their risk appear here with the first spot node.
        </Empty>
      </Card>
    )
  return (
    <div className="flex flex-col gap-4">
      <Card title="Risk by pool" note="Probability that a node of a type in a zone is taken within a day.">
        <HeatMap pools={all} />
      </Card>
      <Card title="Pools" note="Record of the last 30 days." actions={<Search label="Type or zone" value={q} onChange={(next) => setFilter({ q: next || undefined })} />} flush>
        <DataTable
          label="Spot pools"
          columns={columns}
          rows={rows}
          rowId={(row) => `${row.instance_type} ${row.availability_zone}`}
          sort={sort}
          onSort={(next) => setFilter({ sort: next })}
          empty={<Empty compact icon="search" title="No pool is called that" />}
        />
      </Card>
    </div>
  )
}

/** Tone of a risk per day: what is worth a look, and what is dear. */
export const riskTone = (risk: number) => (risk >= 0.2 ? 'bad' : risk >= 0.08 ? 'warn' : 'ok')

const saving = (pool: SpotPool) => (pool.on_demand_price > 0 && pool.spot_price > 0 ? 1 - pool.spot_price / pool.on_demand_price : undefined)
/** Interruptions per thousand node hours. */
const rate = (pool: SpotPool) => (pool.node_hours > 0 ? (pool.interruptions / pool.node_hours) * 1000 : undefined)

const columns: Column<SpotPool>[] = [
  { id: 'type', header: 'Type', value: (row) => row.instance_type, cell: (row) => <span className="font-medium">{row.instance_type}</span> },
  { id: 'zone', header: 'Zone', value: (row) => row.availability_zone, cell: (row) => row.availability_zone },
  { id: 'nodes', header: 'Nodes', align: 'right', value: (row) => row.nodes, cell: (row) => count(row.nodes), width: '5.5rem' },
  {
    id: 'risk',
    header: 'Risk a day',
    align: 'right',
    hint: 'Probability that a node of it is taken within a day.',
    value: (row) => row.interruption_risk ?? undefined,
    cell: (row) => (row.interruption_risk === null || row.interruption_risk === undefined ? <span className="text-ink-3">not known</span> : <Badge tone={riskTone(row.interruption_risk)}>{percent(row.interruption_risk)}</Badge>),
    width: '8rem',
  },
  { id: 'model', header: 'Scored by', value: (row) => row.risk_model, cell: (row) => <span className="text-sm text-ink-2">{sourceOf(row.risk_model)}</span>, width: '11rem' },
  { id: 'price', header: 'Spot an hour', align: 'right', value: (row) => row.spot_price, cell: (row) => (row.spot_price > 0 ? money(row.spot_price) : '–'), width: '8rem' },
  { id: 'saving', header: 'Below on-demand', align: 'right', value: saving, cell: (row) => <span title={`${money(row.on_demand_price)} on demand`}>{percent(saving(row))}</span>, width: '9rem' },
  {
    id: 'rate',
    header: 'Taken / 1,000 h',
    align: 'right',
    hint: 'Interruptions ÷ node hours × 1,000, last 30 days.',
    value: rate,
    cell: (row) => (
      <span title={`${count(row.interruptions)} in ${count(row.node_hours)} node hours`}>
        {decimal(rate(row), (rate(row) ?? 0) < 100 ? 2 : 0)} <span className="text-ink-3">({count(row.interruptions)})</span>
      </span>
    ),
    width: '9rem',
  },
  { id: 'refused', header: 'Capacity', value: (row) => row.refused_until ?? '', cell: (row) => <Capacity until={row.refused_until} />, width: '12rem' },
]

function Capacity({ until }: { until?: string | null }) {
  const now = useNow()
  const end = moment(until)
  if (!end || end.getTime() < now) return <span className="text-ink-3">as far as is known</span>
  return (
    <span className="text-sm text-warn">
      none until <Time at={until} />
    </span>
  )
}
