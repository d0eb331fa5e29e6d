import { lazy, Suspense, useEffect, useState } from 'react'
import { Button } from '@/ui/Button'
import { Icon } from '@/ui/Icon'
import { Drawer } from './Drawer'
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
  const search = () => {
    setUsed(true)
    setOpen(true)
  }
  return (
    <header className="flex shrink-0 flex-wrap items-center gap-x-3 border-b border-line bg-panel px-4 md:h-14 md:flex-nowrap lg:px-6">
      <Drawer />
      <div className="flex min-w-0 max-md:order-last max-md:flex-1 max-md:basis-[calc(100%-7rem)] max-md:pb-2.5">
        <ScopePicker />
      </div>
      <button
        type="button"
        onClick={search}
        className="hidden h-8 w-64 items-center gap-2 rounded-md border border-line bg-sunk px-2.5 text-sm text-ink-3 hover:border-line-strong lg:flex"
      >
        <Icon name="search" size={14} />
        <span className="flex-1 text-left">Search or jump to</span>
        <kbd className="rounded-sm border border-line bg-panel px-1.5 font-sans text-xs">{apple ? '⌘K' : 'Ctrl K'}</kbd>
      </button>
      <div className="flex-1" />
      <span className="max-md:order-last max-md:pb-2.5">
        <LiveDot />
      </span>
      <span className="flex h-14 items-center gap-2 md:contents">
        <Button icon="search" kind="ghost" label="Search or jump to" className="lg:hidden" onClick={search} />
        <StopAll />
        <UserMenu />
      </span>
      {used && (
        <Suspense fallback={null}>
          <Palette open={open} onClose={() => setOpen(false)} />
        </Suspense>
      )}
    </header>
  )
}
