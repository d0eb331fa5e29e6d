import { useMe, useWhyNot } from '@/api/me'
import { useFilters } from '@/shell/filters'
import { Card } from '@/ui/Card'
import { Empty } from '@/ui/Empty'
import { Page } from '@/ui/Page'
import { Tabs } from '@/ui/Tabs'
import { Gaps } from './Gaps'
import { Versions } from './Versions'

/** What foretells interruptions, and the data that it is made of. */
export function Models() {
  const whyNot = useWhyNot('AdminService/ListModels')
  const me = useMe()
  const [{ tab }, setFilter] = useFilters<'tab'>()
  if (whyNot)
    return (
      <Page title="Models and data">
        <Card>
          <Empty icon="data" title="CloudOptim’s staff look after models">
            The models that foretell interruptions are shared by all customers, so that none changes them for another; you are {me.role}. How well they foretell for your clusters is on the Spot page.
          </Empty>
        </Card>
      </Page>
    )
  return (
    <Page title="Models and data" about="What foretells interruptions for all customers, and the data that it learns from.">
      <Tabs
        label="Models and data"
        shown={tab === 'data' ? 'data' : 'versions'}
        onShow={(next) => setFilter({ tab: next === 'versions' ? undefined : next })}
        tabs={[
          ['versions', 'Versions'],
          ['data', 'Gaps in the data'],
        ]}
      >
        {tab === 'data' ? <Gaps /> : <Versions />}
      </Tabs>
    </Page>
  )
}
