import { useMemo, useState } from 'react'
import { useWhyNot } from '@/api/me'
import { useAct } from '@/api/query'
import type { AnalyzeGapsResponse, DataGap } from '@/api/schema'
import { count, many, percent } from '@/format/money'
import { moment, onUTCDay, span } from '@/format/time'
import { useFilters, useScope } from '@/shell/filters'
import { Badge } from '@/ui/Badge'
import { Button } from '@/ui/Button'
import { Card, Stat } from '@/ui/Card'
import { Confirm } from '@/ui/Confirm'
import { DataTable, type Column } from '@/ui/DataTable'
import { Empty, FaultView, Skeleton } from '@/ui/Empty'
import { Select } from '@/ui/Field'
import { Icon } from '@/ui/Icon'
import { Switch } from '@/ui/Switch'
import { Time } from '@/ui/Time'
import { Calendar } from './Calendar'
import { causes, methods, reasons } from './gaps'

const lengths = [7, 14, 30, 60, 90]

/** Holes in what models learn from: found, explained, and filled where a rule allows. */
export function Gaps() {
  const { cluster } = useScope()
  const [{ days: typed }, setFilter] = useFilters<'days'>()
  const days = lengths.includes(Number(typed)) ? Number(typed) : 30
  const [view, setView] = useState<'calendar' | 'table'>('calendar')
  const [asking, setAsking] = useState(false)
  const mayNotFill = useWhyNot('AdminService/FillGaps')
  const mayNotAnalyze = useWhyNot('AdminService/AnalyzeGaps')
  const analyze = useAct('AdminService/AnalyzeGaps', { quiet: true })
  const ask = () => analyze.mutate({ lookback_days: days, cluster_id: cluster, max_gaps: 5000, model_training_date: new Date().toISOString() })
  const fill = useAct('AdminService/FillGaps', {
    onDone: () => {
      setAsking(false)
      ask()
    },
  })
  const found = analyze.data
  return (
    <div className="flex flex-col gap-4">
      <Card
        title="Gaps in the data"
        note="What should have been recorded and was not: why, and what a fill would do. Nothing is changed by looking."
        actions={
          <>
            <Select aria-label="Days back" value={days} onChange={(event) => setFilter({ days: event.target.value })}>
              {lengths.map((each) => (
                <option key={each} value={each}>
                  {each} days back
                </option>
              ))}
            </Select>
            <Button kind={found ? 'plain' : 'primary'} icon="search" busy={analyze.isPending} whyNot={mayNotAnalyze} onClick={ask}>
              {found ? 'Look again' : 'Look for gaps'}
            </Button>
            {found && (
              <Button kind="primary" busy={fill.isPending} whyNot={mayNotFill ?? (found.gaps_fillable > 0 ? undefined : 'None of them can be filled.')} onClick={() => setAsking(true)}>
                Fill
              </Button>
            )}
          </>
        }
      >
        {fill.data && <Filled answer={fill.data} />}
        {analyze.error && !found ? (
          <FaultView compact fault={analyze.error} retry={ask} />
        ) : found ? (
          <Summary found={found} />
        ) : analyze.isPending ? (
          <Skeleton lines={3} />
        ) : (
          <Empty compact icon="data" title="Not looked for yet">
            It reads the whole span of {cluster ? 'this cluster’s series' : 'all series'}; that takes some seconds.
          </Empty>
        )}
      </Card>
      {found && (
        <Card
          title={view === 'calendar' ? 'Day by day' : 'Gap by gap'}
          note={view === 'calendar' ? 'Days of UTC; the least covered series first.' : found.gaps_found > found.gaps.length ? `The ${count(found.gaps.length)} longest of ${count(found.gaps_found)}; choose one cluster to see its others.` : undefined}
          actions={
            <Switch
              label="Show as"
              options={[
                ['calendar', 'Calendar'],
                ['table', 'Table'],
              ]}
              value={view}
              onChange={setView}
            />
          }
          flush={view === 'table'}
        >
          {view === 'calendar' ? <Calendar found={found} /> : <GapTable gaps={found.gaps} />}
        </Card>
      )}
      <Confirm
        open={asking}
        onClose={() => setAsking(false)}
        title="Fill the gaps?"
        act="Fill"
        busy={fill.isPending}
        blastRadius={`Writes rows for up to ${many(found?.gaps_fillable ?? 0, 'gap')} ${cluster ? 'of this cluster' : 'of all customers'}: from AWS’s history where it still has it, else by rule. Each row is marked with how, and with the run’s id; none is ever taken for an observation.`}
        onAct={() => fill.mutate({ lookback_days: days, cluster_id: cluster, model_training_date: new Date().toISOString() })}
      />
    </div>
  )
}

