import { useSyncExternalStore } from 'react'
import type { Fault } from '@/api/fault'
import { Button } from './Button'
import { cx } from './cx'
import { FaultFacts } from './Empty'
import { Icon } from './Icon'

interface Told {
  id: number
  text: string
  fault?: Fault
}

let told: Told[] = []
let next = 1
const listeners = new Set<() => void>()

function change(to: Told[]) {
  told = to
  for (const listener of listeners) listener()
}

function dismiss(id: number) {
  change(told.filter((each) => each.id !== id))
}

function tell(text: string, keepMs: number, fault?: Fault) {
  const id = next++
  change([...told.slice(-3), { id, text, fault }])
  setTimeout(() => dismiss(id), keepMs)
}

/** Tells in passing how something went. */
export const toast = {
  done: (text: string) => tell(text, 5000),
  fault: (fault: Fault) => tell(fault.message, 15_000, fault),
}

/** Where toasts appear. */
export function Toasts() {
  const shown = useSyncExternalStore(
    (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    () => told,
  )
  return (
    <section aria-label="Messages" aria-live="polite" className="pointer-events-none fixed right-4 bottom-4 z-50 flex w-96 max-w-[calc(100vw-2rem)] flex-col gap-2">
      {shown.map(({ id, text, fault }) => (
        <div key={id} className="rise pointer-events-auto flex items-start gap-2.5 rounded-lg border border-line bg-panel p-3 shadow-high">
          <Icon name={fault ? 'error' : 'check'} className={cx('mt-0.5', fault ? 'text-bad' : 'text-ok')} />
          <div className="min-w-0 flex-1 text-sm">
            <p className="break-words">{text}</p>
            {fault && <FaultFacts fault={fault} />}
          </div>
          <Button small kind="ghost" icon="close" label="Dismiss" onClick={() => dismiss(id)} />
        </div>
      ))}
    </section>
  )
}
