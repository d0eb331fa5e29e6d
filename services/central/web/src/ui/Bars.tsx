import { percent } from '@/format/money'
import { cx } from './cx'

/** A share of something, as a bar with its number. Above 1 it is full and red. */
export function Share({ ratio, label, tone = 'accent' }: { ratio?: number | null; label: string; tone?: 'accent' | 'ok' | 'warn' | 'bad' }) {
  if (ratio === undefined || ratio === null) return <span className="text-ink-3">–</span>
  const fill = { accent: 'bg-spot', ok: 'bg-saved', warn: 'bg-warn', bad: 'bg-bad' }[ratio > 1 ? 'bad' : tone]
  return (
    <span className="inline-flex items-center gap-2" title={`${label}: ${percent(ratio)}`}>
      <span aria-hidden="true" className="h-1.5 w-16 overflow-hidden rounded-full bg-sunk ring-1 ring-line ring-inset">
        <span className={cx('block h-full rounded-full', fill)} style={{ width: `${Math.min(1, Math.max(0, ratio)) * 100}%` }} />
      </span>
      <span className="w-9 text-right text-sm">{percent(ratio)}</span>
    </span>
  )
}

/** Parts of a whole side by side, with what they are beneath. */
export function Split({ parts, label }: { parts: { name: string; value: number; text: string; className: string }[]; label: string }) {
  const whole = parts.reduce((sum, part) => sum + Math.max(0, part.value), 0)
  return (
    <div>
      <div role="img" aria-label={`${label}: ${parts.map((part) => `${part.name} ${part.text}`).join(', ')}`} className="flex h-2.5 gap-0.5 overflow-hidden rounded-full bg-sunk">
        {whole > 0 && parts.map((part) => part.value > 0 && <span key={part.name} className={part.className} style={{ width: `${(part.value / whole) * 100}%` }} />)}
      </div>
      <ul className="mt-2 flex flex-wrap gap-x-4 gap-y-1 text-sm">
        {parts.map((part) => (
          <li key={part.name} className="inline-flex items-center gap-1.5 text-ink-2">
            <span aria-hidden="true" className={cx('size-2.5 rounded-sm', part.className)} />
            {part.name} <span className="font-medium text-ink">{part.text}</span>
          </li>
        ))}
      </ul>
    </div>
  )
}
