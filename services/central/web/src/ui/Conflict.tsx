import type { Fault } from '@/api/fault'
import { Button } from './Button'
import { Dialog } from './Dialog'

/** Whether someone else changed what was to be saved. */
export const isConflict = (fault: Fault | null | undefined): boolean => fault?.status === 409 && fault.code === 'CONFLICT'

/** Someone else saved in between: take theirs, or put one's own over it. */
export function Conflict({ open, what, by, busy, onClose, onReload, onOverwrite }: { open: boolean; what: string; by?: string; busy?: boolean; onClose: () => void; onReload: () => void; onOverwrite: () => void }) {
  return (
    <Dialog
      open={open}
      onClose={onClose}
      title="Changed meanwhile"
      about={`${what} was changed${by ? ` by ${by}` : ''} after you opened it. Nothing of yours is saved yet.`}
      actions={
        <>
          <Button onClick={onReload}>Reload and lose my changes</Button>
          <Button kind="danger" busy={busy} onClick={onOverwrite}>
            Overwrite with mine
          </Button>
        </>
      }
    />
  )
}
