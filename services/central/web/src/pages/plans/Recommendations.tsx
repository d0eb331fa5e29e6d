import { useNavigate } from '@tanstack/react-router'
import { useMemo } from 'react'
import { useMe } from '@/api/me'
import { useAsk, usePages } from '@/api/query'
import type { Optimization } from '@/api/schema'
import { percent, perMonth } from '@/format/money'
import { capital, word } from '@/format/words'
import { useFilters, useScope } from '@/shell/filters'
import { Button } from '@/ui/Button'
import { Card } from '@/ui/Card'
import { DataTable, type Column } from '@/ui/DataTable'
import { Empty } from '@/ui/Empty'
import { Check, Choice } from '@/ui/Field'
import { FrozenPlans } from '@/ui/Frozen'
import { Page } from '@/ui/Page'
import { PlanBadge } from '@/ui/States'
import { Ago } from '@/ui/Time'
import { PlanActions } from '../plan/PlanActions'

const columns: Column<Optimization>[] = [
  {
    id: 'plan',
    header: 'Plan',
    cell: (row) => (
      <span>
        <span className="font-medium">{word(row.optimization_type)}</span> <span className="text-ink-3">in {row.cluster_name || 'a cluster'}</span>
      </span>
    ),
  },
  { id: 'state', header: 'State', cell: (row) => <PlanBadge plan={row} /> },
  {
    id: 'estimated_savings',
    header: 'Saves',
    sortable: true,
    align: 'right',
    hint: 'By the estimate; of plans that ran, by the prices right after.',
    cell: (row) => {
      const ran = row.status === 'completed' && !row.dry_run && row.approval !== 'recommended'
      const saves = ran ? row.actual_savings : row.estimated_savings
      return <span className={saves > 0 ? 'font-medium text-ok' : 'text-ink-3'}>{perMonth(saves)}</span>
    },
  },
  {
    id: 'blast',
    header: 'Touches',
    cell: (row) => (
      <span title={row.plan?.blast_radius} className="block max-w-md truncate text-ink-2">
        {capital(row.plan?.blast_radius || '–')}
      </span>
    ),
  },
  { id: 'confidence', header: 'Confidence', align: 'right', hint: 'Age and completeness of prices and state.', cell: (row) => (row.confidence_score > 0 ? percent(row.confidence_score) : '–') },
  { id: 'created_at', header: 'Made', sortable: true, align: 'right', cell: (row) => <Ago at={row.created_at} /> },
  {
    id: 'act',
    header: 'Decide',
    align: 'right',
    cell: (row) => (
      <span className="inline-flex justify-end gap-1">
        <PlanActions plan={row} small />
      </span>
    ),
  },
]

type Filter = 'type' | 'approval' | 'status' | 'sort' | 'dry'

/** The queue: what was found, what waits for someone, what runs, and what came of it. */
export function Recommendations() {
  const [filters, set] = useFilters<Filter>()
  const { cluster, customer } = useScope()
  const me = useMe()
  const navigate = useNavigate()
  const args = useMemo(
    () => ({
      cluster_id: cluster,
      optimization_type: filters.type,
      approval: filters.approval,
      status: filters.status,
      include_dry_runs: filters.dry === 'yes',
      // The server knows these two orders; the other way round is not asked for.
      order_by: filters.sort ? `${filters.sort.split(' ')[0]} desc` : undefined,
      page_size: 100,
    }),
    [cluster, filters.type, filters.approval, filters.status, filters.dry, filters.sort],
  )
  const list = usePages('AdminService/ListOptimizations', args)
  const policy = useAsk('GuardService/GetEffectivePolicy', { cluster_id: cluster, customer_id: customer }, { enabled: Boolean(cluster || customer || me.customer_id) })
  const filtered = Boolean(filters.type || filters.approval || filters.status)
  return (
    <Page title="Recommendations" about="Plans that save money, with what they touch. What happens to one is its cluster’s policy to say.">
      <FrozenPlans values={policy.data?.values} />
      <Card flush>
        <div className="flex flex-wrap items-center gap-2 px-4 py-3">
          <Choice
            label="Decision"
            value={filters.approval ?? ''}
            onChange={(approval) => set({ approval: approval || undefined })}
            options={[
              ['', 'All decisions'],
              ['awaiting', 'Waiting for approval'],
              ['snoozed', 'Snoozed'],
              ['recommended', 'Recommended only'],
              ['approved', 'Approved'],
              ['rejected', 'Rejected'],
              ['expired', 'Expired'],
              ['superseded', 'Superseded'],
              ['not_needed', 'Needed none'],
            ]}
          />
          <Choice
            label="State"
            value={filters.status ?? ''}
            onChange={(status) => set({ status: status || undefined })}
            options={[
              ['', 'All states'],
              ['pending', 'Not begun'],
              ['executing', 'Running'],
              ['completed', 'Completed'],
              ['failed', 'Failed'],
              ['cancelled', 'Cancelled'],
            ]}
          />
          <Choice
            label="Kind"
            value={filters.type ?? ''}
            onChange={(type) => set({ type: type || undefined })}
            options={[
              ['', 'All kinds'],
              ['bin_pack', 'Consolidation'],
              ['spot_optimize', 'Spot mix'],
              ['rightsize', 'Rightsizing'],
              ['schedule', 'Schedule'],
            ]}
          />
          <Check label="Dry runs, too" checked={filters.dry === 'yes'} onChange={(event) => set({ dry: event.target.checked ? 'yes' : undefined })} />
        </div>
        <DataTable
          label="Plans"
          columns={columns}
          rows={list.items}
          rowId={(row) => row.optimization_id}
          sortedByServer
          sort={filters.sort}
          onSort={(sort) => set({ sort: sort ? `${sort.split(' ')[0]} desc` : undefined })}
          onOpen={(row) => void navigate({ to: '/plans/$planId', params: { planId: row.optimization_id } })}
          loading={list.isPending}
          fault={list.error}
          retry={() => void list.refetch()}
          more={{ has: list.hasNextPage, loading: list.isFetchingNextPage, load: list.fetchNextPage }}
          height="calc(100vh - 14rem)"
          empty={
            filtered ? (
              <Empty icon="search" title="No plan is like that" action={<Button onClick={() => set({ type: undefined, approval: undefined, status: undefined })}>Show all</Button>} />
            ) : (
              <Empty icon="recommendations" title="No plan yet">
                CloudOptim looks for plans by itself once a cluster has reported for a while; on a cluster’s page, “Make a plan” does it now.
              </Empty>
            )
          }
        />
      </Card>
    </Page>
  )
}
