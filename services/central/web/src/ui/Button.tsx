import type { ButtonHTMLAttributes, ReactNode } from 'react'
import { cx } from './cx'
import { Icon, type IconName } from './Icon'
import { Tip } from './Tip'

export type ButtonKind = 'plain' | 'primary' | 'danger' | 'caution' | 'ghost'

const kinds: Record<ButtonKind, string> = {
  plain: 'border-line-strong bg-panel text-ink hover:bg-hover',
  primary: 'border-transparent bg-accent text-on-accent hover:bg-accent-hover',
  danger: 'border-transparent bg-bad text-on-danger hover:bg-bad-hover',
  caution: 'border-line-strong bg-panel text-bad hover:border-bad hover:bg-bad-soft',
  ghost: 'border-transparent bg-transparent text-ink-2 hover:bg-hover hover:text-ink',
}

/** The look of a button, for links that act as one. */
export function buttonClass(kind: ButtonKind = 'plain', small = false): string {
  return cx(
    'inline-flex shrink-0 items-center justify-center gap-1.5 rounded-md border font-medium whitespace-nowrap transition-colors select-none',
    small ? 'h-7 px-2 text-sm' : 'h-8 px-3 text-sm',
    kinds[kind],
    'aria-disabled:cursor-not-allowed aria-disabled:opacity-50',
  )
}

interface Props extends Omit<ButtonHTMLAttributes<HTMLButtonElement>, 'disabled'> {
  kind?: ButtonKind
  small?: boolean
  icon?: IconName
  /** It works: no second press. */
  busy?: boolean
  /** Why it cannot be pressed; shown on hover and focus, so it stays focusable. */
  whyNot?: string
  /** Name of a button that shows only an icon. */
  label?: string
  children?: ReactNode
}

/** A button. One that may not be pressed says why. */
export function Button({ kind = 'plain', small, icon, busy, whyNot, label, className, children, onClick, type = 'button', ...rest }: Props) {
  const blocked = Boolean(whyNot) || busy
  const button = (
    // oxlint-disable-next-line react/button-has-type -- type has a default above
    <button
      type={type}
      aria-disabled={blocked || undefined}
      aria-busy={busy || undefined}
      aria-label={label}
      className={cx(buttonClass(kind, small), !children && (small ? 'w-7 px-0!' : 'w-8 px-0!'), className)}
      onClick={(event) => {
        if (blocked) event.preventDefault()
        else onClick?.(event)
      }}
      {...rest}
    >
      {busy ? <Icon name="refresh" className="spin" size={14} /> : icon && <Icon name={icon} size={small ? 14 : 15} />}
      {children}
    </button>
  )
  const tip = whyNot ?? (children ? undefined : label)
  return tip ? <Tip text={tip}>{button}</Tip> : button
}
