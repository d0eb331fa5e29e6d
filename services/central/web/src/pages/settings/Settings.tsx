import { useMe, useWhyNot } from '@/api/me'
import { useFilters, useScope } from '@/shell/filters'
import { Card } from '@/ui/Card'
import { Empty } from '@/ui/Empty'
import { Page } from '@/ui/Page'
import { Tabs } from '@/ui/Tabs'
import { About } from './About'
import { Company } from './Company'
import { Customers } from './Customers'
import { Keys } from './Keys'
import { Members } from './Members'

type Tab = 'company' | 'members' | 'keys' | 'customers' | 'about'

/** The customer, who may come in, and with what. */
export function Settings() {
  const me = useMe()
  const staff = me.customer_id === ''
  const { customer } = useScope()
  const [{ tab }, setFilter] = useFilters<'tab'>()
  const owner = customer ?? (me.customer_id || undefined)
  const tabs: [Tab, string][] = [
    ...(staff ? ([['customers', 'Customers']] as [Tab, string][]) : []),
    ['company', staff ? 'Customer' : 'Company'],
    ['members', 'Members'],
    ['keys', 'API keys'],
    ['about', 'About'],
  ]
  const shown = tabs.find(([id]) => id === tab)?.[0] ?? tabs[0]![0]
  return (
    <Page title="Settings">
      <Tabs label="Settings" tabs={tabs} shown={shown} onShow={(next) => setFilter({ tab: next })}>
        {shown === 'customers' && <Customers />}
        {shown === 'company' && (owner ? <Company key={owner} customer={owner} /> : <ChooseCustomer />)}
        {shown === 'members' && (owner ? <Guarded rpc="AccountService/ListMembers" what="members">{<Members customer={owner} />}</Guarded> : <ChooseCustomer />)}
        {shown === 'keys' && (owner ? <Guarded rpc="AdminService/ListAPIKeys" what="API keys">{<Keys customer={owner} />}</Guarded> : <ChooseCustomer />)}
        {shown === 'about' && <About />}
      </Tabs>
    </Page>
  )
}

function ChooseCustomer() {
  return (
    <Card>
      <Empty icon="user" title="Choose a customer">
        Choose one at the top of the page; what is here belongs to one.
      </Empty>
    </Card>
  )
}

function Guarded({ rpc, what, children }: { rpc: 'AccountService/ListMembers' | 'AdminService/ListAPIKeys'; what: string; children: React.ReactNode }) {
  const whyNot = useWhyNot(rpc)
  if (!whyNot) return children
  return (
    <Card>
      <Empty icon="key" title={`Admins see ${what}`}>
        {whyNot} Ask an admin of your company.
      </Empty>
    </Card>
  )
}
