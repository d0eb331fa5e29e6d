import type { ReactNode } from 'react'
import { cx } from './cx'

export type Tone = 'plain' | 'ok' | 'warn' | 'bad' | 'info' | 'accent'

const tones: Record<Tone, string> = {
  plain: 'bg-sunk text-ink-2',
  ok: 'bg-ok-soft text-ok',
  warn: 'bg-warn-soft text-warn',
  bad: 'bg-bad-soft text-bad',
  info: 'bg-info-soft text-info',
  accent: 'bg-accent-soft text-accent',
}

const dots: Record<Tone, string> = { plain: 'bg-line-strong', ok: 'bg-ok', warn: 'bg-warn', bad: 'bg-bad', info: 'bg-info', accent: 'bg-accent' }

/** A word of state. */
export function Badge({ tone = 'plain', children, className }: { tone?: Tone; children: ReactNode; className?: string }) {
  return <span className={cx('inline-flex h-5 items-center gap-1 rounded-sm px-1.5 text-xs font-medium whitespace-nowrap', tones[tone], className)}>{children}</span>
}

/** A dot with a word: colour never speaks alone. */
export function Dot({ tone, children, pulse }: { tone: Tone; children?: ReactNode; pulse?: boolean }) {
  return (
    <span className="inline-flex items-baseline gap-1.5">
      <span aria-hidden="true" className={cx('size-2 shrink-0 rounded-full', dots[tone], pulse && 'pulse')} />
      {children}
    </span>
  )
}
