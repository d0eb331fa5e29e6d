import { useMemo, useRef, useState, type KeyboardEvent, type PointerEvent } from 'react'
import type { OpenSpan } from '@/api/schema'
import { atShort, viewerZone } from '@/format/time'
import { decimal } from '@/format/money'
import { useNow } from '@/live/Live'
import { Button } from '@/ui/Button'
import { cx } from '@/ui/cx'
import { cellMinutes, cellsOf, cellsPerDay, dayNames, hoursIn, noCells, onGrid, spansOf, spansText, timeOf, type Cells } from './week'
import { isZone, localIn, nextClockChange, offsetMinutes, offsetText } from './zone'

interface Props {
  label: string
  spans: OpenSpan[]
  /** Without: the grid is only shown. */
  onChange?: (spans: OpenSpan[]) => void
  zone: string
  /** What painted and unpainted half hours mean, e.g. awake and asleep. */
  words: [on: string, off: string]
  presets?: [name: string, spans: OpenSpan[]][]
}

/** A rectangle of the grid: the days and half hours between two cells. */
interface Box {
  from: number
  to: number
}

const dayOf = (cell: number) => Math.floor(cell / cellsPerDay)
const columnOf = (cell: number) => cell % cellsPerDay

function inBox(box: Box | null, cell: number): boolean {
  if (!box) return false
  const between = (a: number, b: number, x: number) => x >= Math.min(a, b) && x <= Math.max(a, b)
  return between(dayOf(box.from), dayOf(box.to), dayOf(cell)) && between(columnOf(box.from), columnOf(box.to), columnOf(cell))
}

function boxText({ from, to }: Box, shift = 0): string {
  const [first, last] = [Math.min(dayOf(from), dayOf(to)), Math.max(dayOf(from), dayOf(to))]
  const begin = Math.min(columnOf(from), columnOf(to)) * cellMinutes
  const end = (Math.max(columnOf(from), columnOf(to)) + 1) * cellMinutes
  const moved = (minutes: number) => (((minutes + shift) % 1440) + 1440) % 1440
  const by = Math.floor((begin + shift) / 1440)
  const day = (each: number) => dayNames[(each + by + 7) % 7]
  const on = first === last ? day(first) : `${day(first)}–${day(last)}`
  return `${on} ${timeOf(moved(begin))}–${shift === 0 && end === 1440 ? '24:00' : timeOf(moved(end))}`
}

