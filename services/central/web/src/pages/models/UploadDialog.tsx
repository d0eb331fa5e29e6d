import { useQueryClient } from '@tanstack/react-query'
import { useRef, useState } from 'react'
import type { Fault } from '@/api/fault'
import { bytes, count, percent } from '@/format/money'
import { Button } from '@/ui/Button'
import { Facts } from '@/ui/Card'
import { cx } from '@/ui/cx'
import { Dialog } from '@/ui/Dialog'
import { FaultFacts } from '@/ui/Empty'
import { Field, Input, Select } from '@/ui/Field'
import { Icon } from '@/ui/Icon'
import { Findings } from './ModelDialog'
import { checksum, formatNames, formats, guessFormat, nameOf, send, type Outcome } from './upload'

type Phase = 'choose' | 'hashing' | 'sending' | 'checking' | 'done'

/** Uploads a model: checked and kept, it decides nothing before it is promoted. */
export function UploadDialog({ onClose }: { onClose: () => void }) {
  const [file, setFile] = useState<File>()
  const [name, setName] = useState('')
  const [format, setFormat] = useState<string>('lightgbm_text')
  const [phase, setPhase] = useState<Phase>('choose')
  const [share, setShare] = useState(0)
  const [outcome, setOutcome] = useState<Outcome>()
  const abort = useRef<AbortController>(undefined)
  const cache = useQueryClient()
  const take = async (chosen: File) => {
    setFile(chosen)
    setName(nameOf(chosen.name))
    setFormat(guessFormat(await chosen.slice(0, 4096).text()))
  }
  const start = async () => {
    if (!file) return
    setPhase('hashing')
    const sha256 = await checksum(file)
    if (!sha256) return
    abort.current = new AbortController()
    setPhase('sending')
    const result = await send(
      { name, format, sha256, file },
      (now) => {
        setShare(now)
        if (now >= 1) setPhase('checking')
      },
      abort.current.signal,
    )
    setOutcome(result)
    setPhase('done')
    void cache.invalidateQueries({ queryKey: ['AdminService/ListModels'] })
  }
  const again = () => {
    setOutcome(undefined)
    setPhase('choose')
    setShare(0)
    setFile(undefined)
  }
  const busy = phase === 'hashing' || phase === 'sending' || phase === 'checking'
  const unsafe = globalThis.crypto?.subtle ? undefined : 'Checksums need a page that came with TLS. Upload it with the API instead.'
  const whyNot = unsafe ?? (!file ? 'Choose a file first.' : /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(name) ? undefined : 'The name has letters, digits, dots, dashes and underscores.')
  return (
    <Dialog
      open
      onClose={() => {
        abort.current?.abort()
        onClose()
      }}
      title="Upload a model"
      about="It is checked and kept. It decides nothing before it is promoted."
      actions={
        phase === 'done' ? (
          <>
            <Button onClick={again}>Upload another</Button>
            <Button kind="primary" onClick={onClose}>
              Done
            </Button>
          </>
        ) : (
          <>
            <Button onClick={() => (busy ? abort.current?.abort() : onClose())}>Cancel</Button>
            <Button kind="primary" icon="upload" busy={busy} whyNot={whyNot} onClick={() => void start()}>
              Upload and check
            </Button>
          </>
        )
      }
    >
      <div aria-live="polite">
        {phase === 'choose' && (
          <div className="flex flex-col gap-4">
            <Drop file={file} onTake={(chosen) => void take(chosen)} />
            {unsafe && <p className="text-sm text-warn">{unsafe}</p>}
            <div className="grid gap-4 sm:grid-cols-2">
              <Field label="Name" hint="For people">
                {(ids) => <Input {...ids} value={name} maxLength={128} spellCheck={false} onChange={(event) => setName(event.target.value)} />}
              </Field>
              <Field label="Format" hint="Guessed by how the file begins">
                {(ids) => (
                  <Select {...ids} value={format} onChange={(event) => setFormat(event.target.value)}>
                    {formats.map((each) => (
                      <option key={each} value={each}>
                        {formatNames[each]}
                      </option>
                    ))}
                  </Select>
                )}
              </Field>
            </div>
          </div>
        )}
        {busy && <Progress phase={phase} share={share} name={file?.name ?? ''} />}
        {outcome && ('fault' in outcome ? <Refused fault={outcome.fault} /> : <Taken outcome={outcome} />)}
      </div>
    </Dialog>
  )
}

