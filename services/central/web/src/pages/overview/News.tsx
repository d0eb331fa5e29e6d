import { Link } from '@tanstack/react-router'
import type { ReactNode } from 'react'
import { useAsk } from '@/api/query'
import type { Cluster } from '@/api/schema'
import { many } from '@/format/money'
import { newsText } from '@/format/news'
import { word } from '@/format/words'
import { useNow } from '@/live/Live'
import { useScope } from '@/shell/filters'
import { Card } from '@/ui/Card'
import { Empty, FaultView, Skeleton } from '@/ui/Empty'
import { Icon } from '@/ui/Icon'
import { cx } from '@/ui/cx'
import { ScrollList } from '@/ui/ScrollList'
import { Ago } from '@/ui/Time'

interface Alert {
  key: string
  bad: boolean
  text: ReactNode
  at?: string | null
  link?: ReactNode
}

const linkClass = 'font-medium text-accent hover:underline'

/** What someone should look at: agents that are away, stops, plans that failed, a decision server that is not well. */
export function Alerts({ clusters }: { clusters: Cluster[] }) {
  const { cluster } = useScope()
  const failed = useAsk('AdminService/ListOptimizations', { cluster_id: cluster, status: 'failed', page_size: 10 })
  const stops = useAsk('GuardService/ListStops', { cluster_id: cluster })
  const ml = useAsk('AdminService/GetMLHealth', {}, { every: 60_000 })
  const news = useAsk('AdminService/ListActivity', { cluster_id: cluster, min_severity: 'warning', page_size: 10 })
  const since = useNow() - 86_400_000
  const alerts: Alert[] = []
  for (const stop of stops.data ?? [])
    alerts.push({ key: stop.stop_id, bad: true, text: `Stopped in ${many(stop.clusters, 'cluster')}: ${stop.reason}`, at: stop.created_at })
  if (ml.data && ml.data.status !== 'healthy') alerts.push({ key: 'ml', bad: ml.data.status === 'unhealthy', text: ml.data.status === 'unhealthy' ? 'The decision server does not answer: new plans wait.' : 'The decision server works with old prices or models: its plans say so with less confidence.' })
  for (const each of clusters) {
    if (cluster && each.cluster_id !== cluster) continue
    const link = (
      <Link to="/clusters/$clusterId" params={{ clusterId: each.cluster_id }} className={linkClass}>
        {each.cluster_name}
      </Link>
    )
    if (each.status === 'offline') alerts.push({ key: each.cluster_id, bad: true, text: <>The agent of {link} is offline: its state is old, nothing is done there.</>, at: each.last_seen_at })
    else if (each.status === 'active' && each.health_status === 'YELLOW') alerts.push({ key: each.cluster_id, bad: false, text: <>{link} has pending pods, or its state is old.</>, at: each.last_seen_at })
  }
  for (const plan of failed.data ?? []) {
    if (plan.status !== 'failed' || !plan.completed_at || new Date(plan.completed_at).getTime() < since) continue
    alerts.push({
      key: plan.optimization_id,
      bad: true,
      text: (
        <>
          <Link to="/plans/$planId" params={{ planId: plan.optimization_id }} className={linkClass}>
            {word(plan.optimization_type)} in {plan.cluster_name}
          </Link>{' '}
          failed: {plan.error_message}
        </>
      ),
      at: plan.completed_at,
    })
  }
  for (const message of news.data ?? []) {
    if (!message.timestamp || new Date(message.timestamp).getTime() < since || message.type === 'stop') continue
    alerts.push({ key: message.sequence, bad: message.severity === 'error', text: newsText(message), at: message.timestamp })
  }
  return (
    <Card title="Alerts" flush>
      {failed.isPending || stops.isPending ? (
        <Skeleton className="px-4 pb-4" />
      ) : alerts.length === 0 ? (
        <Empty icon="check" title="All is well" compact>
          Agents that go away, stops and plans that fail appear here.
        </Empty>
      ) : (
        <ScrollList label="Alerts">
          {alerts.slice(0, 12).map((alert) => (
            <li key={alert.key} className="flex items-start gap-2.5 px-4 py-1.5 text-sm">
              <Icon name={alert.bad ? 'error' : 'warning'} className={cx('mt-0.5', alert.bad ? 'text-bad' : 'text-warn')} size={15} />
              <span className="min-w-0 flex-1 break-words">{alert.text}</span>
              {alert.at && (
                <span className="text-ink-3">
                  <Ago at={alert.at} />
                </span>
              )}
            </li>
          ))}
        </ScrollList>
      )}
    </Card>
  )
}

/** The newest of what was done. */
export function LastActions() {
  const { cluster } = useScope()
  const { data, error, refetch } = useAsk('AdminService/ListActivity', { cluster_id: cluster, page_size: 12 })
  return (
    <Card title="Last actions" flush actions={<Link to="/activity" className="inline-flex min-h-6 items-center text-sm font-medium text-accent hover:underline">All activity</Link>}>
      {!data && error ? (
        <FaultView fault={error} retry={() => void refetch()} compact />
      ) : !data ? (
        <Skeleton className="px-4 pb-4" />
      ) : data.length === 0 ? (
        <Empty icon="activity" title="Nothing was done yet" compact />
      ) : (
        <ScrollList label="Last actions">
          {data.map((message) => (
            <li key={message.sequence} className="flex items-start gap-2.5 px-4 py-1.5 text-sm">
              <span className="min-w-0 flex-1 break-words">{newsText(message)}</span>
              <span className="text-ink-3">
                <Ago at={message.timestamp} />
              </span>
            </li>
          ))}
        </ScrollList>
      )}
    </Card>
  )
}
