import { useBlocker } from '@tanstack/react-router'
import { Button } from './Button'
import { Dialog } from './Dialog'

/** Asks before changes that were not saved are lost. */
export function Leave({ dirty }: { dirty: boolean }) {
  const { status, proceed, reset } = useBlocker({
    shouldBlockFn: ({ current, next }) => dirty && (current.pathname !== next.pathname || (current.search as { id?: string }).id !== (next.search as { id?: string }).id),
    enableBeforeUnload: dirty,
    withResolver: true,
  })
  return (
    <Dialog
      open={status === 'blocked'}
      onClose={() => reset?.()}
      title="Leave without saving?"
      about="What you changed here is lost."
      actions={
        <>
          <Button onClick={() => reset?.()}>Stay</Button>
          <Button kind="danger" onClick={() => proceed?.()}>
            Leave
          </Button>
        </>
      }
    />
  )
}
