import { useMemo } from 'react'
import type { SpotEvent } from '@/api/schema'
import { percent } from '@/format/money'
import { atLocal, moment } from '@/format/time'
import { sentence } from '@/format/words'
import { useFilters } from '@/shell/filters'
import { Button } from '@/ui/Button'
import { Card } from '@/ui/Card'
import { Chart, frame, Legend, type Draw, type Palette } from '@/ui/Chart'
import { chance, lead, outcomeOf, outcomes, sourceOf, type Outcome } from './foretold'

/** What was foretold of each instance before AWS spoke of it, by time, and what became of it. */
export function ForetoldChart({ events }: { events: SpotEvent[] }) {
  const [, setFilter] = useFilters<'tab'>()
  const known = useMemo(() => events.filter((each) => each.foretold), [events])
  const draw = useMemo<Draw>(() => (p) => option(p, known), [known])
  const twin = useMemo(
    () => ({
      columns: ['Heard', 'Node', 'AWS said', 'Foretold', 'Before', 'By', 'What happened'],
      rows: events.map((each) => [
        atLocal(each.received_at),
        each.node_name || each.instance_id,
        sentence(each.event_type),
        each.foretold ? chance(each.foretold) : 'nothing',
        lead(each),
        each.foretold ? sourceOf(each.foretold.model) : '–',
        outcomes[outcomeOf(each)],
      ]),
    }),
    [events],
  )
  return (
    <Card
      title="Foretold and what happened"
      note="How likely each node was said to be taken, before AWS spoke. Whether those that nothing happened to were judged as well, the other page has."
      actions={
        <Button small onClick={() => setFilter({ tab: 'prediction' })}>
          All predictions
        </Button>
      }
    >
      <Chart
        label={`What was foretold before AWS spoke, by time: of ${known.length} of ${events.length} events something was`}
        draw={draw}
        twin={twin}
        height={190}
        legend={
          <Legend
            items={[
              [outcomes.taken, 'bg-bad'],
              [outcomes.open, 'bg-warn'],
              [outcomes.spared, 'bg-ok'],
              [outcomes.ended, 'bg-ink-3'],
            ]}
          />
        }
      />
    </Card>
  )
}

function option(p: Palette, events: SpotEvent[]): Record<string, unknown> {
  const base = frame(p)
  const css = getComputedStyle(document.documentElement)
  const colours: Record<Outcome, string> = { taken: '--bad', open: '--warn', spared: '--ok', ended: '--ink-3' }
  const top = Math.max(0.05, ...events.map((each) => each.foretold!.probability))
  return {
    ...base,
    grid: { left: 4, right: 16, top: 12, bottom: 4, containLabel: true },
    tooltip: {
      ...(base.tooltip as object),
      trigger: 'item',
      formatter: ({ data: { event } }: { data: { event: SpotEvent } }) => `${event.instance_id}<br>${chance(event.foretold!)}, said ${lead(event)} before<br>${outcomes[outcomeOf(event)]}`,
    },
    xAxis: { ...(base.xAxis as object), type: 'time', data: undefined },
    yAxis: { type: 'value', min: 0, max: Math.min(1, Math.ceil(top * 20) / 20), splitLine: { lineStyle: { color: p.line } }, axisLabel: { color: p.faint, fontSize: 11, formatter: (value: number) => percent(value) } },
    series: (Object.keys(colours) as Outcome[]).map((outcome) => ({
      type: 'scatter',
      name: outcomes[outcome],
      symbolSize: 10,
      itemStyle: { color: css.getPropertyValue(colours[outcome]).trim(), borderColor: p.panel, borderWidth: 1 },
      data: events.filter((each) => outcomeOf(each) === outcome).map((event) => ({ value: [moment(event.received_at)?.getTime(), event.foretold!.probability], event })),
    })),
  }
}
