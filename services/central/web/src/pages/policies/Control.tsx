import { useMemo, useState } from 'react'
import type { DisruptionBudget, DisruptionSpan, DisruptionWindow, PolicyValues } from '@/api/schema'
import { atLocal, atUTC, viewerZone } from '@/format/time'
import { useNow } from '@/live/Live'
import { Button } from '@/ui/Button'
import { Check, Field as Labelled, Input, Select } from '@/ui/Field'
import { Time } from '@/ui/Time'
import { Dot } from '@/ui/Badge'
import { allowedAt, endOfDates, isFreeze, nextChange, spanInZone, windowsText } from '@/week/windows'
import { isZone, localIn } from '@/week/zone'
import { Ladder } from './Effective'
import { nights, SpanDialog } from './SpanDialog'
import { everyText, type Field } from './values'

/** Edits one value. */
export function Control({ field, values, onChange }: { field: Field; values: PolicyValues; onChange: (change: PolicyValues) => void }) {
  switch (field) {
    case 'mode':
      return <Ladder mode={values.mode ?? 'read_only'} onChoose={(mode) => onChange({ mode })} />
    case 'budgets':
      return <Budgets budgets={values.budgets?.budgets ?? []} onChange={(budgets) => onChange({ budgets: { budgets } })} />
    case 'windows':
      return <Windows windows={values.windows?.windows ?? []} onChange={(windows) => onChange({ windows: { windows } })} />
    case 'engines': {
      const names = values.engines?.names ?? []
      const toggle = (name: string, on: boolean) => onChange({ engines: { names: on ? [...names, name] : names.filter((each) => each !== name) } })
      return (
        <div className="flex flex-col gap-2">
          <Check label="Spot mix" hint="Replaces on-demand nodes by spot where it is safe." checked={names.includes('spot_optimize')} onChange={(event) => toggle('spot_optimize', event.target.checked)} />
          <Check label="Consolidation" hint="Packs pods on fewer or smaller nodes." checked={names.includes('bin_pack')} onChange={(event) => toggle('bin_pack', event.target.checked)} />
        </div>
      )
    }
    case 'plan_every_minutes':
      return (
        <Whole label="Minutes" hint={everyText(values.plan_every_minutes ?? 60)} value={values.plan_every_minutes ?? 60} min={1} max={10_080} onChange={(plan_every_minutes) => onChange({ plan_every_minutes })} />
      )
    case 'stale_after_seconds':
      return <Whole label="Seconds" hint="From 10 to 3,600" value={values.stale_after_seconds ?? 60} min={10} max={3600} onChange={(stale_after_seconds) => onChange({ stale_after_seconds })} />
    case 'min_savings_ratio':
      return (
        <Whole label="Percent of the cluster’s cost" hint="From 0 to 100" value={Math.round((values.min_savings_ratio ?? 0.05) * 1000) / 10} min={0} max={100} step={0.5} onChange={(share) => onChange({ min_savings_ratio: share / 100 })} />
      )
  }
}

function Whole({ label, hint, value, min, max, step = 1, onChange }: { label: string; hint: string; value: number; min: number; max: number; step?: number; onChange: (value: number) => void }) {
  const [typed, setTyped] = useState(String(value))
  const number = Number(typed)
  const wrong = typed.trim() === '' || !Number.isFinite(number) || number < min || number > max
  return (
    <Labelled label={label} hint={hint} error={wrong ? `From ${min} to ${max}` : undefined} className="max-w-56">
      {(ids) => (
        <Input
          {...ids}
          type="number"
          min={min}
          max={max}
          step={step}
          value={typed}
          onChange={(event) => {
            setTyped(event.target.value)
            const next = Number(event.target.value)
            if (event.target.value.trim() !== '' && next >= min && next <= max) onChange(next)
          }}
        />
      )}
    </Labelled>
  )
}