function Summary({ found }: { found: AnalyzeGapsResponse }) {
  return (
    <dl className="grid grid-cols-2 gap-4 lg:grid-cols-4">
      <Stat label="Coverage" value={percent(found.coverage)} note={`mean of ${many(found.series_found, 'series', 'series')}`} formula="Mean over the series that have a cadence of observed ÷ expected" tone={found.coverage >= 0.95 ? 'ok' : found.coverage < 0.7 ? 'bad' : 'warn'} />
      <Stat label="Gaps" value={count(found.gaps_found)} note="found" />
      <Stat label="A fill closes" value={count(found.gaps_fillable)} note="whole or in part" />
      <Stat label="Looked at" value={`${onUTCDay(found.start)} – ${onUTCDay(found.end)}`} note={<span title={found.run_id}>run {found.run_id.slice(0, 8)}</span>} />
    </dl>
  )
}

function Filled({ answer }: { answer: { gaps_filled: number; records: number; run_id: string; gaps_left_open: number; failed_sources: string[]; complete: boolean } }) {
  const clean = answer.complete && answer.failed_sources.length === 0
  return (
    <p role="status" className={`mb-4 flex items-start gap-2 rounded-md px-3 py-2.5 text-sm ${clean ? 'bg-ok-soft text-ok' : 'bg-warn-soft text-warn'}`}>
      <Icon name={clean ? 'check' : 'warning'} className="mt-0.5" />
      <span>
        {many(answer.gaps_filled, 'gap')} filled with {many(answer.records, 'row')}, run {answer.run_id.slice(0, 8)}. {many(answer.gaps_left_open, 'gap')} left open: no rule allows to fill them.
        {answer.failed_sources.length > 0 && ` Not reached: ${answer.failed_sources.join(', ')}.`}
        {!answer.complete && ' Time ran out; fill again for the rest.'}
      </span>
    </p>
  )
}

const seconds = (gap: DataGap) => ((moment(gap.end)?.getTime() ?? 0) - (moment(gap.start)?.getTime() ?? 0)) / 1000

const columns: Column<DataGap>[] = [
  { id: 'series', header: 'Series', value: (row) => row.series, cell: (row) => <code className="line-clamp-1 font-mono text-xs break-all" title={row.series}>{row.series}</code> },
  { id: 'start', header: 'From', value: (row) => row.start ?? '', cell: (row) => <Time at={row.start} />, width: '9rem' },
  { id: 'length', header: 'Length', align: 'right', value: seconds, cell: (row) => span(seconds(row)), width: '8rem' },
  { id: 'missing', header: 'Steps', align: 'right', value: (row) => row.missing, cell: (row) => (row.missing > 0 ? count(row.missing) : '–'), width: '6rem' },
  { id: 'cause', header: 'Why', value: (row) => row.cause, cell: (row) => causes[row.cause] ?? row.cause, width: '16rem' },
  {
    id: 'fill',
    header: 'A fill',
    value: (row) => (row.fillable ? row.method : `~${row.reason}`),
    cell: (row) => (row.fillable ? <Badge tone="ok">{methods[row.method] ?? row.method}</Badge> : <span className="text-sm text-ink-3">{reasons[row.reason] ?? row.reason}</span>),
    width: '16rem',
  },
]

function GapTable({ gaps }: { gaps: DataGap[] }) {
  const [sort, setSort] = useState('length desc')
  const rows = useMemo(() => gaps, [gaps])
  return <DataTable label="Gaps" columns={columns} rows={rows} rowId={(row) => `${row.series}${row.start}`} sort={sort} onSort={setSort} empty={<Empty compact icon="check" title="There are no gaps" />} />
}