/** A week in half hours, painted with the pointer or the keyboard, read in the calendar's zone and in the viewer's. */
export function WeekGrid({ label, spans, onChange, zone, words, presets }: Props) {
  const now = useNow()
  const grid = useRef<HTMLDivElement>(null)
  const [focus, setFocus] = useState(16)
  const [box, setBox] = useState<Box | null>(null)
  const dragging = useRef<{ value: boolean } | null>(null)
  const cells = useMemo(() => cellsOf(spans), [spans])
  const known = isZone(zone)
  const viewer = viewerZone()
  const minute = Math.floor(now / 60_000)
  const shift = useMemo(() => (known ? offsetMinutes(viewer, new Date(minute * 60_000)) - offsetMinutes(zone, new Date(minute * 60_000)) : 0), [known, viewer, zone, minute])
  const here = useMemo(() => {
    if (!known) return -1
    const { day, minutes } = localIn(zone, new Date(minute * 60_000))
    return day * cellsPerDay + Math.floor(minutes / cellMinutes)
  }, [known, zone, minute])

  const fill = (area: Box, value: boolean) => onChange?.(spansOf(cells.map((each, cell) => (inBox(area, cell) ? value : each))))
  const move = (to: number, extend: boolean) => {
    setFocus(to)
    setBox(extend ? { from: box?.from ?? focus, to } : null)
    grid.current?.querySelector<HTMLElement>(`[data-cell="${to}"]`)?.focus()
  }
  const press = (event: KeyboardEvent) => {
    const column = columnOf(focus)
    const to = {
      ArrowRight: column < cellsPerDay - 1 ? focus + 1 : focus,
      ArrowLeft: column > 0 ? focus - 1 : focus,
      ArrowDown: focus + cellsPerDay < cells.length ? focus + cellsPerDay : focus,
      ArrowUp: focus - cellsPerDay >= 0 ? focus - cellsPerDay : focus,
      Home: dayOf(focus) * cellsPerDay,
      End: dayOf(focus) * cellsPerDay + cellsPerDay - 1,
    }[event.key]
    if (to !== undefined) {
      event.preventDefault()
      move(to, event.shiftKey)
    } else if (event.key === ' ' || event.key === 'Enter') {
      event.preventDefault()
      const area = box ?? { from: focus, to: focus }
      fill(area, !cells[area.from])
      setBox(null)
    } else if (event.key === 'Escape' && box) {
      event.stopPropagation()
      setBox(null)
    }
  }
  const cellAt = (event: PointerEvent): number | undefined => {
    const found = document.elementFromPoint(event.clientX, event.clientY)?.closest<HTMLElement>('[data-cell]')
    return found && grid.current?.contains(found) ? Number(found.dataset.cell) : undefined
  }
  const pointer = onChange && {
    onPointerDown: (event: PointerEvent) => {
      const cell = cellAt(event)
      if (cell === undefined || event.button !== 0) return
      event.preventDefault()
      grid.current?.setPointerCapture(event.pointerId)
      dragging.current = { value: !cells[cell] }
      setFocus(cell)
      setBox({ from: cell, to: cell })
    },
    onPointerMove: (event: PointerEvent) => {
      const cell = dragging.current ? cellAt(event) : undefined
      if (cell !== undefined && box && cell !== box.to) setBox({ from: box.from, to: cell })
    },
    onPointerUp: () => {
      if (dragging.current && box) fill(box, dragging.current.value)
      dragging.current = null
      setBox(null)
    },
    onPointerCancel: () => {
      dragging.current = null
      setBox(null)
    },
  }
  const read = box ?? { from: focus, to: focus }
  return (
    <div className="flex flex-col gap-2">
      {onChange && presets && (
        <div role="group" aria-label="Begin with" className="flex flex-wrap items-center gap-1.5 text-sm">
          <span className="text-ink-3">Begin with</span>
          {presets.map(([name, to]) => (
            <Button key={name} small onClick={() => onChange(to)}>
              {name}
            </Button>
          ))}
        </div>
      )}
      {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- what scrolls must be reachable by keyboard */}
      <div className="overflow-x-auto pb-1" tabIndex={onChange ? undefined : 0} role="group" aria-label={`${label}, scrolls sideways`}>
        <div className="min-w-[44rem]">
          <Hours name={zone || 'No zone'} />
          <div
            ref={grid}
            role="grid"
            tabIndex={-1}
            aria-label={label}
            aria-readonly={!onChange || undefined}
            aria-multiselectable="true"
            onKeyDown={onChange && press}
            onFocus={(event) => {
              // Screen readers and scripts move the focus by themselves; keys go on from where it is.
              const cell = event.target.dataset.cell
              if (cell !== undefined && Number(cell) !== focus && !dragging.current) setFocus(Number(cell))
            }}
            {...pointer}
            className={cx('flex flex-col gap-px rounded-md bg-line p-px select-none', onChange && 'cursor-crosshair sm:touch-none')}
          >
            {dayNames.map((day, index) => (
              <div key={day} role="row" className="flex gap-px">
                <span role="rowheader" className="w-14 shrink-0 self-stretch bg-panel px-2 text-sm leading-7 text-ink-2">
                  {day}
                </span>
                {Array.from({ length: cellsPerDay }, (_, column) => (
                  <Cell
                    key={column}
                    cell={index * cellsPerDay + column}
                    on={cells[index * cellsPerDay + column]!}
                    boxed={inBox(box, index * cellsPerDay + column)}
                    here={here === index * cellsPerDay + column}
                    focusable={Boolean(onChange) && focus === index * cellsPerDay + column}
                    words={words}
                  />
                ))}
              </div>
            ))}
          </div>
          {shift !== 0 && <Hours name={`You: ${viewer}`} shift={shift} below />}
        </div>
      </div>
      <p className="flex min-h-5 flex-wrap gap-x-4 text-sm text-ink-2" aria-live="polite">
        {onChange ? (
          <span className="font-medium text-ink">
            {boxText(read)}, {box ? `becomes ${cells[read.from] ? words[1] : words[0]}` : cells[read.from] ? words[0] : words[1]}
            {shift !== 0 && <span className="font-normal text-ink-3"> ({boxText(read, shift)} for you)</span>}
          </span>
        ) : (
          <span>{spansText(spans)}</span>
        )}
      </p>
      <div className="flex flex-wrap gap-x-4 gap-y-1 text-sm text-ink-3">
        <span className="inline-flex items-center gap-1.5">
          <span aria-hidden="true" className="size-2.5 rounded-sm bg-spot" /> {words[0]}, {decimal(hoursIn(spans))} h a week
        </span>
        <span className="inline-flex items-center gap-1.5">
          <span aria-hidden="true" className="size-2.5 rounded-sm bg-sunk ring-1 ring-line-strong ring-inset" /> {words[1]}
        </span>
        {here >= 0 && (
          <span className="inline-flex items-center gap-1.5">
            <span aria-hidden="true" className="h-3 w-0.5 bg-bad" /> now
          </span>
        )}
        {onChange && <span><span className="max-sm:hidden">Drag over days and hours to paint. Keyboard: arrows move, Shift with arrows selects, Space paints.</span><span className="sm:hidden">Tap a half hour to paint it. “Exact times” is easier on a narrow screen.</span></span>}
      </div>
      {onChange && !onGrid(spans) && (
        <p className="text-sm text-warn">Some times lie between half hours. They are kept until you paint; then begun half hours count whole. “Exact times” changes them by the minute.</p>
      )}
      {known && <Clocks zone={zone} viewer={viewer} shift={shift} at={minute * 60_000} />}
    </div>
  )
}

