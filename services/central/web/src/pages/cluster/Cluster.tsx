import { useParams } from '@tanstack/react-router'
import { useAsk } from '@/api/query'
import type { Cluster as Summary, ClusterRecord } from '@/api/schema'
import { useFilters } from '@/shell/filters'
import { Card } from '@/ui/Card'
import { FaultView, Skeleton } from '@/ui/Empty'
import { Icon } from '@/ui/Icon'
import { Page } from '@/ui/Page'
import { ClusterState, ModeBadge } from '@/ui/States'
import { Tabs } from '@/ui/Tabs'
import { Ago } from '@/ui/Time'
import { ClusterActions } from './ClusterActions'
import { Events } from './Events'
import { Map } from './Map'
import { Nodes } from './Nodes'
import { Pods } from './Pods'
import { Settings } from './Settings'
import { Summary as Overview } from './Summary'

type Tab = 'overview' | 'nodes' | 'map' | 'pods' | 'events' | 'settings'

const tabs: [Tab, string][] = [
  ['overview', 'Overview'],
  ['nodes', 'Nodes'],
  ['map', 'Packing map'],
  ['pods', 'Pods'],
  ['events', 'Events'],
  ['settings', 'Settings'],
]

/** Seconds from which on a cluster's state counts as old on the screen, when its policy does not say. */
const oldAfter = 60

/** One cluster, piece by piece. */
export function Cluster() {
  const { clusterId } = useParams({ from: '/clusters/$clusterId' })
  const [filters, set] = useFilters<'tab'>()
  const record = useAsk('InventoryService/GetCluster', { cluster_id: clusterId }, { every: 30_000 })
  const list = useAsk('AdminService/ListClusters', {})
  const policy = useAsk('GuardService/GetEffectivePolicy', { cluster_id: clusterId })
  // The list moves with every word of the agent, so its numbers go before the record's.
  const cluster = list.data?.find((each) => each.cluster_id === clusterId) ?? record.data?.cluster ?? undefined
  if (!cluster) {
    const fault = record.error ?? list.error
    return (
      <Page title="Cluster">
        <Card>{fault && !record.isFetching ? <FaultView fault={fault} retry={() => void record.refetch()} /> : <Skeleton lines={8} />}</Card>
      </Page>
    )
  }
  const tab = tabs.some(([id]) => id === filters.tab) ? (filters.tab as Tab) : 'overview'
  const age = ageOf(cluster, record.data)
  const stale = cluster.status === 'offline' || policy.data?.state_is_stale || age > (policy.data?.values?.stale_after_seconds ?? oldAfter)
  const show = (next: Tab) => set({ tab: next === 'overview' ? undefined : next, ...cleared })
  return (
    <Page
      title={cluster.cluster_name}
      about={
        <span className="inline-flex flex-wrap items-center gap-x-3 gap-y-1">
          <ClusterState cluster={cluster} />
          <ModeBadge mode={policy.data?.values?.mode ?? cluster.mode} />
          <span>{cluster.region}</span>
          {cluster.k8s_version && <span>Kubernetes {cluster.k8s_version}</span>}
          <span>
            seen <Ago at={cluster.last_seen_at} />
          </span>
        </span>
      }
      actions={<ClusterActions cluster={cluster} policy={policy.data} />}
    >
      {stale && cluster.status !== 'pending' && (
        <p role="status" className="flex items-center gap-2.5 rounded-lg bg-warn-soft px-4 py-2.5 text-sm text-warn">
          <Icon name="warning" />
          <span>
            <span className="font-medium">
              This state is from <Ago at={cluster.last_seen_at} />.
            </span>{' '}
            Nothing is done on a state older than {policy.data?.values?.stale_after_seconds ?? oldAfter} s.
          </span>
        </p>
      )}
      <Tabs label="Parts of the cluster" tabs={tabs} shown={tab} onShow={show}>
        {tab === 'overview' && <Overview cluster={cluster} record={record.data} policy={policy} stale={stale} />}
        {tab === 'nodes' && <Nodes clusterId={clusterId} stale={stale} />}
        {tab === 'map' && <Map cluster={cluster} stale={stale} />}
        {tab === 'pods' && <Pods clusterId={clusterId} stale={stale} />}
        {tab === 'events' && <Events clusterId={clusterId} />}
        {tab === 'settings' && <Settings cluster={cluster} record={record} />}
      </Tabs>
    </Page>
  )
}

/** A tab's filters mean nothing to the next. */
const cleared = { q: undefined, sort: undefined, node_type: undefined, zone: undefined, namespace: undefined, node: undefined, type: undefined, object: undefined, plan: undefined }

function ageOf(cluster: Summary, record?: ClusterRecord): number {
  if (cluster.status === 'active' && !record) return 0
  if (record && record.state_age_seconds >= 0) return record.state_age_seconds
  return cluster.status === 'active' ? 0 : Number.POSITIVE_INFINITY
}
