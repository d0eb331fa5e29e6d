import { cx } from './cx'

/** One of a few, all in sight. */
export function Switch<T extends string>({ label, options, value, onChange }: { label: string; options: [value: T, text: string][]; value: T; onChange: (value: T) => void }) {
  return (
    <div role="group" aria-label={label} className="inline-flex rounded-md border border-line-strong bg-panel p-0.5">
      {options.map(([each, text]) => (
        <button
          key={each}
          type="button"
          aria-pressed={each === value}
          onClick={() => onChange(each)}
          className={cx('h-6.5 rounded-sm px-2.5 text-sm font-medium whitespace-nowrap', each === value ? 'bg-accent-soft text-accent' : 'text-ink-2 hover:text-ink')}
        >
          {text}
        </button>
      ))}
    </div>
  )
}
