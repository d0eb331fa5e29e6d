import { useState, type ReactNode } from 'react'
import { Field, TextArea } from './Field'

interface Props {
  label: string
  hint?: ReactNode
  error?: string
  lines: string[]
  onChange: (lines: string[]) => void
  placeholder?: string
  rows?: number
}

/** A list of texts, one a line; commas divide too. */
export function Lines({ label, hint, error, lines, onChange, placeholder, rows = 3 }: Props) {
  const [typed, setTyped] = useState<string | null>(null)
  const parse = (text: string) => [...new Set(text.split(/[\n,]/).map((each) => each.trim()).filter(Boolean))]
  return (
    <Field label={label} hint={hint} error={error}>
      {(ids) => (
        <TextArea
          {...ids}
          rows={rows}
          spellCheck={false}
          placeholder={placeholder}
          className="font-mono text-xs!"
          value={typed ?? lines.join('\n')}
          onChange={(event) => {
            setTyped(event.target.value)
            onChange(parse(event.target.value))
          }}
          onBlur={() => setTyped(null)}
        />
      )}
    </Field>
  )
}