function Cell({ cell, on, boxed, here, focusable, words }: { cell: number; on: boolean; boxed: boolean; here: boolean; focusable: boolean; words: [string, string] }) {
  return (
    <span
      role="gridcell"
      data-cell={cell}
      tabIndex={focusable ? 0 : -1}
      aria-selected={on}
      aria-label={`${dayNames[dayOf(cell)]} ${timeOf(columnOf(cell) * cellMinutes)}, ${on ? words[0] : words[1]}${here ? ', now' : ''}`}
      className={cx(
        'relative h-7 flex-1 outline-offset-[-2px]!',
        on ? 'bg-spot' : columnOf(cell) % 2 === 0 ? 'bg-sunk' : 'bg-panel',
        boxed && 'shadow-[inset_0_0_0_2px_var(--ink)]',
        here && 'after:absolute after:inset-y-0 after:left-1/2 after:w-0.5 after:bg-bad',
      )}
    />
  )
}

function Hours({ name, shift = 0, below }: { name: string; shift?: number; below?: boolean }) {
  return (
    <div aria-hidden="true" className={cx('text-xs text-ink-3', below ? 'mt-1' : 'mb-1')}>
      {!below && <p className="mb-0.5 font-medium text-ink-2">{name}</p>}
      <div className="flex pl-14">
        {Array.from({ length: 12 }, (_, i) => {
          const minutes = i * 120 + shift
          const text = timeOf(((minutes % 1440) + 1440) % 1440)
          const days = Math.floor(minutes / 1440)
          // Another day than the row's is marked where it begins.
          const mark = days !== 0 && (i === 0 || days !== Math.floor((minutes - 120) / 1440))
          return (
            <span key={i} className="flex-1 whitespace-nowrap">
              {text}
              {mark && <sup className="ml-0.5">{days > 0 ? '+1 d' : '−1 d'}</sup>}
            </span>
          )
        })}
      </div>
      {below && <p className="mt-0.5 font-medium text-ink-2">{name}</p>}
    </div>
  )
}

function Clocks({ zone, viewer, shift, at }: { zone: string; viewer: string; shift: number; at: number }) {
  const day = Math.floor(at / 86_400_000)
  const change = useMemo(() => nextClockChange(zone, new Date(day * 86_400_000)), [zone, day])
  const offset = offsetText(offsetMinutes(zone, new Date(at)))
  return (
    <p className="text-sm text-ink-3">
      {zone} is {offset} now
      {zone !== viewer && `, ${shift === 0 ? 'the same time as yours' : `you (${viewer}) are ${offsetText(offsetMinutes(viewer, new Date(at)))}`}`}.{' '}
      {change ? `Its clocks change ${atShort(change)}; times here stay local.` : 'Its clocks do not change.'}
    </p>
  )
}

/** Weeks that many begin with. */
export const officePresets: [string, OpenSpan[]][] = [
  ['Mon–Fri 8–18', [{ days: ['mon-fri'], from: '08:00', to: '18:00' }]],
  ['Mon–Fri 7–20', [{ days: ['mon-fri'], from: '07:00', to: '20:00' }]],
  ['Every day 8–20', [{ days: ['mon-sun'], from: '08:00', to: '20:00' }]],
  ['Nothing', spansOf(noCells as Cells)],
]
