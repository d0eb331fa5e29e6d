import { useMemo } from 'react'
import { useAsk } from '@/api/query'
import type { GetReliabilityResponse } from '@/api/schema'
import { count, decimal, percent } from '@/format/money'
import { useFilters, useScope } from '@/shell/filters'
import { Card, Stat } from '@/ui/Card'
import { Chart, frame, Legend, type Draw } from '@/ui/Chart'
import { Empty, FaultView, Skeleton } from '@/ui/Empty'
import { Select } from '@/ui/Field'
import { pointsOf, verdictOf, type Point } from './reliability'

const lengths = [7, 30, 90, 365]

/** Whether what was foretold came true. */
export function Reliability() {
  const { cluster } = useScope()
  const [{ days: typed }, setFilter] = useFilters<'days'>()
  const days = lengths.includes(Number(typed)) ? Number(typed) : 30
  const answer = useAsk('InventoryService/GetReliability', { cluster_id: cluster, days })
  return (
    <Card
      title="Prediction against outcome"
      note="Each prediction said how likely a node was to be taken within a day; here is how many were, once that day was over."
      actions={
        <Select aria-label="Days back" value={days} onChange={(event) => setFilter({ days: event.target.value })}>
          {lengths.map((each) => (
            <option key={each} value={each}>
              {each} days
            </option>
          ))}
        </Select>
      }
    >
      {answer.error && !answer.data ? (
        <FaultView fault={answer.error} retry={() => void answer.refetch()} />
      ) : answer.isPending ? (
        <Skeleton lines={8} />
      ) : answer.data && answer.data.predictions > 0 ? (
        <Judged answer={answer.data} />
      ) : (
        <Empty icon="spot" title="No prediction has come to its end yet">
          Each says what happens within a day: the first are judged a day after the first spot node.
        </Empty>
      )}
    </Card>
  )
}

function Judged({ answer }: { answer: GetReliabilityResponse }) {
  const points = useMemo(() => pointsOf(answer.bins), [answer.bins])
  return (
    <div className="flex flex-col gap-5">
      <dl className="grid grid-cols-2 gap-4 lg:grid-cols-4">
        <Stat label="Predictions" value={count(answer.predictions)} note="whose day is over" />
        <Stat label="Interrupted" value={count(answer.interruptions)} note={`${percent(answer.interruptions / answer.predictions)} of them`} />
        <Stat label="Brier score" value={decimal(answer.brier, 4)} note="less is better" formula="Mean of (predicted − happened)², happened being 0 or 1" />
        <Stat label="Calibration error" value={percent(answer.expected_calibration_error)} note="less is better" formula="Mean of |predicted − observed| over the bins, weighed by their predictions" />
      </dl>
      <p className="font-medium">{verdictOf(points)}</p>
      <div className="grid gap-6 xl:grid-cols-2">
        <Diagram points={points} />
        <Counts points={points} />
      </div>
    </div>
  )
}

const twin = (points: Point[]) => ({
  columns: ['Foretold', 'Mean foretold', 'Happened', 'Between (95%)', 'Predictions', 'Interrupted'],
  rows: points.map((each) => [each.name, percent(each.predicted), percent(each.observed), `${percent(each.low)} – ${percent(each.high)}`, count(each.count), count(each.interrupted)]),
})

function Diagram({ points }: { points: Point[] }) {
  const top = Math.min(1, Math.max(0.1, ...points.map((each) => Math.max(each.predicted, each.high))) * 1.05)
  const draw = useMemo<Draw>(
    () => (p) => {
      const base = frame(p)
      const axis = { type: 'value', min: 0, max: Math.ceil(top * 20) / 20, splitLine: { lineStyle: { color: p.line } }, axisLabel: { color: p.faint, fontSize: 11, formatter: (value: number) => percent(value) } }
      const band = (of: (each: Point) => number) => points.map((each) => [each.predicted, of(each)])
      return {
        ...base,
        grid: { left: 8, right: 16, top: 12, bottom: 26, containLabel: true },
        tooltip: { show: false },
        xAxis: { ...axis, name: 'foretold', nameLocation: 'middle', nameGap: 26, nameTextStyle: { color: p.faint } },
        yAxis: axis,
        series: [
          { type: 'line', data: [[0, 0], [1, 1]], showSymbol: false, silent: true, lineStyle: { color: p.base, type: 'dashed', width: 1 } },
          { type: 'line', data: band((each) => each.high), showSymbol: false, silent: true, lineStyle: { color: p.spot, opacity: 0.45, width: 1 } },
          { type: 'line', data: band((each) => each.low), showSymbol: false, silent: true, lineStyle: { color: p.spot, opacity: 0.45, width: 1 } },
          { type: 'line', data: band((each) => each.observed), symbol: 'circle', symbolSize: 8, lineStyle: { color: p.spot, width: 2 }, itemStyle: { color: p.spot } },
        ],
      }
    },
    [points, top],
  )
  return (
    <Chart
      label={`Reliability diagram: ${points.map((each) => `foretold ${percent(each.predicted)}, happened ${percent(each.observed)}`).join('; ')}`}
      draw={draw}
      twin={twin(points)}
      height={320}
      legend={<Legend items={[['happened, with its 95% interval', 'bg-spot'], ['perfect', 'bg-[var(--c-base)]']]} />}
    />
  )
}

function Counts({ points }: { points: Point[] }) {
  const draw = useMemo<Draw>(
    () => (p) => {
      const base = frame(p, { category: points.map((each) => each.name) })
      return {
        ...base,
        yAxis: { type: 'log', min: 1, splitLine: { lineStyle: { color: p.line } }, axisLabel: { color: p.faint, fontSize: 11, formatter: (value: number) => count(value) } },
        series: [
          { name: 'predictions', type: 'bar', data: points.map((each) => each.count), itemStyle: { color: p.base, borderRadius: [3, 3, 0, 0] }, barGap: '10%' },
          { name: 'interrupted', type: 'bar', data: points.map((each) => each.interrupted || null), itemStyle: { color: p.more[2], borderRadius: [3, 3, 0, 0] } },
        ],
      }
    },
    [points],
  )
  return (
    <Chart
      label={`Predictions and interruptions by what was foretold: ${points.map((each) => `${each.name}: ${each.count}, of which ${each.interrupted} interrupted`).join('; ')}`}
      draw={draw}
      twin={twin(points)}
      height={320}
      legend={<Legend items={[['predictions', 'bg-[var(--c-base)]'], ['of which interrupted (log scale)', 'bg-[var(--c-5)]']]} />}
    />
  )
}
