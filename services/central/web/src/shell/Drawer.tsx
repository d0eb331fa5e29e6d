import { Dialog as Radix } from 'radix-ui'
import { useState } from 'react'
import { Button } from '@/ui/Button'
import { useEscape } from '@/ui/escape'
import { Mark } from '@/ui/Icon'
import { Places } from './Sidebar'

/** The pages on a phone: a button, and the list that slides in. It keeps the focus until it is closed. */
export function Drawer() {
  const [open, setOpen] = useState(false)
  const close = () => setOpen(false)
  useEscape(open, close)
  return (
    <Radix.Root open={open} onOpenChange={setOpen}>
      <Radix.Trigger asChild>
        <Button icon="menu" kind="ghost" aria-label="Menu" className="-ml-2 w-10! md:hidden" />
      </Radix.Trigger>
      <Radix.Portal>
        <Radix.Overlay className="fixed inset-0 z-40 bg-[#06100e]/55 md:hidden" />
        <Radix.Content aria-describedby={undefined} className="slide fixed inset-y-0 left-0 z-40 flex w-64 max-w-[85vw] flex-col overflow-y-auto bg-rail text-rail-ink shadow-high outline-none md:hidden">
          <div className="flex h-14 shrink-0 items-center gap-2.5 pr-2 pl-4 text-rail-accent">
            <Mark size={26} />
            <Radix.Title className="flex-1 text-lg font-semibold tracking-tight text-[#eaf3f0]">CloudOptim</Radix.Title>
            <Radix.Close asChild>
              <Button icon="close" kind="ghost" aria-label="Close the menu" className="w-10! text-rail-ink! hover:bg-rail-hover!" />
            </Radix.Close>
          </div>
          <nav aria-label="Pages" className="flex flex-1 flex-col">
            <Places wide onGo={close} />
          </nav>
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  )
}
