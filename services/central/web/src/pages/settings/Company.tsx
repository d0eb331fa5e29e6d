import { useState } from 'react'
import { call } from '@/api/client'
import { faultOf } from '@/api/fault'
import { useMe, useWhyNot } from '@/api/me'
import { useAct, useAsk } from '@/api/query'
import type { Customer } from '@/api/schema'
import { many } from '@/format/money'
import { word } from '@/format/words'
import { Badge } from '@/ui/Badge'
import { Button } from '@/ui/Button'
import { Card, Facts } from '@/ui/Card'
import { Conflict, isConflict } from '@/ui/Conflict'
import { Copy } from '@/ui/Copy'
import { Empty, FaultView, Skeleton } from '@/ui/Empty'
import { Check, Field, Input, Select } from '@/ui/Field'
import { toast } from '@/ui/Toasts'
import { Time } from '@/ui/Time'

/** The customer's record: its AWS role and queue. */
export function Company({ customer }: { customer: string }) {
  const customers = useAsk('AccountService/ListCustomers', { page_size: 1000 })
  if (customers.error && !customers.data) return <FaultView fault={customers.error} retry={() => void customers.refetch()} />
  if (customers.isPending)
    return (
      <Card title="Company">
        <Skeleton lines={6} />
      </Card>
    )
  const found = customers.data?.find((each) => each.customer_id === customer)
  if (!found)
    return (
      <Card>
        <Empty icon="user" title="There is no such customer" />
      </Card>
    )
  return <Form kept={found} />
}

const roleARN = /^arn:aws[a-z-]*:iam::[0-9]{12}:role\/.+$/

