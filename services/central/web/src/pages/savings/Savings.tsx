import { useMemo } from 'react'
import { useAsk } from '@/api/query'
import type { GetSavingsHistoryResponse } from '@/api/schema'
import { amount, decimal, percent } from '@/format/money'
import { word } from '@/format/words'
import { useFilters, useScope } from '@/shell/filters'
import { Split } from '@/ui/Bars'
import { buttonClass } from '@/ui/Button'
import { Card, Stat } from '@/ui/Card'
import { DataTable, type Column } from '@/ui/DataTable'
import { Empty, FaultView, Skeleton } from '@/ui/Empty'
import { Choice } from '@/ui/Field'
import { Icon } from '@/ui/Icon'
import { Page } from '@/ui/Page'
import { Tabs } from '@/ui/Tabs'
import { Time } from '@/ui/Time'
import { Decisions } from './Decisions'
import { Mechanism } from './Mechanism'
import { SavingsChart } from './SavingsChart'
import { metered } from './metered'

const mechanisms = ['spot_optimize', 'bin_pack', 'rightsize', 'schedule', 'interruption']
const spans: [days: string, text: string][] = [
  ['1', 'One day'],
  ['7', '7 days'],
  ['30', '30 days'],
  ['90', '90 days'],
  ['365', 'A year'],
]

/** From when on: on a whole hour, so that the same question is asked again and not a new one each second. */
function startOf(days: string): string {
  const hour = 3_600_000
  return new Date(Math.floor(Date.now() / hour) * hour - Number(days) * 24 * hour).toISOString()
}

/** What was spent, what it would have cost, what was saved and by what; and whether the estimates were right. */
export function Savings() {
  const [filters, set] = useFilters<'tab' | 'days' | 'sort'>()
  const { cluster } = useScope()
  const days = spans.some(([value]) => value === filters.days) ? filters.days! : '30'
  const args = useMemo(() => ({ cluster_id: cluster, start: startOf(days) }), [cluster, days])
  const history = useAsk('SavingsService/GetSavingsHistory', args, { every: metered })
  const tab = filters.tab ?? 'all'
  const query = new URLSearchParams(Object.entries(args).filter((entry): entry is [string, string] => Boolean(entry[1]))).toString()
  return (
    <Page
      title="Savings"
      about={
        history.data?.metered_from ? (
          <>
            Metered since <Time at={history.data.metered_from} />
          </>
        ) : (
          'From metered node-hours and the prices of each hour.'
        )
      }
      actions={
        <>
          <Choice label="Span of time" value={days} onChange={(value) => set({ days: value === '30' ? undefined : value })} options={spans} />
          <a href={`/api/v1/admin/savings/history.csv?${query}`} download className={buttonClass()}>
            <Icon name="download" size={15} /> CSV
          </a>
        </>
      }
    >
      <Tabs
        label="Savings by"
        tabs={[['all', 'All'], ...mechanisms.map((each): [string, string] => [each, word(each)]), ['decisions', 'Estimate and outcome'], ['how', 'How it is calculated']]}
        shown={tab}
        onShow={(next) => set({ tab: next === 'all' ? undefined : next, sort: undefined })}
      >
        {tab === 'decisions' ? <Decisions /> : <Over tab={tab} history={history} />}
      </Tabs>
    </Page>
  )
}

function Over({ tab, history }: { tab: string; history: ReturnType<typeof useAsk<'SavingsService/GetSavingsHistory'>> }) {
  const { data, error, refetch } = history
  if (!data)
    return (
      <Card>{error ? <FaultView fault={error} retry={() => void refetch()} /> : <Skeleton lines={8} />}</Card>
    )
  if (tab === 'how') return <How data={data} />
  if (!data.points.some((point) => point.coverage > 0))
    return (
      <Card>
        <Empty icon="savings" title="Nothing is metered yet">
          The first hour appears about an hour after the first cluster has connected. Nothing is known of the time before.
        </Empty>
      </Card>
    )
  if (mechanisms.includes(tab)) return <Mechanism name={tab} data={data} />
  return <All data={data} />
}

