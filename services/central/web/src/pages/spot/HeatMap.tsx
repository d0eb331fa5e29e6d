import { useMemo } from 'react'
import type { SpotPool } from '@/api/schema'
import { count, percent } from '@/format/money'
import { Chart, type Draw } from '@/ui/Chart'

const most = 24

/** Risk by type and zone; the types with most nodes first. */
export function HeatMap({ pools }: { pools: SpotPool[] }) {
  const { types, zones, hidden } = useMemo(() => axes(pools), [pools])
  const draw = useMemo<Draw>(
    () => (p) => {
      const data = pools
        .filter((each) => types.includes(each.instance_type))
        .map((each) => ({
          value: [zones.indexOf(each.availability_zone), types.indexOf(each.instance_type), each.interruption_risk ?? -1],
          pool: each,
        }))
      const text = { color: p.faint, fontSize: 11 }
      return {
        grid: { left: 4, right: 8, top: 4, bottom: 4, containLabel: true },
        tooltip: {
          backgroundColor: p.panel,
          borderColor: p.line,
          textStyle: { color: p.ink, fontSize: 12 },
          confine: true,
          formatter: ({ data: { pool } }: { data: { pool: SpotPool } }) => `${pool.instance_type} in ${pool.availability_zone}<br>${riskText(pool)} a day, ${count(pool.nodes)} nodes`,
        },
        xAxis: { type: 'category', data: zones, position: 'top', axisLine: { show: false }, axisTick: { show: false }, axisLabel: { ...text, interval: 0, fontSize: 10 }, splitArea: { show: false } },
        yAxis: { type: 'category', data: types, inverse: true, axisLine: { show: false }, axisTick: { show: false }, axisLabel: text },
        visualMap: {
          show: false,
          type: 'piecewise',
          dimension: 2,
          pieces: [
            { lt: 0, color: p.line },
            { gte: 0, lt: 0.03, color: mix(p.saved, p.panel, 0.2) },
            { gte: 0.03, lt: 0.08, color: mix(p.saved, p.panel, 0.45) },
            { gte: 0.08, lt: 0.2, color: mix(p.more[0]!, p.panel, 0.4) },
            { gte: 0.2, color: mix(p.more[2]!, p.panel, 0.42) },
          ],
        },
        series: [
          {
            type: 'heatmap',
            data,
            itemStyle: { borderColor: p.panel, borderWidth: 2, borderRadius: 4 },
            label: { show: true, color: p.ink, fontSize: 12, formatter: ({ data: { pool } }: { data: { pool: SpotPool } }) => `${riskText(pool)}  ·  ${pool.nodes}` },
            emphasis: { itemStyle: { borderColor: p.ink } },
          },
        ],
      }
    },
    [pools, types, zones],
  )
  return (
    <Chart
      label={`Risk of interruption by instance type and zone, ${pools.length} pools`}
      draw={draw}
      height={Math.max(120, 34 + types.length * 30)}
      twin={{
        columns: ['Type', 'Zone', 'Risk a day', 'Nodes'],
        rows: pools.map((each) => [each.instance_type, each.availability_zone, riskText(each), each.nodes]),
      }}
      legend={
        <ul className="flex flex-wrap gap-x-4 gap-y-1 text-ink-2">
          {[
            ['below 3%', 'color-mix(in srgb, var(--c-saved) 20%, var(--panel))'],
            ['3–8%', 'color-mix(in srgb, var(--c-saved) 45%, var(--panel))'],
            ['8–20%', 'color-mix(in srgb, var(--c-3) 40%, var(--panel))'],
            ['20% and more', 'color-mix(in srgb, var(--c-5) 42%, var(--panel))'],
            ['not known', 'var(--line)'],
          ].map(([name, colour]) => (
            <li key={name} className="inline-flex items-center gap-1.5">
              <span aria-hidden="true" className="size-2.5 rounded-sm" style={{ background: colour }} /> {name}
            </li>
          ))}
          <li className="text-ink-3">number: nodes{hidden > 0 && `; ${hidden} types with fewer nodes are in the table alone`}</li>
        </ul>
      }
    />
  )
}

const riskText = (pool: SpotPool) => (pool.interruption_risk === null || pool.interruption_risk === undefined ? '?' : percent(pool.interruption_risk))

function axes(pools: SpotPool[]) {
  const nodes = new Map<string, number>()
  for (const each of pools) nodes.set(each.instance_type, (nodes.get(each.instance_type) ?? 0) + each.nodes)
  const types = [...nodes].toSorted((a, b) => b[1] - a[1] || a[0].localeCompare(b[0])).map(([type]) => type)
  const zones = [...new Set(pools.map((each) => each.availability_zone))].toSorted()
  return { types: types.slice(0, most), zones, hidden: Math.max(0, types.length - most) }
}

/** Mixes two colours written as #rgb or #rrggbb: so much of the first. */
function mix(a: string, b: string, share: number): string {
  const parts = (hex: string) => (hex.length === 4 ? [1, 2, 3].map((at) => Number.parseInt(hex[at]!.repeat(2), 16)) : [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16)))
  const [x, y] = [parts(a), parts(b)]
  return `#${x.map((each, i) => Math.round(each * share + y[i]! * (1 - share)).toString(16).padStart(2, '0')).join('')}`
}
