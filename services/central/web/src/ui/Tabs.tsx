import { useEffect, useRef, type KeyboardEvent, type ReactNode } from 'react'
import { cx } from './cx'

/** Tabs; the one shown is the caller's to keep, in the URL. */
export function Tabs<T extends string>({ label, tabs, shown, onShow, children }: { label: string; tabs: [id: T, text: ReactNode][]; shown: T; onShow: (id: T) => void; children: ReactNode }) {
  const list = useRef<HTMLDivElement>(null)
  // On a narrow screen the tabs scroll; the one that is shown is in sight.
  useEffect(() => {
    const tab = document.getElementById(`tab-${shown}`)
    if (tab && list.current) list.current.scrollLeft = tab.offsetLeft - (list.current.clientWidth - tab.clientWidth) / 2
  }, [shown])
  const walk = (event: KeyboardEvent) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key]
    if (!step) return
    event.preventDefault()
    const index = tabs.findIndex(([id]) => id === shown)
    const next = (index + step + tabs.length) % tabs.length
    onShow(tabs[next]![0])
    list.current?.querySelectorAll<HTMLElement>('[role=tab]')[next]?.focus()
  }
  return (
    <div className="flex flex-col gap-4">
      <div ref={list} role="tablist" tabIndex={-1} aria-label={label} onKeyDown={walk} className="relative flex gap-5 overflow-x-auto border-b border-line">
        {tabs.map(([id, text]) => (
          <button
            key={id}
            type="button"
            role="tab"
            id={`tab-${id}`}
            aria-selected={id === shown}
            aria-controls={`panel-${id}`}
            tabIndex={id === shown ? 0 : -1}
            onClick={() => onShow(id)}
            className={cx('-mb-px h-9 min-w-6 shrink-0 border-b-2 text-sm font-medium whitespace-nowrap', id === shown ? 'border-accent text-ink' : 'border-transparent text-ink-3 hover:text-ink')}
          >
            {text}
          </button>
        ))}
      </div>
      <div role="tabpanel" id={`panel-${shown}`} aria-labelledby={`tab-${shown}`} className="min-w-0">
        {children}
      </div>
    </div>
  )
}
