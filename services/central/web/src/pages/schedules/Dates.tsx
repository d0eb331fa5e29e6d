import { useState } from 'react'
import type { CalendarException } from '@/api/schema'
import { Button } from '@/ui/Button'
import { Field, Input, Select } from '@/ui/Field'

const full = new Intl.DateTimeFormat(undefined, { weekday: 'short', day: 'numeric', month: 'short', year: 'numeric', timeZone: 'UTC' })
const dateText = (date: string) => (date ? full.format(new Date(`${date}T00:00:00Z`)) : '')

/** Dates, each once and in order. */
export function Dates({ label, hint, dates, onChange }: { label: string; hint: string; dates: string[]; onChange: (dates: string[]) => void }) {
  const [typed, setTyped] = useState('')
  const add = () => {
    if (typed) onChange([...new Set([...dates, typed])].toSorted())
    setTyped('')
  }
  return (
    <div className="flex flex-col gap-2">
      <div className="flex items-end gap-2">
        <Field label={label} hint={hint} className="flex-1">
          {(ids) => (
            <span className="flex gap-2">
              <Input
                {...ids}
                type="date"
                value={typed}
                onChange={(event) => setTyped(event.target.value)}
                onKeyDown={(event) => {
                  if (event.key !== 'Enter') return
                  event.preventDefault()
                  add()
                }}
              />
              <Button icon="plus" whyNot={typed ? undefined : 'Choose a date first.'} onClick={add}>
                Add
              </Button>
            </span>
          )}
        </Field>
      </div>
      <ul aria-label={label} className="flex flex-wrap gap-1.5">
        {dates.map((date) => (
          <li key={date} className="inline-flex items-center gap-1 rounded-md bg-sunk py-0.5 pr-0.5 pl-2 text-sm">
            {dateText(date)}
            <Button small kind="ghost" icon="close" label={`Remove ${dateText(date)}`} onClick={() => onChange(dates.filter((each) => each !== date))} />
          </li>
        ))}
      </ul>
    </div>
  )
}

/** Dates on which all is otherwise. */
export function Exceptions({ exceptions, fault, onChange }: { exceptions: CalendarException[]; fault?: string; onChange: (exceptions: CalendarException[]) => void }) {
  const change = (index: number, to: Partial<CalendarException>) => onChange(exceptions.map((each, i) => (i === index ? { ...each, ...to } : each)))
  return (
    <div className="flex flex-col gap-2">
      <div className="flex items-center justify-between">
        <p className="text-sm font-medium">Exceptions</p>
        <Button small icon="plus" onClick={() => onChange([...exceptions, { first_date: '', last_date: '', state: 'awake' }])}>
          Add
        </Button>
      </div>
      {exceptions.length === 0 && <p className="text-sm text-ink-3">None. For a release weekend that must stay awake, or a shutdown between the years.</p>}
      <ul className="flex flex-col gap-2">
        {exceptions.map((each, index) => (
          // oxlint-disable-next-line react/no-array-index-key -- exceptions have no names
          <li key={index} className="flex flex-wrap items-center gap-2">
            <Select aria-label={`What exception ${index + 1} is`} value={each.state} onChange={(event) => change(index, { state: event.target.value })}>
              <option value="awake">Awake all day</option>
              <option value="asleep">Asleep</option>
            </Select>
            <Input aria-label={`First date of exception ${index + 1}`} type="date" className="w-36!" value={each.first_date} onChange={(event) => change(index, { first_date: event.target.value })} />
            <span className="text-sm text-ink-3">to</span>
            <Input aria-label={`Last date of exception ${index + 1}`} type="date" className="w-36!" min={each.first_date} value={each.last_date} onChange={(event) => change(index, { last_date: event.target.value })} />
            <Button small kind="ghost" icon="trash" label={`Remove exception ${index + 1}`} onClick={() => onChange(exceptions.filter((_, i) => i !== index))} />
          </li>
        ))}
      </ul>
      {fault && <p className="text-sm text-bad">{fault}</p>}
    </div>
  )
}
