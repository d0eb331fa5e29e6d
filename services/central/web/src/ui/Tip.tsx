import { Tooltip } from 'radix-ui'
import type { ReactNode } from 'react'

/** Tells more on hover and focus. The child must take focus to be reachable by keyboard. */
export function Tip({ text, children, side = 'top' }: { text: ReactNode; children: ReactNode; side?: 'top' | 'right' | 'bottom' | 'left' }) {
  return (
    <Tooltip.Root>
      <Tooltip.Trigger asChild>{children}</Tooltip.Trigger>
      <Tooltip.Portal>
        <Tooltip.Content side={side} sideOffset={6} collisionPadding={8} className="rise z-50 max-w-xs rounded-md bg-rail px-2.5 py-1.5 text-xs text-rail-ink shadow-high">
          {text}
        </Tooltip.Content>
      </Tooltip.Portal>
    </Tooltip.Root>
  )
}
