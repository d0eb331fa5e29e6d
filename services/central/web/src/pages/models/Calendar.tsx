import { useMemo, useState } from 'react'
import type { AnalyzeGapsResponse } from '@/api/schema'
import { count, percent } from '@/format/money'
import { onUTCDay } from '@/format/time'
import { Button } from '@/ui/Button'
import { cx } from '@/ui/cx'
import { Empty } from '@/ui/Empty'
import { calendarOf, causes, type DayCell } from './gaps'

/** Colours of causes; what did not exist is no fault and stays pale. */
const colours: Record<string, string> = {
  agent_down: 'var(--c-5)',
  scrape_failed: 'var(--c-3)',
  refused: 'var(--c-4)',
  not_existing: 'var(--line-strong)',
  not_kept: 'var(--c-base)',
  unknown: 'var(--c-demand)',
}

const step = 40

/** Series by days, coloured by why something is missing and by how much. */
export function Calendar({ found }: { found: AnalyzeGapsResponse }) {
  const [shown, setShown] = useState(step)
  const calendar = useMemo(() => calendarOf(found.gaps, found.series, found.start ?? '', found.end ?? ''), [found])
  const rows = calendar.series.slice(0, shown)
  const seen = Object.keys(causes).filter((cause) => calendar.series.some((row) => row.cells.some((cell) => cell.cause === cause)))
  if (calendar.series.length === 0)
    return (
      <Empty compact icon="data" title="There is nothing to look at yet">
        No series was recorded in this span. Connect a cluster first.
      </Empty>
    )
  return (
    <figure className="flex flex-col gap-3">
      <ul aria-label="Causes" className="flex flex-wrap gap-x-4 gap-y-1 text-sm text-ink-2">
        <li className="inline-flex items-center gap-1.5">
          <span aria-hidden="true" className="size-2.5 rounded-sm bg-saved/45" /> Whole
        </li>
        {seen.map((cause) => (
          <li key={cause} className="inline-flex items-center gap-1.5">
            <span aria-hidden="true" className="size-2.5 rounded-sm" style={{ background: colours[cause] }} /> {causes[cause]}
          </li>
        ))}
      </ul>
      {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- what scrolls must be reachable by keyboard */}
      <div tabIndex={0} role="region" aria-label="Gap calendar, scrolls" className="max-h-[34rem] overflow-auto">
        <table className="w-full border-separate border-spacing-px text-left">
          <caption className="sr-only">Coverage of each series by day of UTC</caption>
          <thead className="sticky top-0 z-10 bg-panel text-xs text-ink-3">
            <tr>
              <th scope="col" className="sticky left-0 z-10 bg-panel pr-3 font-medium">
                Series
              </th>
              <th scope="col" className="pr-3 text-right font-medium">
                Covered
              </th>
              {calendar.days.map((day, i) => (
                <th key={day} scope="col" className="h-6 min-w-3.5 align-bottom font-normal whitespace-nowrap">
                  <span className="sr-only">{day}</span>
                  {i % 7 === 0 && (i === 0 || i < calendar.days.length - 2) && (
                    <span aria-hidden="true" className="block w-0 overflow-visible">
                      {onUTCDay(`${day}T00:00:00Z`)}
                    </span>
                  )}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => (
              <tr key={row.name}>
                <th scope="row" className="sticky left-0 bg-panel pr-3 font-normal">
                  <code className="block max-w-80 truncate font-mono text-xs" title={row.name}>
                    {row.name}
                  </code>
                </th>
                <td className="pr-3 text-right text-sm">{percent(row.coverage)}</td>
                {row.cells.map((cell, i) => (
                  <Day key={calendar.days[i]} day={calendar.days[i]!} cell={cell} />
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {calendar.series.length > shown && (
        <div>
          <Button small onClick={() => setShown(shown + step * 2)}>
            Show more of {count(calendar.series.length)} series
          </Button>
        </div>
      )}
    </figure>
  )
}

function Day({ day, cell }: { day: string; cell: DayCell }) {
  const text = cell.missing === 0 ? `${day}: whole` : `${day}: ${percent(cell.missing)} missing. ${causes[cell.cause] ?? cell.cause}${cell.fillable ? '; can be filled' : ''}`
  return (
    <td title={text} className="p-0">
      <span className="sr-only">{text}</span>
      <span
        aria-hidden="true"
        className={cx('relative block h-4.5 min-w-3.5 overflow-hidden rounded-[2px]', cell.missing === 0 ? 'bg-saved/45' : 'bg-sunk')}
        style={cell.missing > 0 ? { background: `color-mix(in srgb, ${colours[cell.cause] ?? 'var(--c-demand)'} ${Math.round(35 + 65 * cell.missing)}%, var(--panel))` } : undefined}
      >
        {cell.fillable && <span className="absolute bottom-0.5 left-1/2 size-1 -translate-x-1/2 rounded-full bg-panel" />}
      </span>
    </td>
  )
}
