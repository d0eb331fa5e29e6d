import { useState } from 'react'
import { useAct } from '@/api/query'
import type { Schedule } from '@/api/schema'
import { many } from '@/format/money'
import { atLocal, atUTC, moment } from '@/format/time'
import { useNow } from '@/live/Live'
import { Button } from '@/ui/Button'
import { Confirm } from '@/ui/Confirm'
import { Field, Input, Select } from '@/ui/Field'

const lengths: [hours: number, text: string][] = [
  [1, '1 hour'],
  [2, '2 hours'],
  [4, '4 hours'],
  [8, '8 hours'],
  [24, '1 day'],
  [72, '3 days'],
  [0, 'Until a time'],
]

/** Wakes what sleeps for a while, whatever the calendar says; or ends that earlier. */
export function WakeDialog({ schedule, onClose }: { schedule: Schedule; onClose: () => void }) {
  const [hours, setHours] = useState(2)
  const [typed, setTyped] = useState('')
  const wake = useAct('ScheduleService/WakeSchedule', {
    done: (answer) => (moment(answer.wake_until) ? `“${schedule.name}” is awake until ${atLocal(answer.wake_until)}.` : `“${schedule.name}” follows its calendar again.`),
    changes: ['ScheduleService/ListSchedules', 'ScheduleService/ListScheduleRuns'],
    onDone: onClose,
  })
  const clock = useNow()
  const until = hours > 0 ? new Date(clock + hours * 3_600_000) : moment(typed)
  const now = moment(schedule.wake_until)
  const held = now && now.getTime() > clock
  return (
    <Confirm
      open
      onClose={onClose}
      title={`Wake “${schedule.name}” now?`}
      act="Wake now"
      busy={wake.isPending}
      reason="optional"
      blastRadius={`${schedule.workloads_asleep > 0 ? `Scales ${many(schedule.workloads_asleep, 'workload')} up and launches the nodes that they need.` : 'Nothing sleeps now: it stays awake.'} It sleeps again by itself.`}
      onAct={(reason) => until && wake.mutate({ schedule_id: schedule.schedule_id, until: until.toISOString(), reason })}
    >
      <div className="grid gap-3 sm:grid-cols-2">
        <Field label="For" hint={until ? `Until ${atLocal(until)} (${atUTC(until)})` : 'Choose a time'}>
          {(ids) => (
            <Select {...ids} value={hours} onChange={(event) => setHours(Number(event.target.value))}>
              {lengths.map(([each, text]) => (
                <option key={each} value={each}>
                  {text}
                </option>
              ))}
            </Select>
          )}
        </Field>
        {hours === 0 && (
          <Field label="Until" hint="At most 14 days from now, your time">
            {(ids) => <Input {...ids} type="datetime-local" required value={typed} onChange={(event) => setTyped(event.target.value)} />}
          </Field>
        )}
      </div>
      {held && (
        <p className="flex items-center justify-between gap-3 text-sm text-ink-2">
          It is kept awake until {atLocal(now)} already.
          <Button small busy={wake.isPending} onClick={() => wake.mutate({ schedule_id: schedule.schedule_id, until: new Date(Date.now() - 1000).toISOString() })}>
            End that now
          </Button>
        </p>
      )}
    </Confirm>
  )
}