function All({ data }: { data: GetSavingsHistoryResponse }) {
  const total = data.total
  if (!total) return null
  const byMechanism = Object.entries(total.by_mechanism).toSorted(([, a], [, b]) => b - a)
  const colours = ['bg-spot', 'bg-saved', 'bg-demand', 'bg-[var(--c-3)]', 'bg-[var(--c-4)]']
  const hours = total.spot_node_hours + total.on_demand_node_hours
  return (
    <div className="flex flex-col gap-4">
      <Card>
        <dl className="grid grid-cols-2 gap-x-6 gap-y-4 md:grid-cols-4">
          <Stat label="Saved" value={amount(total.saved)} tone={total.saved > 0 ? 'ok' : total.saved < 0 ? 'bad' : undefined} note={`${percent(total.baseline > 0 ? total.saved / total.baseline : 0)} of what it would have cost`} formula="baseline − actual" />
          <Stat label="Paid" value={amount(total.actual)} note="by the prices of each hour" formula="Σ node-hours × the price of that hour" />
          <Stat label="Without CloudOptim" value={amount(total.baseline)} note="baseline" formula="What the same pods would have cost on the nodes that were there before" />
          <Stat label="On spot" value={percent(hours > 0 ? total.spot_node_hours / hours : 0)} note={`of ${decimal(hours, hours < 10 ? 1 : 0)} node-hours`} />
        </dl>
        {(total.coverage < 0.995 || total.unpriced_node_hours > 0) && (
          <p className="mt-4 flex items-center gap-2 text-sm text-warn">
            <Icon name="warning" size={14} />
            {total.coverage < 0.995 && `${percent(total.coverage)} of the time was metered. `}
            {total.unpriced_node_hours > 0 && `${decimal(total.unpriced_node_hours)} node-hours had no known price and count as nothing.`}
          </p>
        )}
      </Card>
      <Card title="Over time">
        <SavingsChart points={data.points} step={data.step} height={280} />
      </Card>
      <div className="grid items-start gap-4 xl:grid-cols-2">
        <Card title="By mechanism" note="What cost more is negative and counts against the rest.">
          {byMechanism.length > 0 ? (
            <Split
              label="Saved by mechanism"
              parts={byMechanism.map(([name, value], i) => ({ name: word(name), value, text: amount(value), className: value < 0 ? 'bg-bad' : (colours[i % colours.length] ?? 'bg-spot') }))}
            />
          ) : (
            <Empty icon="savings" title="Nothing was saved yet" compact />
          )}
        </Card>
        <Clusters data={data} />
      </div>
    </div>
  )
}

type ClusterTotal = GetSavingsHistoryResponse['clusters'][number]

const columns: Column<ClusterTotal>[] = [
  { id: 'name', header: 'Cluster', value: (row) => row.cluster_name, cell: (row) => <span className="font-medium">{row.cluster_name}</span> },
  { id: 'paid', header: 'Paid', align: 'right', value: (row) => row.total?.actual, cell: (row) => amount(row.total?.actual) },
  { id: 'saved', header: 'Saved', align: 'right', value: (row) => row.total?.saved, cell: (row) => <span className={(row.total?.saved ?? 0) > 0 ? 'font-medium text-ok' : ''}>{amount(row.total?.saved)}</span> },
  {
    id: 'share',
    header: 'Share',
    align: 'right',
    value: (row) => (row.total && row.total.baseline > 0 ? row.total.saved / row.total.baseline : undefined),
    cell: (row) => percent(row.total && row.total.baseline > 0 ? row.total.saved / row.total.baseline : 0),
  },
]

function Clusters({ data }: { data: GetSavingsHistoryResponse }) {
  const [filters, set] = useFilters<'sort'>()
  return (
    <Card title="By cluster" flush>
      <DataTable
        label="Savings by cluster"
        columns={columns}
        rows={data.clusters}
        rowId={(row) => row.cluster_id}
        sort={filters.sort ?? 'saved desc'}
        onSort={(sort) => set({ sort: sort || undefined })}
        height="22rem"
        empty={<Empty icon="clusters" title="No cluster was metered" compact />}
      />
    </Card>
  )
}

function How({ data }: { data: GetSavingsHistoryResponse }) {
  return (
    <Card title="How it is calculated" note="The same words come with every answer of the API.">
      {data.calculation.length === 0 ? (
        <Empty icon="info" title="The server does not say" compact />
      ) : (
        <dl className="flex max-w-3xl flex-col divide-y divide-line">
          {data.calculation.map((step) => (
            <div key={step.name} className="py-3">
              <dt className="font-medium">{word(step.name)}</dt>
              <dd className="mt-1 rounded-md bg-sunk px-3 py-2 font-mono text-xs leading-5">{step.formula}</dd>
              {step.note && <dd className="mt-1.5 text-sm text-ink-3">{step.note}</dd>}
            </div>
          ))}
        </dl>
      )}
    </Card>
  )
}
