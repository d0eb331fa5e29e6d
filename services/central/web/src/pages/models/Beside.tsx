import type { Model, ModelMetrics } from '@/api/schema'
import { count, decimal, percent } from '@/format/money'
import { Badge } from '@/ui/Badge'
import { Card } from '@/ui/Card'
import { cx } from '@/ui/cx'
import { Ago } from '@/ui/Time'

type Row = [name: string, note: string, value: (metrics: ModelMetrics) => string, less?: (metrics: ModelMetrics) => number]

const known = (metrics: ModelMetrics) => Number(metrics.outcomes) > 0

const rows: Row[] = [
  ['Predictions', 'Asked for and made since the replica started.', (m) => count(Number(m.predictions))],
  ['Mean probability', 'Of those made.', (m) => percent(m.mean_probability)],
  ['Outcomes known', 'Instances whose fate within the horizon was foretold and is known.', (m) => count(Number(m.outcomes))],
  ['… interrupted', 'Of these.', (m) => count(Number(m.interruptions))],
  ['Brier score', 'Mean squared error of the probability on the outcomes; less is better.', (m) => (known(m) ? decimal(m.brier, 4) : '–'), (m) => m.brier],
  ['Log loss', 'Mean −ln of the probability given to what happened; less is better.', (m) => (known(m) ? decimal(m.log_loss, 4) : '–'), (m) => m.log_loss],
]

/** The live and the shadow model on the same instances. */
export function Beside({ live, shadow }: { live?: Model; shadow?: Model }) {
  const [a, b] = [live?.metrics ?? undefined, shadow?.metrics ?? undefined]
  return (
    <Card title={shadow ? 'Live and shadow, side by side' : 'The live model'} note={shadow ? 'Both are asked about the same instances; the live one alone decides.' : 'Let another predict in the shadow to compare them before it decides.'}>
      <table className="w-full max-w-3xl text-left">
        <thead className="text-sm">
          <tr>
            <td />
            <Head model={live} tone="ok" word="live" />
            {shadow && <Head model={shadow} tone="info" word="shadow" />}
          </tr>
        </thead>
        <tbody>
          {rows.map(([name, note, value, less]) => {
            const both = less && a && b && known(a) && known(b) ? Math.sign(less(a) - less(b)) : 0
            return (
              <tr key={name} className="border-t border-line/70">
                <th scope="row" className="py-1.5 pr-4 font-normal text-ink-2" title={note}>
                  {name}
                </th>
                <td className={cx('px-3 py-1.5 text-right', both < 0 && 'font-semibold')}>
                  {a ? value(a) : '–'} {both < 0 && <Badge tone="ok">better</Badge>}
                </td>
                {shadow && (
                  <td className={cx('px-3 py-1.5 text-right', both > 0 && 'font-semibold')}>
                    {b ? value(b) : '–'} {both > 0 && <Badge tone="ok">better</Badge>}
                  </td>
                )}
              </tr>
            )
          })}
        </tbody>
      </table>
      {b && (
        <p className="mt-3 text-sm text-ink-2">
          They differ by {percent(b.mean_absolute_difference)} on average
          {b.disagreements.length > 0 && `; on which side of a threshold a pool is they disagree in ${b.disagreements.map((each) => `${percent(each.share)} of cases at ${percent(each.threshold)}`).join(', ')}`}.
          {Number(b.skipped) > 0 && ` The shadow did not get to ${count(Number(b.skipped))} predictions.`}
        </p>
      )}
      {a && (
        <p className="mt-1 text-sm text-ink-3">
          Counted on replica {a.replica} since <Ago at={a.since} />.
        </p>
      )}
      {(live && !a) || (shadow && !b) ? <p className="mt-2 text-sm text-ink-3">No figures where ml has not loaded the model yet, or does not answer.</p> : null}
    </Card>
  )
}

function Head({ model, tone, word }: { model?: Model; tone: 'ok' | 'info'; word: string }) {
  return (
    <th scope="col" className="px-3 pb-2 text-right font-medium">
      <Badge tone={tone}>{word}</Badge> <span className="ml-1">{model?.name ?? 'None: prior alone'}</span>
    </th>
  )
}