function Budgets({ budgets, onChange }: { budgets: DisruptionBudget[]; onChange: (budgets: DisruptionBudget[]) => void }) {
  const [editing, setEditing] = useState<number>()
  const change = (index: number, to: Partial<DisruptionBudget>) => onChange(budgets.map((each, i) => (i === index ? { ...each, ...to } : each)))
  return (
    <div className="flex flex-col gap-2">
      {budgets.length === 0 && <p className="text-sm text-warn">No bound: as many nodes may be drained at once as a plan wants.</p>}
      <ul className="flex flex-col gap-2">
        {budgets.map((budget, index) => (
          // oxlint-disable-next-line react/no-array-index-key -- budgets have no names
          <li key={index} className="flex flex-wrap items-center gap-2 rounded-md border border-line p-2.5">
            <Input aria-label={`Nodes at once of budget ${index + 1}, a number or a share`} placeholder="10%" className="w-16!" value={budget.nodes} onChange={(event) => change(index, { nodes: event.target.value.trim() })} />
            <span className="text-sm">nodes at once, and</span>
            <Input
              aria-label={`Nodes an hour of budget ${index + 1}; 0 is no bound`}
              type="number"
              min={0}
              className="w-18!"
              value={budget.nodes_per_hour}
              onChange={(event) => change(index, { nodes_per_hour: Math.max(0, Math.floor(Number(event.target.value))) })}
            />
            <span className="text-sm">an hour</span>
            <span className="flex-1" />
            <Button small icon="schedules" aria-label={`Times of budget ${index + 1}`} onClick={() => setEditing(index)}>
              Times
            </Button>
            {budget.during && (
              <Button small onClick={() => change(index, { during: undefined })}>
                Always
              </Button>
            )}
            <Button small kind="ghost" icon="trash" label={`Remove budget ${index + 1}`} onClick={() => onChange(budgets.filter((_, i) => i !== index))} />
            <span className="basis-full text-sm text-ink-3">{budget.during ? spanInZone(budget.during) : 'Always'}</span>
          </li>
        ))}
      </ul>
      <div>
        <Button small icon="plus" whyNot={budgets.length >= 16 ? 'At most 16 budgets.' : undefined} onClick={() => onChange([...budgets, { nodes: '1', nodes_per_hour: 0 }])}>
          Add a budget
        </Button>
      </div>
      {editing !== undefined && budgets[editing] && (
        <SpanDialog
          title={`When budget ${editing + 1} applies`}
          span={budgets[editing].during ?? nights()}
          words={['applies', 'does not apply']}
          onClose={() => setEditing(undefined)}
          onDone={(during) => {
            change(editing, { during })
            setEditing(undefined)
          }}
        />
      )}
    </div>
  )
}

