import { useNavigate } from '@tanstack/react-router'
import { useState, type ReactNode } from 'react'
import { useMe } from '@/api/me'
import { useAsk } from '@/api/query'
import type { Cluster } from '@/api/schema'
import { word } from '@/format/words'
import { useFilters, useScope } from '@/shell/filters'
import { Badge } from '@/ui/Badge'
import { Button } from '@/ui/Button'
import { Card } from '@/ui/Card'
import { cx } from '@/ui/cx'
import { Search } from '@/ui/Field'
import { Icon, type IconName } from '@/ui/Icon'

/** The customer, its clusters and their namespaces: what holds in each, and where something is set. */
export function Scopes() {
  const me = useMe()
  const { cluster, customer } = useScope()
  const [{ namespace }] = useFilters<'namespace'>()
  const [search, setSearch] = useState('')
  const navigate = useNavigate()
  const clusters = useAsk('AdminService/ListClusters', { customer_id: customer, page_size: 1000 })
  const policies = useAsk('GuardService/ListPolicies', { customer_id: customer ?? (me.customer_id || undefined), page_size: 1000 })
  const go = (to: { cluster?: string; namespace?: string }) => void navigate({ to: '/policies', search: ((old: object) => ({ ...old, cluster: to.cluster, namespace: to.namespace })) as never })
  const set = (id: string) => policies.data?.some((each) => each.cluster_id === id && each.namespace === '') ?? false
  const shown = clusters.data?.filter((each) => each.cluster_name.toLowerCase().includes(search.toLowerCase())) ?? []
  return (
    <Card title="Scope">
      <nav aria-label="Scopes" className="flex flex-col gap-0.5">
        <Entry icon="policies" on={!cluster} set={set('')} onChoose={() => go({})}>
          All clusters
        </Entry>
        {shown.length + (search ? 1 : 0) > 12 && <Search label="Find a cluster" value={search} onChange={setSearch} className="my-1 w-full *:w-full" />}
        <div className="max-h-[60vh] overflow-y-auto">
          {shown.map((each) => (
            <div key={each.cluster_id}>
              <Entry icon="clusters" indent={1} on={cluster === each.cluster_id && !namespace} set={set(each.cluster_id)} mode={each.mode} onChoose={() => go({ cluster: each.cluster_id })}>
                {each.cluster_name}
              </Entry>
              {cluster === each.cluster_id && (
                <Namespaces
                  cluster={each}
                  chosen={namespace}
                  own={policies.data?.filter((policy) => policy.cluster_id === each.cluster_id && policy.namespace !== '').map((policy) => policy.namespace) ?? []}
                  onChoose={(name) => go({ cluster: each.cluster_id, namespace: name })}
                />
              )}
            </div>
          ))}
        </div>
      </nav>
    </Card>
  )
}

function Namespaces({ cluster, chosen, own, onChoose }: { cluster: Cluster; chosen?: string; own: string[]; onChoose: (name: string) => void }) {
  const [all, setAll] = useState(false)
  const state = useAsk('AdminService/GetClusterState', { cluster_id: cluster.cluster_id }, { enabled: all })
  const found = all ? (state.data?.pods.map((pod) => pod.namespace) ?? []) : []
  const names = [...new Set([...own, ...found, ...(chosen ? [chosen] : [])])].toSorted()
  return (
    <>
      {names.map((name) => (
        <Entry key={name} icon="right" indent={2} on={chosen === name} set={own.includes(name)} onChoose={() => onChoose(name)}>
          {name}
        </Entry>
      ))}
      {!all && (
        <Button small kind="ghost" icon="plus" className="ml-8" onClick={() => setAll(true)}>
          All namespaces
        </Button>
      )}
      {all && state.isPending && <p className="pl-12 text-sm text-ink-3">Loading…</p>}
      {all && state.error && <p className="pl-12 text-sm text-bad">{state.error.message}</p>}
    </>
  )
}

function Entry({ icon, indent = 0, on, set, mode, onChoose, children }: { icon: IconName; indent?: number; on: boolean; set: boolean; mode?: string; onChoose: () => void; children: ReactNode }) {
  return (
    <button
      type="button"
      aria-current={on || undefined}
      onClick={onChoose}
      style={{ paddingLeft: `${0.5 + indent * 0.9}rem` }}
      className={cx('flex min-h-8 w-full items-center gap-2 rounded-md py-1 pr-2 text-left text-sm', on ? 'bg-accent-soft font-medium text-accent' : 'hover:bg-hover')}
    >
      <Icon name={icon} size={14} className={on ? '' : 'text-ink-3'} />
      <span className="min-w-0 flex-1 truncate">{children}</span>
      {mode && <span className="text-xs font-normal text-ink-3">{word(mode)}</span>}
      {set && <Badge tone="accent">set</Badge>}
    </button>
  )
}
