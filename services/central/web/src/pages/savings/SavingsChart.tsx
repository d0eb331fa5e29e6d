import { useCallback, useMemo } from 'react'
import type { SavingsPoint } from '@/api/schema'
import { amount, percent, shortMoney } from '@/format/money'
import { atShort, onUTCDay } from '@/format/time'
import { Chart, Legend, frame, type Draw } from '@/ui/Chart'

/** Actual cost with what was saved on top of it: together they are what would have been paid. */
export function SavingsChart({ points, step, height }: { points: SavingsPoint[]; step: string; height?: number }) {
  const names = useMemo(() => points.map((point) => (step === 'day' ? onUTCDay(point.start) : atShort(point.start))), [points, step])
  const draw = useCallback<Draw>(
    (p) => ({
      ...frame(p, { money: shortMoney, category: names }),
      series: [
        bars('Actual', p.base, points.map((point) => point.actual), 'cost'),
        bars('Saved', p.saved, points.map((point) => Math.max(0, point.saved)), 'cost'),
        bars('Cost more', p.more[2]!, points.map((point) => Math.min(0, point.saved)), 'cost'),
      ].filter((series) => series.data.some((value) => value !== 0)),
    }),
    [names, points],
  )
  const twin = useMemo(
    () => ({
      columns: [step === 'day' ? 'Day (UTC)' : 'Hour', 'Without CloudOptim', 'Actual', 'Saved', 'Share', 'Metered'],
      rows: points.map((point, i) => [
        names[i]!,
        amount(point.baseline),
        amount(point.actual),
        amount(point.saved),
        percent(point.baseline > 0 ? point.saved / point.baseline : 0),
        percent(point.coverage),
      ]),
    }),
    [names, points, step],
  )
  const saved = points.reduce((sum, point) => sum + point.saved, 0)
  const paid = points.reduce((sum, point) => sum + point.actual, 0)
  return (
    <Chart
      label={`Cost and savings by ${step}: ${amount(paid)} paid and ${amount(saved)} saved in all`}
      draw={draw}
      twin={twin}
      height={height}
      legend={
        <Legend
          items={[
            ['Actual', 'bg-paid'],
            ['Saved', 'bg-saved'],
          ]}
        />
      }
    />
  )
}

function bars(name: string, color: string, data: number[], stack: string) {
  return { name, type: 'bar', stack, data: data.map((value) => Number(value.toFixed(4))), itemStyle: { color }, barCategoryGap: '28%', emphasis: { focus: 'none' } }
}
