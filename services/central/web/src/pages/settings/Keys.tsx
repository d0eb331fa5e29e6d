import { useMemo, useState } from 'react'
import { useWhyNot } from '@/api/me'
import { useAct, useAsk, usePages } from '@/api/query'
import type { APIKey } from '@/api/schema'
import { moment } from '@/format/time'
import { word } from '@/format/words'
import { useFilters } from '@/shell/filters'
import { Badge } from '@/ui/Badge'
import { Button } from '@/ui/Button'
import { Card } from '@/ui/Card'
import { Confirm } from '@/ui/Confirm'
import { DataTable, type Column } from '@/ui/DataTable'
import { Dialog } from '@/ui/Dialog'
import { Empty } from '@/ui/Empty'
import { Check, Choice, Field, Input, Select } from '@/ui/Field'
import { Ago, Time } from '@/ui/Time'
import { roleNotes, roles } from './roles'
import { Secret } from './Secret'

const scopes = ['agent', ...roles] as const
type Scope = (typeof scopes)[number]

/** Keys of people, programs and agents. */
export function Keys({ customer }: { customer: string }) {
  const [{ ended }, setFilter] = useFilters<'ended'>()
  const [scope, setScope] = useState<Scope | ''>('')
  const keys = usePages('AdminService/ListAPIKeys', { customer_id: customer, scope, include_ended: ended === '1', page_size: 200 })
  const clusters = useAsk('AdminService/ListClusters', { customer_id: customer })
  const [making, setMaking] = useState(false)
  const [ending, setEnding] = useState<APIKey>()
  const mayNotMake = useWhyNot('AdminService/CreateAPIKey')
  const mayNotRevoke = useWhyNot('AdminService/RevokeAPIKey')
  const revoke = useAct('AdminService/RevokeAPIKey', { done: 'The key has ended.', changes: ['AdminService/ListAPIKeys'], onDone: () => setEnding(undefined) })
  const names = useMemo(() => new Map(clusters.data?.map((each) => [each.cluster_id, each.cluster_name])), [clusters.data])
  const columns = useMemo(() => columnsOf({ names, end: setEnding, mayNotRevoke }), [names, mayNotRevoke])
  const make = (
    <Button kind="primary" icon="plus" whyNot={mayNotMake} onClick={() => setMaking(true)}>
      Make a key
    </Button>
  )
  return (
    <Card
      title="API keys"
      note="For programs, agents and people without single sign-on. A key is shown once, when it is made."
      actions={
        <>
          <Check label="Ended ones too" checked={ended === '1'} onChange={(event) => setFilter({ ended: event.target.checked ? '1' : undefined })} />
          <Choice<Scope> label="Scope" value={scope} options={[['', 'All scopes'], ...scopes.map((each): [Scope, string] => [each, word(each)])]} onChange={setScope} />
          {make}
        </>
      }
      flush
    >
      <DataTable
        label="API keys"
        columns={columns}
        rows={keys.items}
        rowId={(row) => row.api_key_id}
        loading={keys.isPending}
        fault={keys.error}
        retry={() => void keys.refetch()}
        more={{ has: keys.hasNextPage, loading: keys.isFetchingNextPage, load: () => void keys.fetchNextPage() }}
        height="calc(100vh - 16rem)"
        empty={
          <Empty icon="key" title={scope ? 'No key of this scope' : 'There are no keys'} action={make}>
            A key lets a program use the API. Agents get theirs when a cluster is connected.
          </Empty>
        }
      />
      {making && <MakeKey customer={customer} onClose={() => setMaking(false)} />}
      <Confirm
        open={ending !== undefined}
        onClose={() => setEnding(undefined)}
        title={`Revoke ${ending?.prefix}…?`}
        act="Revoke"
        danger
        busy={revoke.isPending}
        typed={ending?.scope === 'agent' ? ending.prefix : undefined}
        blastRadius={
          ending?.scope === 'agent'
            ? `The agent of ${names.get(ending.cluster_id) ?? 'its cluster'} is shut out at once: nothing is seen or done there until it has another key. To change it without a gap, rotate it on the cluster’s page.`
            : `Whatever uses “${ending?.description || ending?.prefix}” is refused at once, and sessions made with it end.`
        }
        onAct={() => ending && revoke.mutate({ api_key_id: ending.api_key_id })}
      />
    </Card>
  )
}

/** Why a key does not work; undefined: it does. */
function endOf(key: APIKey): string | undefined {
  if (key.revoked_at) return 'Revoked'
  const end = moment(key.expires_at)
  return end && end.getTime() < Date.now() ? 'Expired' : undefined
}

