import { useState } from 'react'
import { Button } from '@/ui/Button'
import { Dialog } from '@/ui/Dialog'
import { Check } from '@/ui/Field'
import { SecretOnce } from '@/ui/SecretOnce'

/** Shows what is never shown again; it closes once it was said to be kept. */
export function Secret({ title, secrets, onClose }: { title: string; secrets: [name: string, text: string][]; onClose: () => void }) {
  const [kept, setKept] = useState(false)
  return (
    <Dialog
      open
      onClose={() => kept && onClose()}
      title={title}
      about="Copy it now: it is not kept and never shown again."
      actions={
        <Button kind="primary" whyNot={kept ? undefined : 'Say that you kept it first.'} onClick={onClose}>
          Done
        </Button>
      }
    >
      <div className="flex flex-col gap-4">
        {secrets.map(([name, text]) => (
          <div key={name} className="flex flex-col gap-1.5">
            <p className="text-sm font-medium">{name}</p>
            <SecretOnce secret={text} label={name} />
          </div>
        ))}
        <p className="text-sm text-ink-2">
          Whoever has it has its rights. Keep it in a secret store.
        </p>
        <Check label="I have kept it" checked={kept} onChange={(event) => setKept(event.target.checked)} />
      </div>
    </Dialog>
  )
}
