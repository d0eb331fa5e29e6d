import { useState } from 'react'
import { useMe } from '@/api/me'
import { useAsk } from '@/api/query'
import { useFilters, useScope } from '@/shell/filters'
import { Card } from '@/ui/Card'
import { Empty, FaultView, Skeleton } from '@/ui/Empty'
import { Page } from '@/ui/Page'
import { Tabs } from '@/ui/Tabs'
import { EditPolicy } from './EditPolicy'
import { Effective } from './Effective'
import { Scopes } from './Scopes'
import { Stops } from './Stops'

export interface PolicyScope {
  customer_id?: string
  cluster_id?: string
  namespace?: string
  /** Its name for people. */
  name: string
  kind: 'customer' | 'cluster' | 'namespace'
}

/** How far CloudOptim may go by itself, and what stops it. */
export function Policies() {
  const [{ tab }, setFilter] = useFilters<'tab'>()
  return (
    <Page title="Policies" about="How far CloudOptim may go by itself: for all clusters, for one, or for a namespace. What is not set is inherited.">
      <Tabs
        label="Policies"
        shown={tab === 'stops' ? 'stops' : 'rules'}
        onShow={(next) => setFilter({ tab: next === 'rules' ? undefined : next })}
        tabs={[
          ['rules', 'Rules'],
          ['stops', 'Stops'],
        ]}
      >
        {tab === 'stops' ? <Stops /> : <Rules />}
      </Tabs>
    </Page>
  )
}

function useChosen(): PolicyScope | undefined {
  const me = useMe()
  const { cluster, customer } = useScope()
  const [{ namespace }] = useFilters<'namespace'>()
  const clusters = useAsk('AdminService/ListClusters', { customer_id: customer, page_size: 1000 })
  const staff = me.customer_id === ''
  const customers = useAsk('AccountService/ListCustomers', { page_size: 1000 }, { enabled: staff })
  const found = clusters.data?.find((each) => each.cluster_id === cluster)
  const owner = found?.customer_id ?? customer ?? (me.customer_id || undefined)
  if (!owner && !cluster) return undefined
  const customerName = staff ? (customers.data?.find((each) => each.customer_id === owner)?.company_name ?? 'the customer') : me.customer_name || 'your company'
  if (!cluster) return { customer_id: owner, name: customerName, kind: 'customer' }
  const clusterName = found?.cluster_name ?? 'the cluster'
  if (!namespace) return { cluster_id: cluster, name: clusterName, kind: 'cluster' }
  return { cluster_id: cluster, namespace, name: `${namespace} in ${clusterName}`, kind: 'namespace' }
}

function Rules() {
  const scope = useChosen()
  if (!scope)
    return (
      <Card>
        <Empty icon="policies" title="Choose a customer">
          Policies are a customer’s. Choose one at the top of the page, or one of their clusters.
        </Empty>
      </Card>
    )
  return (
    <div className="grid items-start gap-4 lg:grid-cols-[19rem_minmax(0,1fr)]">
      <Scopes />
      <ScopeRules key={`${scope.customer_id ?? ''}${scope.cluster_id ?? ''}${scope.namespace ?? ''}`} scope={scope} />
    </div>
  )
}

function ScopeRules({ scope }: { scope: PolicyScope }) {
  const { customer_id, cluster_id, namespace } = scope
  const [editing, setEditing] = useState(false)
  const effective = useAsk('GuardService/GetEffectivePolicy', { customer_id, cluster_id, namespace }, { every: 30_000 })
  const around = useAsk('GuardService/GetEffectivePolicy', namespace ? { cluster_id } : {}, { enabled: editing && scope.kind === 'namespace' })
  const outer = useAsk('GuardService/GetEffectivePolicy', { customer_id: useOwner(cluster_id) }, { enabled: editing && scope.kind === 'cluster' })
  const own = useAsk('GuardService/ListPolicies', { customer_id, cluster_id, page_size: 1000 })
  if (effective.error && !effective.data) return <FaultView fault={effective.error} retry={() => void effective.refetch()} />
  if (!effective.data || (own.isPending && !own.error))
    return (
      <Card title="Rules">
        <Skeleton lines={9} />
      </Card>
    )
  const policy = own.data?.find((each) => each.cluster_id === (cluster_id ?? '') && each.namespace === (namespace ?? ''))
  const inherited = scope.kind === 'namespace' ? around.data?.values : scope.kind === 'cluster' ? outer.data?.values : defaults
  if (!editing) return <Effective scope={scope} effective={effective.data} onEdit={() => setEditing(true)} canEdit={own.error ? own.error.message : undefined} />
  return <EditPolicy scope={scope} policy={policy} around={inherited ?? effective.data.values ?? {}} onDone={() => setEditing(false)} />
}

function useOwner(cluster?: string): string | undefined {
  const { customer } = useScope()
  const clusters = useAsk('AdminService/ListClusters', { customer_id: customer, page_size: 1000 })
  return clusters.data?.find((each) => each.cluster_id === cluster)?.customer_id
}

/** CloudOptim's own, as the contract has them. */
const defaults = {
  mode: 'read_only',
  budgets: { budgets: [{ nodes: '10%', nodes_per_hour: 0 }] },
  windows: { windows: [] },
  stale_after_seconds: 60,
  min_savings_ratio: 0.05,
  plan_every_minutes: 60,
  engines: { names: ['spot_optimize', 'bin_pack'] },
}
