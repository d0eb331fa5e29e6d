import type { OpenSpan } from '@/api/schema'
import { Button } from '@/ui/Button'
import { cx } from '@/ui/cx'
import { Input } from '@/ui/Field'
import { dayNames, dayRanges, daysOf, lengthOf, minutesOf } from './week'

const time = /^([01]\d|2[0-3]):[0-5]\d$/
const endTime = /^(([01]\d|2[0-3]):[0-5]\d|24:00)$/

/** What is wrong with spans as typed; undefined: nothing. */
export function spansFault(spans: readonly OpenSpan[], most: number): string | undefined {
  if (spans.length > most) return `At most ${most} spans are allowed; these are ${spans.length}.`
  for (const span of spans) {
    if (span.days.length === 0) return 'A span needs a day.'
    if (!time.test(span.from)) return `“${span.from}” is no time from 00:00 to 23:59.`
    if (!endTime.test(span.to)) return `“${span.to}” is no time from 00:00 to 24:00.`
  }
  return undefined
}

/** Spans by the minute: the same as the grid, for times between half hours and for who would rather type. */
export function SpanRows({ spans, onChange }: { spans: OpenSpan[]; onChange: (spans: OpenSpan[]) => void }) {
  const change = (index: number, to: Partial<OpenSpan>) => onChange(spans.map((span, i) => (i === index ? { ...span, ...to } : span)))
  return (
    <div className="flex flex-col gap-2">
      <ul className="flex flex-col gap-2">
        {spans.map((span, index) => {
          const on = daysOf(span.days)
          const over = time.test(span.from) && endTime.test(span.to) && minutesOf(span.from) + lengthOf(span) > 1440
          return (
            // oxlint-disable-next-line react/no-array-index-key -- spans have no names and do not move
            <li key={index} className="flex flex-wrap items-center gap-2">
              <span role="group" aria-label={`Days of span ${index + 1}`} className="flex flex-wrap gap-1">
                {dayNames.map((name, day) => (
                  <button
                    key={name}
                    type="button"
                    aria-pressed={on.includes(day)}
                    onClick={() => change(index, { days: dayRanges(on.includes(day) ? on.filter((each) => each !== day) : [...on, day].toSorted((a, b) => a - b)) })}
                    className={cx('h-8 rounded-md border px-1.5 text-sm sm:px-2', on.includes(day) ? 'border-accent bg-accent-soft font-medium text-accent' : 'border-line-strong text-ink-2 hover:bg-hover')}
                  >
                    {name}
                  </button>
                ))}
              </span>
              <span className="flex items-center gap-1.5">
                <Input aria-label={`Begin of span ${index + 1}`} value={span.from} maxLength={5} aria-invalid={!time.test(span.from) || undefined} className="w-18!" onChange={(event) => change(index, { from: event.target.value })} />
                to
                <Input aria-label={`End of span ${index + 1}`} value={span.to} maxLength={5} aria-invalid={!endTime.test(span.to) || undefined} className="w-18!" onChange={(event) => change(index, { to: event.target.value })} />
              </span>
              {over && <span className="text-sm text-ink-3">ends the next day</span>}
              <Button small kind="ghost" icon="trash" label={`Remove span ${index + 1}`} onClick={() => onChange(spans.filter((_, i) => i !== index))} />
            </li>
          )
        })}
      </ul>
      <div>
        <Button small icon="plus" onClick={() => onChange([...spans, { days: ['mon-fri'], from: '08:00', to: '18:00' }])}>
          Add a span
        </Button>
      </div>
    </div>
  )
}
