import { Dialog as Radix } from 'radix-ui'
import { useState, type ReactNode } from 'react'
import { Button } from './Button'
import { cx } from './cx'
import { useEscape } from './escape'

interface Props {
  open: boolean
  onClose: () => void
  title: ReactNode
  about?: ReactNode
  children?: ReactNode
  /** Buttons, the one that acts last. */
  actions?: ReactNode
  wide?: boolean
}

/** A dialog over the page; Escape and the cross close it, and the focus goes back to what opened it. */
export function Dialog({ open, onClose, title, about, children, actions, wide }: Props) {
  const from = useOpener(open)
  useEscape(open, onClose)
  return (
    <Radix.Root open={open} onOpenChange={(now) => !now && onClose()}>
      <Radix.Portal>
        <Radix.Overlay className="fixed inset-0 z-40 bg-[#06100e]/55" />
        <Radix.Content
          ref={(content) => {
            if (content) openers.set(content, from)
          }}
          onOpenAutoFocus={(event) => {
            event.preventDefault()
            ;(event.currentTarget as HTMLElement | null)?.focus()
          }}
          onCloseAutoFocus={(event) => {
            event.preventDefault()
            from.find((each) => each.isConnected)?.focus()
          }}
          className={cx(
            'rise fixed top-[4dvh] sm:top-[12vh] outline-none left-1/2 z-40 flex max-h-[92dvh] sm:max-h-[80vh] w-[calc(100vw-1.5rem)] sm:w-[calc(100vw-2rem)] -translate-x-1/2 flex-col rounded-lg border border-line bg-panel shadow-high',
            wide ? 'max-w-3xl' : 'max-w-lg',
          )}
        >
          <header className="flex items-start justify-between gap-4 px-4 pt-4 pb-3 sm:px-5">
            <div className="min-w-0 break-words">
              <Radix.Title className="text-lg font-semibold">{title}</Radix.Title>
              <Radix.Description className={about ? 'mt-0.5 text-sm text-ink-2' : 'sr-only'}>{about ?? title}</Radix.Description>
            </div>
            <Radix.Close asChild>
              <Button kind="ghost" icon="close" label="Close" small />
            </Radix.Close>
          </header>
          <div className="min-h-0 flex-1 overflow-y-auto px-4 pb-4 sm:px-5">{children}</div>
          {actions && <footer className="flex flex-wrap justify-end gap-2 border-t border-line px-4 py-3 sm:px-5">{actions}</footer>}
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  )
}

/** What a dialog was opened from, by its element: one that takes another's place goes back to where that came from. */
const openers = new WeakMap<Element, HTMLElement[]>()

/**
 * What had the focus when a dialog opened, and behind it what had it before. A field inside takes the focus as it
 * appears, and nothing else knows where to give it back.
 */
export function useOpener(open: boolean): HTMLElement[] {
  const [was, setWas] = useState(false)
  const [from, setFrom] = useState<HTMLElement[]>([])
  if (open !== was) {
    setWas(open)
    const at = document.activeElement
    if (open && at instanceof HTMLElement) {
      const behind = openers.get(at.closest('[role=dialog]') ?? at) ?? []
      setFrom([at, ...behind])
    }
  }
  return from
}
