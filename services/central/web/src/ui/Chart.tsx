import { useEffect, useRef, useState, type ReactNode } from 'react'
import { useTheme } from '@/shell/theme'
import { Button } from './Button'
import { Skeleton } from './Empty'

/** The same numbers as the chart, for who wants to read them. */
export interface Twin {
  columns: string[]
  rows: (string | number)[][]
}

/** The theme's colours, as a chart needs them. */
export interface Palette {
  ink: string
  faint: string
  line: string
  panel: string
  spot: string
  demand: string
  saved: string
  base: string
  more: string[]
}

/** An ECharts option made of the theme's colours. */
export type Draw = (palette: Palette) => Record<string, unknown>

interface Props {
  /** What it shows, in a sentence: its text for screen readers. */
  label: string
  draw: Draw
  twin: Twin
  height?: number
  /** Stands left of the switch to the table. */
  legend?: ReactNode
}

function palette(): Palette {
  const css = getComputedStyle(document.documentElement)
  const of = (name: string) => css.getPropertyValue(name).trim()
  return {
    ink: of('--ink-2'),
    faint: of('--ink-3'),
    line: of('--line'),
    panel: of('--panel'),
    spot: of('--c-spot'),
    demand: of('--c-demand'),
    saved: of('--c-saved'),
    base: of('--c-base'),
    more: [of('--c-3'), of('--c-4'), of('--c-5')],
  }
}

/** A chart with a table twin. ECharts comes in a chunk of its own when the first chart is shown. */
export function Chart({ label, draw, twin, height = 240, legend }: Props) {
  const [asTable, setAsTable] = useState(false)
  return (
    <figure>
      <div className="mb-2 flex items-center justify-between gap-3">
        <div className="min-w-0 text-sm">{legend}</div>
        <Button small kind="ghost" icon={asTable ? 'chart' : 'table'} onClick={() => setAsTable(!asTable)} aria-pressed={asTable}>
          {asTable ? 'Chart' : 'Table'}
        </Button>
      </div>
      {asTable ? <TwinTable label={label} twin={twin} height={height} /> : <Drawn label={label} draw={draw} height={height} />}
    </figure>
  )
}

function Drawn({ label, draw, height }: { label: string; draw: Draw; height: number }) {
  const box = useRef<HTMLDivElement>(null)
  const [chart, setChart] = useState<{ setOption: (option: object, notMerge: boolean) => void } | null>(null)
  const { shown: theme } = useTheme()

  useEffect(() => {
    let gone = false
    let dispose = () => {}
    void import('./echarts').then(({ init }) => {
      if (gone || !box.current) return
      const made = init(box.current)
      const watch = new ResizeObserver(() => made.resize())
      watch.observe(box.current)
      dispose = () => {
        watch.disconnect()
        made.dispose()
      }
      setChart(made)
    })
    return () => {
      gone = true
      dispose()
    }
  }, [])

  // oxlint-disable-next-line react/exhaustive-deps -- the theme is not read here, but its colours are
  useEffect(() => {
    chart?.setOption({ animation: false, ...draw(palette()) }, true)
  }, [chart, draw, theme])

  return (
    <div className="relative" style={{ height }}>
      {!chart && <Skeleton lines={5} className="absolute inset-0 justify-center" />}
      <div ref={box} role="img" aria-label={label} className="size-full" />
    </div>
  )
}

function TwinTable({ label, twin, height }: { label: string; twin: Twin; height: number }) {
  return (
    // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- what scrolls must be reachable by keyboard
    <div tabIndex={0} role="region" aria-label={label} className="overflow-auto" style={{ height }}>
      <table className="w-full text-left text-sm">
        <thead className="sticky top-0 bg-panel">
          <tr>
            {twin.columns.map((name, i) => (
              <th key={name} scope="col" className={i === 0 ? 'py-1 pr-3 font-medium text-ink-3' : 'px-3 py-1 text-right font-medium text-ink-3'}>
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {twin.rows.map((row) => (
            <tr key={row.join('|')} className="border-t border-line/70">
              {row.map((cell, i) => (
                <td key={twin.columns[i]} className={i === 0 ? 'py-1 pr-3' : 'px-3 py-1 text-right'}>
                  {cell}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

/** Axes, grid and tooltip as all charts of the product have them. */
export function frame(p: Palette, more: { money?: (value: number) => string; category?: string[] } = {}): Record<string, unknown> {
  const text = { color: p.faint, fontSize: 11, fontFamily: 'system-ui, sans-serif' }
  return {
    grid: { left: 4, right: 8, top: 12, bottom: 4, containLabel: true },
    tooltip: {
      trigger: 'axis',
      backgroundColor: p.panel,
      borderColor: p.line,
      textStyle: { color: p.ink, fontSize: 12 },
      confine: true,
      valueFormatter: more.money ? (value: unknown) => (typeof value === 'number' ? more.money!(value) : '–') : undefined,
    },
    xAxis: {
      type: 'category',
      data: more.category,
      axisLine: { lineStyle: { color: p.line } },
      axisTick: { show: false },
      axisLabel: { ...text, hideOverlap: true },
    },
    yAxis: {
      type: 'value',
      splitLine: { lineStyle: { color: p.line } },
      axisLabel: { ...text, formatter: more.money },
      splitNumber: 4,
    },
  }
}

/** A legend of coloured squares. */
export function Legend({ items }: { items: [name: string, className: string][] }) {
  return (
    <ul className="flex flex-wrap gap-x-4 gap-y-1 text-ink-2">
      {items.map(([name, className]) => (
        <li key={name} className="inline-flex items-center gap-1.5">
          <span aria-hidden="true" className={`size-2.5 rounded-sm ${className}`} />
          {name}
        </li>
      ))}
    </ul>
  )
}
