import type { ReactNode } from 'react'

/** A list that scrolls when it is long; by keyboard, too. */
export function ScrollList({ label, children }: { label: string; children: ReactNode }) {
  return (
    // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- what scrolls must be reachable by keyboard
    <div role="group" aria-label={label} tabIndex={0} className="max-h-80 overflow-y-auto -outline-offset-2">
      <ul className="pb-2">{children}</ul>
    </div>
  )
}
