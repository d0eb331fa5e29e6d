import { useId, type ReactNode } from 'react'
import { cx } from './cx'
import { Tip } from './Tip'

interface Props {
  title?: ReactNode
  /** Stands under the title. */
  note?: ReactNode
  /** Stands at the right of the title. */
  actions?: ReactNode
  children?: ReactNode
  className?: string
  /** Without space around the content, for tables. */
  flush?: boolean
}

/** A panel with a heading. */
export function Card({ title, note, actions, children, className, flush }: Props) {
  const id = useId()
  return (
    <section aria-labelledby={title ? id : undefined} className={cx('min-w-0 rounded-lg border border-line bg-panel shadow-panel', className)}>
      {(title || actions) && (
        <header className="flex min-h-12 flex-wrap items-center justify-between gap-x-4 gap-y-1 px-4 py-2.5">
          <div className={cx('min-w-0', Boolean(note) && 'flex-1 basis-64')}>
            <h2 id={id} className="text-base font-semibold">
              {title}
            </h2>
            {note && <p className="text-sm text-ink-3">{note}</p>}
          </div>
          {actions && <div className="flex min-w-0 flex-wrap items-center gap-2">{actions}</div>}
        </header>
      )}
      <div className={flush ? '' : title || actions ? 'px-4 pb-4' : 'p-4'}>{children}</div>
    </section>
  )
}

/** One number that matters, what it is, and how it comes about. */
export function Stat({ label, value, note, formula, tone }: { label: string; value: ReactNode; note?: ReactNode; formula?: string; tone?: 'ok' | 'bad' | 'warn' }) {
  return (
    <div className="min-w-0">
      <dt className="text-sm text-ink-3">
        {formula ? (
          <Tip text={formula}>
            {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- the formula must be reachable by keyboard */}
            <span tabIndex={0} className="cursor-help underline decoration-line-strong decoration-dotted underline-offset-3">
              {label}
            </span>
          </Tip>
        ) : (
          label
        )}
      </dt>
      <dd className={cx('mt-0.5 text-xl font-semibold tracking-tight', tone === 'ok' && 'text-ok', tone === 'bad' && 'text-bad', tone === 'warn' && 'text-warn')}>{value}</dd>
      {note && <dd className="text-sm text-ink-3">{note}</dd>}
    </div>
  )
}

/** Names and values, one a line. */
export function Facts({ facts, className }: { facts: [name: string, value: ReactNode][]; className?: string }) {
  return (
    <dl className={cx('grid grid-cols-[minmax(6.5rem,auto)_minmax(0,1fr)] gap-x-4 gap-y-1.5', className)}>
      {facts.map(([name, value]) => (
        <div key={name} className="contents">
          <dt className="text-ink-3">{name}</dt>
          <dd className="min-w-0 break-words">{value}</dd>
        </div>
      ))}
    </dl>
  )
}
