import { useCallback, useMemo } from 'react'
import type { GetSavingsHistoryResponse } from '@/api/schema'
import { amount, percent, shortMoney } from '@/format/money'
import { atShort, onUTCDay } from '@/format/time'
import { word } from '@/format/words'
import { Card, Stat } from '@/ui/Card'
import { Chart, frame, type Draw } from '@/ui/Chart'
import { Empty } from '@/ui/Empty'

const about: Record<string, string> = {
  spot_optimize: 'Nodes bought cheaper than those they took the place of, spot where it was safe.',
  bin_pack: 'Nodes that are no longer there because their pods fit on fewer.',
  rightsize: 'Smaller nodes and smaller requests, where usage allowed them.',
  schedule: 'Hours that workloads slept, and the nodes that went with them.',
  interruption: 'Replacements of nodes that AWS took, which cost more or less than these.',
}

/** What one mechanism saved, over time. */
export function Mechanism({ name, data }: { name: string; data: GetSavingsHistoryResponse }) {
  const { points, total, step } = data
  const names = useMemo(() => points.map((point) => (step === 'day' ? onUTCDay(point.start) : atShort(point.start))), [points, step])
  const values = useMemo(() => points.map((point) => point.by_mechanism[name] ?? 0), [points, name])
  const saved = total?.by_mechanism[name] ?? 0
  const draw = useCallback<Draw>(
    (p) => ({
      ...frame(p, { money: shortMoney, category: names }),
      series: [{ name: word(name), type: 'bar', barCategoryGap: '28%', data: values.map((value) => ({ value: Number(value.toFixed(4)), itemStyle: { color: value < 0 ? p.more[2] : p.saved } })) }],
    }),
    [names, values, name],
  )
  const twin = useMemo(() => ({ columns: [step === 'day' ? 'Day (UTC)' : 'Hour', 'Saved'], rows: names.map((each, i) => [each, amount(values[i])]) }), [names, values, step])
  return (
    <Card title={word(name)} note={about[name]}>
      {values.every((value) => value === 0) ? (
        <Empty icon="savings" title="It saved nothing in this time" compact />
      ) : (
        <div className="flex flex-col gap-4">
          <dl className="flex flex-wrap gap-x-12 gap-y-4">
            <Stat label="Saved" value={amount(saved)} tone={saved > 0 ? 'ok' : 'bad'} />
            <Stat label="Share of all that was saved" value={total && total.saved > 0 ? percent(saved / total.saved) : '–'} />
          </dl>
          <Chart label={`Saved by ${word(name)}: ${amount(saved)} in all`} draw={draw} twin={twin} height={260} />
        </div>
      )}
    </Card>
  )
}
