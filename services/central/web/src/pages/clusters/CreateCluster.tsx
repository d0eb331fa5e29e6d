import { useState } from 'react'
import { useMe, useWhyNot } from '@/api/me'
import { useAct, useAsk } from '@/api/query'
import type { CreateClusterResponse } from '@/api/schema'
import { useScope } from '@/shell/filters'
import { Button } from '@/ui/Button'
import { Card } from '@/ui/Card'
import { FaultFacts } from '@/ui/Empty'
import { Field, Input, Select } from '@/ui/Field'

const regions = [
  'us-east-1', 'us-east-2', 'us-west-1', 'us-west-2', 'ca-central-1', 'sa-east-1', 'eu-central-1', 'eu-central-2', 'eu-west-1', 'eu-west-2', 'eu-west-3', 'eu-north-1',
  'eu-south-1', 'ap-northeast-1', 'ap-northeast-2', 'ap-northeast-3', 'ap-southeast-1', 'ap-southeast-2', 'ap-south-1', 'me-central-1', 'af-south-1',
]

/** Registers a cluster, which makes its agent's key. */
export function CreateCluster({ onMade }: { onMade: (made: CreateClusterResponse) => void }) {
  const me = useMe()
  const scope = useScope()
  const staff = me.customer_id === ''
  const customers = useAsk('AccountService/ListCustomers', { page_size: 1000 }, { enabled: staff })
  const [name, setName] = useState('')
  const [region, setRegion] = useState('')
  const [customer, setCustomer] = useState(scope.customer ?? '')
  const whyNot = useWhyNot('AdminService/CreateCluster')
  const create = useAct('AdminService/CreateCluster', { quiet: true, changes: ['AdminService/ListClusters'], onDone: onMade })
  const fault = create.error
  const missing = !name.trim() ? 'Name it first.' : !/^[a-z]{2}(-[a-z]+)+-[0-9]$/.test(region) ? 'Choose its region first.' : staff && !customer ? 'Choose a customer first.' : undefined
  const about = (field: string) => (fault?.details.field === field ? String(fault.details.constraint ?? fault.message) : undefined)
  return (
    <Card className="max-w-2xl">
      <form
        className="flex flex-col gap-4"
        onSubmit={(event) => {
          event.preventDefault()
          if (!missing && !whyNot) create.mutate({ cluster_name: name.trim(), region, customer_id: staff ? customer : undefined, mode: 'read_only' })
        }}
      >
        {staff && (
          <Field label="Customer">
            {(ids) => (
              <Select {...ids} value={customer} onChange={(event) => setCustomer(event.target.value)}>
                <option value="">Choose one</option>
                {customers.data?.map((each) => (
                  <option key={each.customer_id} value={each.customer_id}>
                    {each.company_name}
                  </option>
                ))}
              </Select>
            )}
          </Field>
        )}
        <Field
          label="Name"
          hint="As your team calls it, e.g. prod-eu. Unique in your organisation."
          error={about('cluster_name') ?? (fault?.code === 'CONFLICT' ? 'A cluster of this name is there already.' : undefined)}
        >
          {(ids) => <Input {...ids} autoFocus maxLength={255} value={name} onChange={(event) => setName(event.target.value)} />}
        </Field>
        <Field label="AWS region" error={about('region')}>
          {(ids) => (
            <>
              <Input {...ids} list="aws-regions" value={region} placeholder="eu-west-1" autoComplete="off" spellCheck={false} onChange={(event) => setRegion(event.target.value.trim())} />
              <datalist id="aws-regions">
                {regions.map((each) => (
                  <option key={each} value={each} />
                ))}
              </datalist>
            </>
          )}
        </Field>
        {fault && (
          <p role="alert" className="flex flex-col items-start text-sm text-bad">
            {fault.message}
            <FaultFacts fault={fault} />
          </p>
        )}
        <div>
          <Button type="submit" kind="primary" busy={create.isPending} whyNot={whyNot ?? missing}>
            Create and show the key
          </Button>
        </div>
      </form>
    </Card>
  )
}