function Form({ kept }: { kept: Customer }) {
  const staff = useMe().customer_id === ''
  const mayNot = useWhyNot('AccountService/UpdateCustomer')
  const [base, setBase] = useState(kept)
  const [draft, setDraft] = useState(kept)
  const [conflict, setConflict] = useState(false)
  const dirty = JSON.stringify(draft) !== JSON.stringify(base)
  if (!dirty && kept.etag !== base.etag) {
    setBase(kept)
    setDraft(kept)
  }
  const update = useAct('AccountService/UpdateCustomer', {
    done: 'The company’s record is saved.',
    changes: ['AccountService/ListCustomers'],
    quiet: true,
    onDone: (answer) => {
      setBase(answer)
      setDraft(answer)
      setConflict(false)
    },
  })
  const save = (etag: string) =>
    update.mutate(
      {
        customer_id: kept.customer_id,
        company_name: draft.company_name.trim(),
        email: draft.email.trim(),
        aws_role_arn: draft.aws_role_arn.trim(),
        sqs_queue_url: draft.sqs_queue_url.trim(),
        sqs_queue_shared: draft.sqs_queue_shared,
        status: staff && draft.status !== base.status ? draft.status : undefined,
        etag,
      },
      {
        onError: (fault) => {
          if (isConflict(fault)) setConflict(true)
          else toast.fault(fault)
        },
      },
    )
  const theirs = async () => (await call('AccountService/ListCustomers', { page_size: 1000 })).find((each) => each.customer_id === kept.customer_id)
  const reload = () =>
    theirs().then(
      (now) => {
        if (now) {
          setBase(now)
          setDraft(now)
        }
        setConflict(false)
      },
      (error) => toast.fault(faultOf(error)),
    )
  const wrongRole = draft.aws_role_arn !== '' && !roleARN.test(draft.aws_role_arn) ? 'arn:aws:iam::, 12 digits, :role/ and its name' : undefined
  const fault = draft.company_name.trim() === '' ? 'Give a name.' : /^\S+@\S+\.\S+$/.test(draft.email.trim()) ? wrongRole && 'The role’s ARN is not one.' : 'Give an e-mail address.'
  const set = (change: Partial<Customer>) => setDraft({ ...draft, ...change })
  return (
    <div className="grid items-start gap-4 xl:grid-cols-[minmax(0,1fr)_29rem]">
      <Card
        title={base.company_name}
        actions={
          <>
            {dirty && <Button onClick={() => setDraft(base)}>Undo</Button>}
            <Button kind="primary" busy={update.isPending} whyNot={mayNot ?? fault ?? (dirty ? undefined : 'Nothing is changed.')} onClick={() => save(base.etag)}>
              Save
            </Button>
          </>
        }
      >
        <div className="grid gap-4 md:grid-cols-2">
          <Field label="Name">{(ids) => <Input {...ids} value={draft.company_name} maxLength={255} disabled={Boolean(mayNot)} onChange={(event) => set({ company_name: event.target.value })} />}</Field>
          <Field label="E-mail">{(ids) => <Input {...ids} type="email" value={draft.email} disabled={Boolean(mayNot)} onChange={(event) => set({ email: event.target.value })} />}</Field>
          <Field label="AWS role" hint="CloudOptim assumes it in the customer’s account." error={wrongRole} className="md:col-span-2">
            {(ids) => <Input {...ids} spellCheck={false} placeholder="arn:aws:iam::123456789012:role/cloudoptim" value={draft.aws_role_arn} disabled={Boolean(mayNot)} onChange={(event) => set({ aws_role_arn: event.target.value })} />}
          </Field>
          <Field label="SQS queue" hint="Gets the account’s EC2 events: without it interruptions are known from the agents alone." className="md:col-span-2">
            {(ids) => <Input {...ids} spellCheck={false} placeholder="https://sqs.eu-west-1.amazonaws.com/123456789012/cloudoptim" value={draft.sqs_queue_url} disabled={Boolean(mayNot)} onChange={(event) => set({ sqs_queue_url: event.target.value })} />}
          </Field>
          <div className="md:col-span-2">
            <Check
              label="Others read the queue too"
              hint="Messages about instances that are not of these clusters are then left in it; else they are deleted."
              checked={draft.sqs_queue_shared}
              disabled={Boolean(mayNot)}
              onChange={(event) => set({ sqs_queue_shared: event.target.checked })}
            />
          </div>
          {staff && (
            <Field label="Status" hint="CloudOptim’s staff alone may change it.">
              {(ids) => (
                <Select {...ids} value={draft.status} disabled={Boolean(mayNot)} onChange={(event) => set({ status: event.target.value })}>
                  {['active', 'trial', 'suspended'].map((each) => (
                    <option key={each} value={each}>
                      {word(each)}
                    </option>
                  ))}
                </Select>
              )}
            </Field>
          )}
        </div>
      </Card>
      <Card title="What the role must ask for" note="The trust policy of the role takes CloudOptim only with this id (sts:ExternalId).">
        <Facts
          facts={[
            [
              'External id',
              <span key="id" className="inline-flex items-center gap-1.5">
                <code className="font-mono text-xs break-all">{base.external_id || '–'}</code>
                {base.external_id && <Copy text={base.external_id} label="Copy the external id" />}
              </span>,
            ],
            [
              'Customer id',
              <span key="customer" className="inline-flex items-center gap-1.5">
                <code className="font-mono text-xs break-all">{base.customer_id}</code>
                <Copy text={base.customer_id} label="Copy the customer id" />
              </span>,
            ],
            ['Status', <Badge key="status" tone={base.status === 'active' ? 'ok' : base.status === 'suspended' ? 'bad' : 'info'}>{word(base.status)}</Badge>],
            ['Clusters', many(base.clusters, 'cluster')],
            ['Registered', <Time key="at" at={base.created_at} />],
          ]}
        />
      </Card>
      <Conflict open={conflict} what="The company’s record" busy={update.isPending} onClose={() => setConflict(false)} onReload={() => void reload()} onOverwrite={() => void theirs().then((now) => save(now?.etag ?? ''), (error) => toast.fault(faultOf(error)))} />
    </div>
  )
}
