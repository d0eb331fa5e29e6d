import { useState } from 'react'
import { useWhyNot } from '@/api/me'
import { useAct } from '@/api/query'
import { Button } from '@/ui/Button'
import { Dialog } from '@/ui/Dialog'
import { Field, Select } from '@/ui/Field'
import { SecretOnce } from '@/ui/SecretOnce'
import { Time } from '@/ui/Time'

const overlaps: [minutes: number, text: string][] = [
  [0, 'At once'],
  [60, 'After an hour'],
  [1440, 'After a day'],
  [10_080, 'After a week'],
]

/** Makes a new agent key, shown once. */
export function RotateKey({ clusterId, name }: { clusterId: string; name: string }) {
  const [open, setOpen] = useState(false)
  const [overlap, setOverlap] = useState(1440)
  const whyNot = useWhyNot('InventoryService/RotateAgentKey')
  const rotate = useAct('InventoryService/RotateAgentKey')
  const made = rotate.data
  const close = () => {
    setOpen(false)
    rotate.reset()
  }
  return (
    <>
      <Button icon="key" whyNot={whyNot} onClick={() => setOpen(true)}>
        Make a new key
      </Button>
      <Dialog
        open={open}
        onClose={close}
        title={`New agent key for ${name}`}
        about={made ? undefined : 'Put it into the cluster’s Secret before the ones of before end.'}
        actions={
          made ? (
            <Button kind="primary" onClick={close}>
              I have kept it
            </Button>
          ) : (
            <>
              <Button onClick={close}>Cancel</Button>
              <Button kind="primary" busy={rotate.isPending} onClick={() => rotate.mutate({ cluster_id: clusterId, overlap_minutes: overlap })}>
                Make the key
              </Button>
            </>
          )
        }
      >
        {made ? (
          <div className="flex flex-col gap-3">
            <SecretOnce secret={made.agent_api_key} label="Agent key" />
            {made.others_end_at && (
              <p className="text-sm text-ink-2">
                Keys of before end: <Time at={made.others_end_at} short={false} />
              </p>
            )}
          </div>
        ) : (
          <Field label="Keys of before end" hint="An agent whose key has ended cannot connect: nothing is acted on in its cluster.">
            {(ids) => (
              <Select {...ids} value={overlap} onChange={(event) => setOverlap(Number(event.target.value))}>
                {overlaps.map(([minutes, text]) => (
                  <option key={minutes} value={minutes}>
                    {text}
                  </option>
                ))}
              </Select>
            )}
          </Field>
        )}
      </Dialog>
    </>
  )
}