function Drop({ file, onTake }: { file?: File; onTake: (file: File) => void }) {
  const [over, setOver] = useState(false)
  return (
    // oxlint-disable-next-line jsx-a11y/no-noninteractive-element-interactions -- the input inside takes the keyboard
    <label
      onDragOver={(event) => {
        event.preventDefault()
        setOver(true)
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault()
        setOver(false)
        const dropped = event.dataTransfer.files[0]
        if (dropped) onTake(dropped)
      }}
      className={cx(
        'flex cursor-pointer flex-col items-center gap-1 rounded-md border border-dashed px-4 py-7 text-center focus-within:outline-2 focus-within:outline-offset-2 focus-within:outline-accent',
        over ? 'border-accent bg-accent-soft' : 'border-line-strong hover:bg-hover',
      )}
    >
      <Icon name="upload" className="text-ink-3" />
      {file ? (
        <>
          <span className="font-medium break-all">{file.name}</span>
          <span className="text-sm text-ink-3">{bytes(file.size)}; choose another</span>
        </>
      ) : (
        <>
          <span className="font-medium">Choose a file, or drop it here</span>
          <span className="text-sm text-ink-3">LightGBM text, XGBoost JSON or CloudOptim’s own</span>
        </>
      )}
      <input type="file" aria-label="Model file" className="sr-only" onChange={(event) => event.target.files?.[0] && onTake(event.target.files[0])} />
    </label>
  )
}

function Progress({ phase, share, name }: { phase: Phase; share: number; name: string }) {
  const text = phase === 'hashing' ? 'Making the checksum' : phase === 'sending' ? `Sending, ${percent(share)}` : 'Reading and checking it on the server'
  return (
    <div className="py-4">
      <p className="mb-2 flex justify-between gap-3 text-sm">
        <span className="font-medium">{text}</span>
        <span className="truncate text-ink-3">{name}</span>
      </p>
      <div role="progressbar" aria-label="Upload" aria-valuemin={0} aria-valuemax={100} aria-valuenow={Math.round(share * 100)} className="h-2 overflow-hidden rounded-full bg-sunk">
        <span className={cx('block h-full rounded-full bg-accent transition-[width]', phase === 'checking' && 'pulse')} style={{ width: `${Math.max(3, share * 100)}%` }} />
      </div>
    </div>
  )
}

function Taken({ outcome }: { outcome: Extract<Outcome, { known: boolean }> }) {
  const { answer, known } = outcome
  const model = answer.model
  return (
    <div className="flex flex-col gap-4">
      <p className="text-lg font-semibold">{known ? 'These bytes are known already' : 'It is kept'}</p>
      <Findings ok={model?.schema_ok ?? true} findings={answer.findings} />
      <Facts
        facts={[
          ['Version', <code key="version" className="font-mono text-xs">{answer.model_version}</code>],
          ...(model
            ? ([
                ['State', model.state],
                ['Trees', `${count(model.trees)} with ${count(model.nodes)} nodes`],
                ['Features', count(model.features.length)],
              ] as [string, string][])
            : []),
        ]}
      />
      <p className="text-sm text-ink-3">Next: let it predict in the shadow, and compare it with the live one before it decides.</p>
    </div>
  )
}

function Refused({ fault }: { fault: Fault }) {
  const { place, position, max_bytes, constraint } = fault.details
  return (
    <div role="alert" className="flex flex-col gap-3">
      <p className="flex items-center gap-2 text-lg font-semibold text-bad">
        <Icon name="error" /> {fault.passing ? 'Not uploaded' : 'Refused'}
      </p>
      <p className="break-words">{typeof constraint === 'string' ? constraint : fault.message}</p>
      {Boolean(place || position || max_bytes) && (
        <Facts
          facts={[
            ...(place ? ([['In the model', <code key="place" className="font-mono text-xs break-all">{String(place)}</code>]] as [string, React.ReactNode][]) : []),
            ...(position ? ([['In the file', String(position)]] as [string, React.ReactNode][]) : []),
            ...(max_bytes ? ([['Largest', bytes(Number(max_bytes))]] as [string, React.ReactNode][]) : []),
          ]}
        />
      )}
      <p className="text-sm text-ink-3">{fault.passing ? 'The file was not looked at. Nothing is kept of it; upload it again.' : 'Nothing is kept of it.'}</p>
      <div>
        <FaultFacts fault={fault} />
      </div>
    </div>
  )
}
