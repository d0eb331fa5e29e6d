import { useId, useMemo } from 'react'
import { viewerZone } from '@/format/time'
import { useNow } from '@/live/Live'
import { Field, Input } from '@/ui/Field'
import { isZone, offsetMinutes, offsetText, zones } from './zone'

/** Asks for an IANA zone; typing narrows the list. */
export function ZoneField({ value, onChange, label = 'Time zone', error }: { value: string; onChange: (zone: string) => void; label?: string; error?: string }) {
  const list = useId()
  const now = useNow()
  const all = useMemo(() => zones(), [])
  const known = isZone(value)
  const wrong = error ?? (value !== '' && !known ? 'No such zone. Type a city, e.g. Europe/Berlin.' : undefined)
  const hint = known ? `${offsetText(offsetMinutes(value, new Date(now)))} now` : `IANA name; yours is ${viewerZone()}`
  return (
    <Field label={label} hint={hint} error={wrong}>
      {(ids) => (
        <>
          <Input {...ids} list={list} value={value} spellCheck={false} autoComplete="off" onChange={(event) => onChange(event.target.value.trim())} />
          <datalist id={list}>
            {all.map((zone) => (
              <option key={zone} value={zone} />
            ))}
          </datalist>
        </>
      )}
    </Field>
  )
}
