import { lazy, Suspense, useEffect, useState } from 'react'
import { Icon } from '@/ui/Icon'
import { LiveDot } from './LiveDot'
import { ScopePicker } from './ScopePicker'
import { StopAll } from './StopAll'
import { UserMenu } from './UserMenu'

const Palette = lazy(() => import('./Palette').then((module) => ({ default: module.Palette })))
const apple = /Mac|iPhone|iPad/.test(navigator.userAgent)

/** What is looked at, search, the line's state, the stop and the caller. */
export function TopBar() {
  const [open, setOpen] = useState(false)
  const [used, setUsed] = useState(false)
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      if (event.key.toLowerCase() !== 'k' || !(event.metaKey || event.ctrlKey)) return
      event.preventDefault()
      setUsed(true)
      setOpen((now) => !now)
    }
    window.addEventListener('keydown', press)
    return () => window.removeEventListener('keydown', press)
  }, [])
  return (
    <header className="flex h-14 shrink-0 items-center gap-3 border-b border-line bg-panel px-4 lg:px-6">
      <ScopePicker />
      <button
        type="button"
        onClick={() => {
          setUsed(true)
          setOpen(true)
        }}
        className="hidden h-8 w-64 items-center gap-2 rounded-md border border-line bg-sunk px-2.5 text-sm text-ink-3 hover:border-line-strong md:flex"
      >
        <Icon name="search" size={14} />
        <span className="flex-1 text-left">Search or jump to</span>
        <kbd className="rounded-sm border border-line bg-panel px-1.5 font-sans text-xs">{apple ? '⌘K' : 'Ctrl K'}</kbd>
      </button>
      <div className="flex-1" />
      <LiveDot />
      <StopAll />
      <UserMenu />
      {used && (
        <Suspense fallback={null}>
          <Palette open={open} onClose={() => setOpen(false)} />
        </Suspense>
      )}
    </header>
  )
}
