import { useNavigate } from '@tanstack/react-router'
import { useMemo, useState } from 'react'
import { useWhyNot } from '@/api/me'
import { useAct, usePages } from '@/api/query'
import type { Customer } from '@/api/schema'
import { count } from '@/format/money'
import { word } from '@/format/words'
import { Badge } from '@/ui/Badge'
import { Button } from '@/ui/Button'
import { Card } from '@/ui/Card'
import { DataTable, type Column } from '@/ui/DataTable'
import { Dialog } from '@/ui/Dialog'
import { Empty } from '@/ui/Empty'
import { Check, Field, Input, Search } from '@/ui/Field'
import { Time } from '@/ui/Time'
import { Secret } from './Secret'

const columns: Column<Customer>[] = [
  {
    id: 'name',
    header: 'Customer',
    cell: (row) => (
      <div className="min-w-0">
        <p className="truncate font-medium">{row.company_name}</p>
        <p className="truncate text-xs text-ink-3">{row.email}</p>
      </div>
    ),
  },
  { id: 'status', header: 'Status', width: '8rem', cell: (row) => <Badge tone={row.status === 'active' ? 'ok' : row.status === 'suspended' ? 'bad' : 'info'}>{word(row.status)}</Badge> },
  { id: 'clusters', header: 'Clusters', width: '7rem', align: 'right', cell: (row) => count(row.clusters) },
  { id: 'role', header: 'AWS role', cell: (row) => (row.aws_role_arn ? <code className="line-clamp-1 font-mono text-xs break-all">{row.aws_role_arn}</code> : <Badge tone="warn">none</Badge>) },
  { id: 'queue', header: 'Queue', width: '7rem', cell: (row) => (row.sqs_queue_url ? <Badge tone="ok">set</Badge> : <Badge tone="warn">none</Badge>) },
  { id: 'at', header: 'Registered', width: '9rem', cell: (row) => <Time at={row.created_at} /> },
]

/** All customers, for CloudOptim's staff. */
export function Customers() {
  const [search, setSearch] = useState('')
  const customers = usePages('AccountService/ListCustomers', { search, page_size: 200 })
  const [making, setMaking] = useState(false)
  const mayNot = useWhyNot('AdminService/CreateCustomer')
  const navigate = useNavigate()
  const rows = useMemo(() => customers.items, [customers.items])
  const make = (
    <Button kind="primary" icon="plus" whyNot={mayNot} onClick={() => setMaking(true)}>
      Register a customer
    </Button>
  )
  return (
    <Card
      title="Customers"
      actions={
        <>
          <Search label="Name or e-mail" value={search} onChange={setSearch} />
          {make}
        </>
      }
      flush
    >
      <DataTable
        label="Customers"
        columns={columns}
        rows={rows}
        rowId={(row) => row.customer_id}
        onOpen={(row) => void navigate({ to: '/settings', search: { customer: row.customer_id, tab: 'company' } as never })}
        loading={customers.isPending}
        fault={customers.error}
        retry={() => void customers.refetch()}
        more={{ has: customers.hasNextPage, loading: customers.isFetchingNextPage, load: () => void customers.fetchNextPage() }}
        height="calc(100vh - 16rem)"
        empty={
          <Empty icon="user" title={search ? 'No customer is called that' : 'There are no customers yet'} action={search ? undefined : make}>
            A customer is a company with its AWS account.
          </Empty>
        }
      />
      {making && <MakeCustomer onClose={() => setMaking(false)} />}
    </Card>
  )
}

function MakeCustomer({ onClose }: { onClose: () => void }) {
  const [draft, setDraft] = useState({ company_name: '', email: '', aws_role_arn: '', sqs_queue_url: '', sqs_queue_shared: false })
  const make = useAct('AdminService/CreateCustomer', { changes: ['AccountService/ListCustomers'] })
  if (make.data)
    return (
      <Secret
        title={`${draft.company_name} is registered`}
        secrets={[
          ['First admin key', make.data.admin_api_key],
          ['External id for the role’s trust policy', make.data.external_id],
        ]}
        onClose={onClose}
      />
    )
  const set = (change: Partial<typeof draft>) => setDraft({ ...draft, ...change })
  const whyNot = draft.company_name.trim() === '' ? 'Give a name.' : /^\S+@\S+\.\S+$/.test(draft.email.trim()) ? undefined : 'Give an e-mail address.'
  return (
    <Dialog open onClose={onClose} title="Register a customer" about="Makes its first admin key, shown once.">
      <form
        className="flex flex-col gap-4"
        onSubmit={(event) => {
          event.preventDefault()
          if (!whyNot) make.mutate({ ...draft, company_name: draft.company_name.trim(), email: draft.email.trim() })
        }}
      >
        <Field label="Name">{(ids) => <Input {...ids} autoFocus maxLength={255} value={draft.company_name} onChange={(event) => set({ company_name: event.target.value })} />}</Field>
        <Field label="E-mail">{(ids) => <Input {...ids} type="email" value={draft.email} onChange={(event) => set({ email: event.target.value })} />}</Field>
        <Field label="AWS role" hint="May come later, with the external id">
          {(ids) => <Input {...ids} spellCheck={false} placeholder="arn:aws:iam::123456789012:role/cloudoptim" value={draft.aws_role_arn} onChange={(event) => set({ aws_role_arn: event.target.value.trim() })} />}
        </Field>
        <Field label="SQS queue" hint="May come later">
          {(ids) => <Input {...ids} spellCheck={false} value={draft.sqs_queue_url} onChange={(event) => set({ sqs_queue_url: event.target.value.trim() })} />}
        </Field>
        <Check label="Others read the queue too" checked={draft.sqs_queue_shared} onChange={(event) => set({ sqs_queue_shared: event.target.checked })} />
        <div className="flex justify-end gap-2">
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" kind="primary" busy={make.isPending} whyNot={whyNot}>
            Register
          </Button>
        </div>
      </form>
    </Dialog>
  )
}