function Windows({ windows, onChange }: { windows: DisruptionWindow[]; onChange: (windows: DisruptionWindow[]) => void }) {
  const [editing, setEditing] = useState<number>()
  const change = (index: number, to: Partial<DisruptionWindow>) => onChange(windows.map((each, i) => (i === index ? { ...each, ...to } : each)))
  const add = (effect: string) => {
    onChange([...windows, { effect, during: nights(), reason: '' }])
    setEditing(windows.length)
  }
  const freeze = () => {
    const time_zone = viewerZone()
    const today = localIn(time_zone, new Date()).date
    onChange([...windows, { effect: 'deny', during: { time_zone, spans: [], first_date: today, last_date: today }, reason: 'freeze' }])
  }
  return (
    <div className="flex flex-col gap-2">
      <ul className="flex flex-col gap-2">
        {windows.map((window, index) => (
          // oxlint-disable-next-line react/no-array-index-key -- windows have no names
          <li key={index} className="flex flex-wrap items-center gap-2 rounded-md border border-line p-2.5">
            <Select aria-label={`What window ${index + 1} does`} className="w-24" value={window.effect} onChange={(event) => change(index, { effect: event.target.value })}>
              <option value="allow">Allow</option>
              <option value="deny">Deny</option>
            </Select>
            {isFreeze(window) ? (
              <Freeze index={index} during={window.during!} onChange={(during) => change(index, { during })} />
            ) : (
              <span className="min-w-48 flex-1 text-sm">{window.during ? spanInZone(window.during) : 'No times yet'}</span>
            )}
            <Button small icon="schedules" aria-label={`Times of window ${index + 1}`} onClick={() => setEditing(index)}>
              Times
            </Button>
            <Button small kind="ghost" icon="trash" label={`Remove window ${index + 1}`} onClick={() => onChange(windows.filter((_, i) => i !== index))} />
            <Input aria-label={`Reason of window ${index + 1}`} placeholder="Reason, e.g. month-end closing" className="basis-full" maxLength={255} value={window.reason} onChange={(event) => change(index, { reason: event.target.value })} />
          </li>
        ))}
      </ul>
      <div className="flex flex-wrap gap-2">
        <Button small icon="plus" whyNot={windows.length >= 32 ? 'At most 32 windows.' : undefined} onClick={() => add('allow')}>
          Allow at times
        </Button>
        <Button small icon="plus" whyNot={windows.length >= 32 ? 'At most 32 windows.' : undefined} onClick={() => add('deny')}>
          Deny at times
        </Button>
        <Button small icon="pause" whyNot={windows.length >= 32 ? 'At most 32 windows.' : undefined} onClick={freeze}>
          Freeze until a date
        </Button>
      </div>
      <Summary windows={windows} />
      {editing !== undefined && windows[editing] && (
        <SpanDialog
          title={windows[editing].effect === 'allow' ? 'When plans may disrupt' : 'When plans may not disrupt'}
          span={windows[editing].during ?? nights()}
          words={windows[editing].effect === 'allow' ? ['allowed', 'not by this window'] : ['denied', 'not by this window']}
          onClose={() => setEditing(undefined)}
          onDone={(during: DisruptionSpan) => {
            change(editing, { during })
            setEditing(undefined)
          }}
        />
      )}
    </div>
  )
}

/** A freeze is changed by its last day; when that ends is said in the viewer's time and in UTC. */
function Freeze({ index, during, onChange }: { index: number; during: DisruptionSpan; onChange: (during: DisruptionSpan) => void }) {
  const until = endOfDates(during)
  return (
    <span className="flex min-w-48 flex-1 flex-wrap items-center gap-x-2 gap-y-1 text-sm">
      all day, through
      <Input
        aria-label={`Last day of freeze ${index + 1}`}
        type="date"
        required
        min={during.first_date || undefined}
        className="w-36!"
        value={during.last_date}
        onChange={(event) => event.target.value && onChange({ ...during, last_date: event.target.value })}
      />
      {until && (
        <span className="text-ink-3">
          Frozen until {atLocal(until)} ({atUTC(until)})
        </span>
      )}
    </span>
  )
}

function Summary({ windows }: { windows: DisruptionWindow[] }) {
  const minute = Math.floor(useNow() / 60_000)
  const valid = windows.every((each) => each.during && isZone(each.during.time_zone))
  const now = valid && allowedAt(windows, new Date(minute * 60_000))
  const change = useMemo(() => (valid ? nextChange(windows, new Date(minute * 60_000)) : undefined), [windows, valid, minute])
  return (
    <div aria-live="polite" className="rounded-md bg-sunk px-3 py-2 text-sm">
      <p>{windowsText({ windows })}</p>
      {valid && windows.length > 0 && (
        <p className="mt-1 flex flex-wrap gap-x-3 text-ink-2">
          <Dot tone={now ? 'ok' : 'warn'}>{now ? 'Allowed now' : 'Not allowed now'}</Dot>
          {change ? (
            <span>
              changes <Time at={change.toISOString()} />
            </span>
          ) : (
            <span>no change within 15 days</span>
          )}
        </p>
      )}
    </div>
  )
}
