import { useState, type ReactNode } from 'react'
import { Button } from './Button'
import { Dialog } from './Dialog'
import { Field, Input, TextArea } from './Field'
import { Icon } from './Icon'

interface Props {
  open: boolean
  onClose: () => void
  title: string
  /** The button's word, e.g. Approve. */
  act: string
  danger?: boolean
  busy?: boolean
  /** What it touches, e.g. drains 4 nodes, moves 37 pods of 9 workloads. */
  blastRadius?: ReactNode
  /** To be typed before it can be done: the name of what is touched. Given only when much is touched. */
  typed?: string
  /** Asks why; required or not. */
  reason?: 'required' | 'optional'
  reasonHint?: string
  children?: ReactNode
  onAct: (reason: string) => void
}

/** Asks before something is done that disrupts: names the object and what it touches. */
export function Confirm(props: Props) {
  return (
    <Dialog open={props.open} onClose={props.onClose} title={props.title}>
      {props.open && <Question {...props} />}
    </Dialog>
  )
}

function Question({ onClose, act, danger, busy, blastRadius, typed, reason, reasonHint, children, onAct }: Props) {
  const [why, setWhy] = useState('')
  const [name, setName] = useState('')
  const whyNot =
    typed && name !== typed ? `Type ${typed} first.` : reason === 'required' && why.trim() === '' ? 'Say why first.' : undefined
  return (
    <form
      className="flex flex-col gap-4"
      onSubmit={(event) => {
        event.preventDefault()
        if (!whyNot && !busy) onAct(why.trim())
      }}
    >
      {blastRadius && (
        <div className="flex items-start gap-2.5 rounded-md bg-warn-soft px-3 py-2.5 text-warn">
          <Icon name="warning" className="mt-0.5" />
          <div className="text-sm font-medium">{blastRadius}</div>
        </div>
      )}
      {children}
      {reason && (
        <Field label={reason === 'required' ? 'Reason' : 'Reason (optional)'} hint={reasonHint ?? 'Kept in the audit log.'}>
          {(ids) => <TextArea {...ids} value={why} maxLength={255} onChange={(event) => setWhy(event.target.value)} autoFocus />}
        </Field>
      )}
      {typed && (
        <Field label={`Type “${typed}” to confirm`}>
          {(ids) => <Input {...ids} value={name} autoComplete="off" spellCheck={false} autoFocus={!reason} onChange={(event) => setName(event.target.value)} />}
        </Field>
      )}
      <div className="flex justify-end gap-2">
        <Button onClick={onClose}>Cancel</Button>
        <Button type="submit" kind={danger ? 'danger' : 'primary'} busy={busy} whyNot={whyNot}>
          {act}
        </Button>
      </div>
    </form>
  )
}

/** Nodes from which on a plan must be confirmed by typing its cluster's name. */
export const typedFrom = 10
