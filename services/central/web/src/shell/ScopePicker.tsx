import { useNavigate } from '@tanstack/react-router'
import { useMe } from '@/api/me'
import { useAsk } from '@/api/query'
import { Select } from '@/ui/Field'
import { useScope } from './filters'

/** Chooses the cluster, and for the platform's staff the customer, that all pages look at. */
export function ScopePicker() {
  const me = useMe()
  const { cluster, customer } = useScope()
  const staff = me.customer_id === ''
  const navigate = useNavigate()
  const customers = useAsk('AccountService/ListCustomers', { page_size: 1000 }, { enabled: staff })
  const clusters = useAsk('AdminService/ListClusters', { customer_id: customer })
  const look = (change: { cluster?: string; customer?: string }) => void navigate({ to: '.', search: ((old: object) => ({ ...old, ...change })) as never })
  return (
    <div className="flex min-w-0 flex-1 items-center gap-2 md:flex-none">
      {staff ? (
        <Select aria-label="Customer" className="min-w-0 flex-1 md:max-w-44 md:flex-none" value={customer ?? ''} onChange={(event) => look({ customer: event.target.value || undefined, cluster: undefined })}>
          <option value="">All customers</option>
          {customers.data?.map((each) => (
            <option key={each.customer_id} value={each.customer_id}>
              {each.company_name}
            </option>
          ))}
        </Select>
      ) : (
        <span className="hidden max-w-44 truncate text-sm font-medium xl:inline">{me.customer_name}</span>
      )}
      <Select aria-label="Cluster" className="min-w-0 flex-1 md:w-44 md:flex-none" value={cluster ?? ''} onChange={(event) => look({ cluster: event.target.value || undefined })}>
        <option value="">All clusters</option>
        {clusters.data?.map((each) => (
          <option key={each.cluster_id} value={each.cluster_id}>
            {each.cluster_name}
          </option>
        ))}
      </Select>
    </div>
  )
}
