import { useNavigate } from '@tanstack/react-router'
import { useState } from 'react'
import { useAsk } from '@/api/query'
import { useFilters } from '@/shell/filters'
import { Card } from '@/ui/Card'
import { FaultView, Skeleton } from '@/ui/Empty'
import { Icon } from '@/ui/Icon'
import { Page } from '@/ui/Page'
import { cx } from '@/ui/cx'
import { CreateCluster } from './CreateCluster'
import { FirstEstimate } from './FirstEstimate'
import { InstallAgent } from './InstallAgent'

const stages = ['Name it', 'Install the agent', 'First estimate'] as const

/**
 * From nothing to a first savings estimate. The URL holds the cluster once it is made, so that the page may be left
 * and come back to; the key is in this page's memory alone.
 */
export function Connect() {
  const [{ id }, set] = useFilters<'id'>()
  const [key, setKey] = useState<{ id: string; secret: string }>()
  const navigate = useNavigate()
  const record = useAsk('InventoryService/GetCluster', { cluster_id: id ?? '' }, { enabled: Boolean(id), every: 4000 })
  const list = useAsk('AdminService/ListClusters', {}, { enabled: Boolean(id), every: 4000 })
  const cluster = record.data?.cluster ?? list.data?.find((each) => each.cluster_id === id)
  const seen = Boolean(cluster?.last_seen_at)
  const stage = !id ? 0 : seen ? 2 : 1
  return (
    <Page title="Connect a cluster" about="It begins read-only: CloudOptim looks and tells what could be saved. Nothing is changed until you say so.">
      <ol className="flex flex-wrap items-center gap-x-3 gap-y-2 text-sm">
        {stages.map((name, i) => (
          <li key={name} aria-current={i === stage ? 'step' : undefined} className={cx('flex items-center gap-2', i === stage ? 'font-medium' : 'text-ink-3')}>
            <span
              className={cx(
                'grid size-6 place-items-center rounded-full text-xs font-semibold',
                i < stage ? 'bg-ok-soft text-ok' : i === stage ? 'bg-accent text-on-accent' : 'bg-sunk text-ink-3',
              )}
            >
              {i < stage ? <Icon name="check" size={13} /> : i + 1}
            </span>
            {name}
            {i < stages.length - 1 && <span aria-hidden="true" className="ml-1 h-px w-10 bg-line-strong" />}
          </li>
        ))}
      </ol>
      {!id ? (
        <CreateCluster
          onMade={(made) => {
            setKey({ id: made.cluster?.cluster_id ?? '', secret: made.agent_api_key })
            set({ id: made.cluster?.cluster_id })
          }}
        />
      ) : cluster ? (
        <>
          <InstallAgent cluster={cluster} secret={key?.id === id ? key.secret : undefined} seen={seen} />
          {seen && <FirstEstimate cluster={cluster} onOpen={() => void navigate({ to: '/clusters/$clusterId', params: { clusterId: cluster.cluster_id } })} />}
        </>
      ) : (
        <Card>{record.error && list.data ? <FaultView fault={record.error} retry={() => void record.refetch()} /> : <Skeleton lines={6} />}</Card>
      )}
    </Page>
  )
}