function columnsOf({ names, end, mayNotRevoke }: { names: Map<string, string>; end: (key: APIKey) => void; mayNotRevoke?: string }): Column<APIKey>[] {
  return [
    {
      id: 'prefix',
      header: 'Key',
      cell: (row) => (
        <div className="min-w-0">
          <code className="font-mono text-xs">{row.prefix}…</code>
          <p className="truncate text-xs text-ink-3">{row.description || 'No description'}</p>
        </div>
      ),
    },
    { id: 'scope', header: 'Scope', width: '8rem', cell: (row) => <Badge tone={row.scope === 'admin' || row.scope === 'platform' ? 'accent' : 'plain'}>{word(row.scope)}</Badge> },
    { id: 'cluster', header: 'Cluster', width: '12rem', cell: (row) => (row.cluster_id ? (names.get(row.cluster_id) ?? row.cluster_id.slice(0, 8)) : <span className="text-ink-3">–</span>) },
    { id: 'used', header: 'Used last', width: '8rem', cell: (row) => <Ago at={row.last_used_at} /> },
    { id: 'made', header: 'Made', width: '9rem', cell: (row) => <Time at={row.created_at} /> },
    {
      id: 'ends',
      header: 'Ends',
      width: '11rem',
      cell: (row) => {
        const ended = endOf(row)
        return ended ? <Badge>{ended}</Badge> : <Time at={row.expires_at} none="never" />
      },
    },
    {
      id: 'act',
      header: '',
      align: 'right',
      width: '7rem',
      cell: (row) => (
        <Button small whyNot={mayNotRevoke ?? (endOf(row) ? 'It has ended.' : undefined)} onClick={() => end(row)} aria-label={`Revoke ${row.prefix}`}>
          Revoke
        </Button>
      ),
    },
  ]
}

function MakeKey({ customer, onClose }: { customer: string; onClose: () => void }) {
  const [scope, setScope] = useState<Scope>('viewer')
  const [cluster, setCluster] = useState('')
  const [description, setDescription] = useState('')
  const [ends, setEnds] = useState('')
  const clusters = useAsk('AdminService/ListClusters', { customer_id: customer })
  const make = useAct('AdminService/CreateAPIKey', { changes: ['AdminService/ListAPIKeys'] })
  if (make.data) return <Secret title="The key is made" secrets={[['Key', make.data.secret]]} onClose={onClose} />
  const until = moment(ends ? `${ends}T23:59:59` : '')
  const whyNot = description.trim() === '' ? 'Say what it is for.' : scope === 'agent' && cluster === '' ? 'Choose the agent’s cluster.' : undefined
  return (
    <Dialog open onClose={onClose} title="Make an API key" about="It is shown once. Give it the least that it needs.">
      <form
        className="flex flex-col gap-4"
        onSubmit={(event) => {
          event.preventDefault()
          if (!whyNot) make.mutate({ customer_id: customer, scope, cluster_id: scope === 'agent' ? cluster : undefined, description: description.trim(), expires_at: until?.toISOString() })
        }}
      >
        <Field label="What it is for" hint="e.g. Grafana, or CI of team payments">
          {(ids) => <Input {...ids} autoFocus maxLength={255} value={description} onChange={(event) => setDescription(event.target.value)} />}
        </Field>
        <Field label="Scope" hint={roleNotes[scope]}>
          {(ids) => (
            <Select {...ids} value={scope} onChange={(event) => setScope(event.target.value as Scope)}>
              {scopes.map((each) => (
                <option key={each} value={each}>
                  {word(each)}
                </option>
              ))}
            </Select>
          )}
        </Field>
        {scope === 'agent' && (
          <Field label="Cluster">
            {(ids) => (
              <Select {...ids} value={cluster} onChange={(event) => setCluster(event.target.value)}>
                <option value="">Choose a cluster</option>
                {clusters.data?.map((each) => (
                  <option key={each.cluster_id} value={each.cluster_id}>
                    {each.cluster_name}
                  </option>
                ))}
              </Select>
            )}
          </Field>
        )}
        <Field label="Ends after" hint="Empty: never">
          {(ids) => <Input {...ids} type="date" value={ends} onChange={(event) => setEnds(event.target.value)} />}
        </Field>
        <div className="flex justify-end gap-2">
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" kind="primary" busy={make.isPending} whyNot={whyNot}>
            Make the key
          </Button>
        </div>
      </form>
    </Dialog>
  )
}
