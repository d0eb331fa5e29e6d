import { ago, atLocal, atShort, atUTC, moment } from '@/format/time'
import { useNow } from '@/live/Live'

type Instant = string | null | undefined

/** A moment in the viewer's zone; UTC on hover. */
export function Time({ at, short = true, none = '–' }: { at: Instant; short?: boolean; none?: string }) {
  const date = moment(at)
  if (!date) return <span className="text-ink-3">{none}</span>
  return (
    <time dateTime={date.toISOString()} title={`${atLocal(date)}\n${atUTC(date)}`} className="whitespace-nowrap">
      {short ? atShort(date) : atLocal(date)}
    </time>
  )
}

/** How long ago a moment was; whole on hover. */
export function Ago({ at, none = 'never' }: { at: Instant; none?: string }) {
  const now = useNow()
  const date = moment(at)
  if (!date) return <span className="text-ink-3">{none}</span>
  return (
    <time dateTime={date.toISOString()} title={`${atLocal(date)}\n${atUTC(date)}`} className="whitespace-nowrap">
      {ago(date, now)}
    </time>
  )
}
