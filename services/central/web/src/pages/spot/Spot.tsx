import { useFilters } from '@/shell/filters'
import { Page } from '@/ui/Page'
import { Tabs } from '@/ui/Tabs'
import { Pools } from './Pools'
import { Reliability } from './Reliability'
import { Timeline } from './Timeline'

/** Spot: where it is risky, whether that is right, and what was done when AWS took nodes. */
export function Spot() {
  const [{ tab }, setFilter] = useFilters<'tab'>()
  const shown = tab === 'prediction' || tab === 'timeline' ? tab : 'pools'
  return (
    <Page title="Spot" about="Where AWS is likely to take nodes back, whether what was foretold came true, and what was done when it did.">
      <Tabs
        label="Spot"
        shown={shown}
        onShow={(next) => setFilter({ tab: next === 'pools' ? undefined : next })}
        tabs={[
          ['pools', 'Pools'],
          ['prediction', 'Prediction against outcome'],
          ['timeline', 'Interruptions'],
        ]}
      >
        {shown === 'pools' && <Pools />}
        {shown === 'prediction' && <Reliability />}
        {shown === 'timeline' && <Timeline />}
      </Tabs>
    </Page>
  )
}
