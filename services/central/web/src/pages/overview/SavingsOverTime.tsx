import { Link } from '@tanstack/react-router'
import { useCallback, useMemo } from 'react'
import { useAsk } from '@/api/query'
import { useScope } from '@/shell/filters'
import { Card } from '@/ui/Card'
import { Empty, FaultView, Skeleton } from '@/ui/Empty'
import { SavingsChart } from '../savings/SavingsChart'

/** Thirty days of actual cost and what was saved on top. */
export function SavingsOverTime() {
  const { cluster } = useScope()
  const { data, error, refetch } = useAsk('SavingsService/GetSavingsHistory', { cluster_id: cluster })
  const points = useMemo(() => data?.points ?? [], [data])
  const retry = useCallback(() => void refetch(), [refetch])
  return (
    <Card
      title="Cost and savings, 30 days"
      actions={
        <Link to="/savings" className="inline-flex min-h-6 items-center text-sm font-medium text-accent hover:underline">
          All savings
        </Link>
      }
    >
      {data ? (
        points.some((point) => point.coverage > 0) ? (
          <SavingsChart points={points} step={data.step} height={248} />
        ) : (
          <Empty icon="savings" title="Nothing is metered yet" compact>
            The first hour appears about an hour after the first cluster has connected.
          </Empty>
        )
      ) : error ? (
        <FaultView fault={error} retry={retry} compact />
      ) : (
        <Skeleton lines={8} />
      )}
    </Card>
  )
}
