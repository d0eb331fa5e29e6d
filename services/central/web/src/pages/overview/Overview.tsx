import { Link } from '@tanstack/react-router'
import { useWhyNot } from '@/api/me'
import { useAsk } from '@/api/query'
import { useScope } from '@/shell/filters'
import { buttonClass } from '@/ui/Button'
import { Card } from '@/ui/Card'
import { Empty, FaultView, Skeleton } from '@/ui/Empty'
import { Icon } from '@/ui/Icon'
import { Page } from '@/ui/Page'
import { Alerts, LastActions } from './News'
import { Numbers } from './Numbers'
import { ClustersByHealth, Running, WaitingPlans } from './Now'
import { SavingsOverTime } from './SavingsOverTime'

/** What is spent and saved, what runs, what waits for someone, and what went wrong. */
export function Overview() {
  const { customer } = useScope()
  const clusters = useAsk('AdminService/ListClusters', { customer_id: customer })
  const mayNotConnect = useWhyNot('AdminService/CreateCluster')
  if (clusters.error && !clusters.data)
    return (
      <Page title="Overview">
        <Card>
          <FaultView fault={clusters.error} retry={() => void clusters.refetch()} />
        </Card>
      </Page>
    )
  if (clusters.data?.length === 0)
    return (
      <Page title="Overview">
        <Card>
          <Empty
            icon="clusters"
            title="No cluster is connected"
            action={
              mayNotConnect ? undefined : (
                <Link to="/clusters/connect" className={buttonClass('primary')}>
                  <Icon name="plus" size={15} /> Connect a cluster
                </Link>
              )
            }
          >
            {mayNotConnect
              ? 'An admin of your organisation can connect one.'
              : 'It takes two commands and five minutes. The cluster begins read-only: CloudOptim looks, tells what could be saved, and changes nothing.'}
          </Empty>
        </Card>
      </Page>
    )
  return (
    <Page title="Overview">
      <Numbers />
      <Running />
      <div className="grid gap-4 xl:grid-cols-[minmax(0,2fr)_minmax(20rem,1fr)]">
        <SavingsOverTime />
        {clusters.data ? (
          <ClustersByHealth clusters={clusters.data} />
        ) : (
          <Card title="Clusters">
            <Skeleton lines={5} />
          </Card>
        )}
      </div>
      <div className="grid gap-4 lg:grid-cols-2 xl:grid-cols-3">
        <WaitingPlans />
        <Alerts clusters={clusters.data ?? []} />
        <LastActions />
      </div>
    </Page>
  )
}
