import { useState } from 'react'
import type { DisruptionSpan, OpenSpan } from '@/api/schema'
import { viewerZone } from '@/format/time'
import { Button } from '@/ui/Button'
import { Dialog } from '@/ui/Dialog'
import { Field, Input } from '@/ui/Field'
import { narrow } from '@/ui/narrow'
import { Switch } from '@/ui/Switch'
import { spansFault, SpanRows } from '@/week/SpanRows'
import { hoursIn } from '@/week/week'
import { spanInZone } from '@/week/windows'
import { WeekGrid } from '@/week/WeekGrid'
import { isZone } from '@/week/zone'
import { ZoneField } from '@/week/ZoneField'

/** A span as one begins: nights of working days in the viewer's zone. */
export const nights = (): DisruptionSpan => ({ time_zone: viewerZone(), spans: [{ days: ['mon-fri'], from: '22:00', to: '06:00' }], first_date: '', last_date: '' })

const wholeWeek: OpenSpan[] = [{ days: ['mon-sun'], from: '00:00', to: '24:00' }]

/** Edits times of the week, and dates. */
export function SpanDialog({ title, span, words, onClose, onDone }: { title: string; span: DisruptionSpan; words: [on: string, off: string]; onClose: () => void; onDone: (span: DisruptionSpan) => void }) {
  const [draft, setDraft] = useState(span)
  // No spans are the whole week in the contract; on the grid that is a week painted whole, and nothing painted is not done yet.
  const [nothing, setNothing] = useState(false)
  const setSpans = (spans: OpenSpan[]) => {
    setNothing(spans.length === 0)
    setDraft({ ...draft, spans: hoursIn(spans) === 168 ? [] : spans })
  }
  const shown = draft.spans.length === 0 && !nothing ? wholeWeek : draft.spans
  const [how, setHow] = useState<'paint' | 'type'>(narrow() ? 'type' : 'paint')
  const late = draft.first_date && draft.last_date && draft.last_date < draft.first_date ? 'Before the first date' : undefined
  const whyNot = !isZone(draft.time_zone) ? 'Choose a zone.' : nothing ? 'No time is chosen.' : (late ?? spansFault(draft.spans, 32))
  return (
    <Dialog
      open
      wide
      onClose={onClose}
      title={title}
      actions={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary" whyNot={whyNot} onClick={() => onDone(draft)}>
            Take these times
          </Button>
        </>
      }
    >
      <div className="flex flex-col gap-4">
        <div className="grid gap-4 sm:grid-cols-3">
          <ZoneField value={draft.time_zone} onChange={(time_zone) => setDraft({ ...draft, time_zone })} />
          <Field label="From date" hint="Empty: always">
            {(ids) => <Input {...ids} type="date" value={draft.first_date} onChange={(event) => setDraft({ ...draft, first_date: event.target.value })} />}
          </Field>
          <Field label="To date" hint="The day itself too" error={late}>
            {(ids) => <Input {...ids} type="date" value={draft.last_date} onChange={(event) => setDraft({ ...draft, last_date: event.target.value })} />}
          </Field>
        </div>
        <div>
          <Switch
            label="How to set the times"
            options={[
              ['paint', 'Paint'],
              ['type', 'Exact times'],
            ]}
            value={how}
            onChange={setHow}
          />
        </div>
        {how === 'paint' ? (
          <WeekGrid
            label={title}
            spans={shown}
            zone={draft.time_zone}
            words={words}
            onChange={setSpans}
            presets={[
              ['Nights', nights().spans],
              ['Weekend', [{ days: ['sat', 'sun'], from: '00:00', to: '24:00' }]],
              ['Office hours', [{ days: ['mon-fri'], from: '08:00', to: '18:00' }]],
              ['All day, every day', wholeWeek],
              ['Nothing', []],
            ]}
          />
        ) : (
          <SpanRows spans={shown} onChange={setSpans} />
        )}
        <p className="text-sm">
          <span className="text-ink-3">Means: </span>
          {nothing ? 'never' : spanInZone(draft)}
        </p>
      </div>
    </Dialog>
  )
}
