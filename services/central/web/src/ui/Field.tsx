import { useId, type ComponentProps, type ReactNode } from 'react'
import { cx } from './cx'
import { Icon } from './Icon'

export const inputClass =
  'h-8 w-full min-w-0 rounded-md border border-line-strong bg-panel px-2.5 text-sm text-ink placeholder:text-ink-3 aria-invalid:border-bad disabled:opacity-60'

interface FieldProps {
  label: string
  hint?: ReactNode
  /** What is wrong with the value. */
  error?: string
  children: (ids: { id: string; 'aria-describedby'?: string; 'aria-invalid'?: true }) => ReactNode
  className?: string
}

/** A label, its control, a hint and what is wrong. */
export function Field({ label, hint, error, children, className }: FieldProps) {
  const id = useId()
  const about = error ? `${id}-error` : hint ? `${id}-hint` : undefined
  return (
    <div className={cx('flex flex-col gap-1', className)}>
      <label htmlFor={id} className="text-sm font-medium">
        {label}
      </label>
      {children({ id, 'aria-describedby': about, 'aria-invalid': error ? true : undefined })}
      {error ? (
        <p id={`${id}-error`} className="flex items-center gap-1 text-sm text-bad">
          <Icon name="error" size={13} />
          {error}
        </p>
      ) : (
        hint && (
          <p id={`${id}-hint`} className="text-sm text-ink-3">
            {hint}
          </p>
        )
      )}
    </div>
  )
}

export function Input({ className, ...rest }: ComponentProps<'input'>) {
  return <input className={cx(inputClass, className)} {...rest} />
}

export function TextArea({ className, ...rest }: ComponentProps<'textarea'>) {
  return <textarea className={cx(inputClass, 'h-auto py-1.5', className)} rows={3} {...rest} />
}

/** The browser's own select: keyboards, screen readers and phones know it. */
export function Select({ className, children, ...rest }: ComponentProps<'select'>) {
  return (
    <span className={cx('relative inline-flex min-w-0', className)}>
      <select className={cx(inputClass, 'appearance-none pr-7')} {...rest}>
        {children}
      </select>
      <Icon name="down" size={14} className="pointer-events-none absolute top-1/2 right-2 -translate-y-1/2 text-ink-3" />
    </span>
  )
}

/** A choice of one in a filter bar; the empty value is "all". */
export function Choice<T extends string>({ label, value, options, onChange }: { label: string; value: T | ''; options: [value: T | '', text: string][]; onChange: (value: T | '') => void }) {
  return (
    <Select aria-label={label} value={value} onChange={(event) => onChange(event.target.value as T | '')}>
      {options.map(([each, text]) => (
        <option key={each} value={each}>
          {text}
        </option>
      ))}
    </Select>
  )
}

export function Check({ label, hint, ...rest }: { label: ReactNode; hint?: ReactNode } & ComponentProps<'input'>) {
  const id = useId()
  return (
    <label htmlFor={id} className="flex min-h-6 items-start gap-2 py-0.5 text-sm">
      <input id={id} type="checkbox" className="mt-0.5 size-4 shrink-0 accent-accent" {...rest} />
      <span className="min-w-0">
        {label}
        {hint && <span className="block text-ink-3">{hint}</span>}
      </span>
    </label>
  )
}

/** A search box that tells of what was typed. */
export function Search({ value, onChange, label, className }: { value: string; onChange: (value: string) => void; label: string; className?: string }) {
  return (
    <span className={cx('relative inline-flex', className)}>
      <Icon name="search" size={14} className="pointer-events-none absolute top-1/2 left-2.5 -translate-y-1/2 text-ink-3" />
      <input type="search" aria-label={label} placeholder={label} value={value} onChange={(event) => onChange(event.target.value)} className={cx(inputClass, 'w-56 pl-8')} />
    </span>
  )
}
