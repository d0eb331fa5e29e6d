import { useNavigate } from '@tanstack/react-router'
import { Command } from 'cmdk'
import { Dialog as Radix } from 'radix-ui'
import { useMe, useWhyNot } from '@/api/me'
import { useAsk } from '@/api/query'
import { word } from '@/format/words'
import { useEscape } from '@/ui/escape'
import { Icon, type IconName } from '@/ui/Icon'
import { places } from './nav'
import { chooseTheme } from './theme'

const item = 'flex h-9 items-center gap-2.5 rounded-md px-2.5 text-sm data-[selected=true]:bg-hover cursor-pointer'
const group = '**:[[cmdk-group-heading]]:px-2.5 **:[[cmdk-group-heading]]:py-1.5 **:[[cmdk-group-heading]]:text-xs **:[[cmdk-group-heading]]:text-ink-3'

/** Finds pages, clusters, plans and things to do by typing. */
export function Palette({ open, onClose }: { open: boolean; onClose: () => void }) {
  const me = useMe()
  const navigate = useNavigate()
  const mayNotConnect = useWhyNot('AdminService/CreateCluster')
  const clusters = useAsk('AdminService/ListClusters', {}, { enabled: open })
  const plans = useAsk('AdminService/ListOptimizations', { page_size: 20 }, { enabled: open })
  useEscape(open, onClose)
  const go = (act: () => void) => () => {
    onClose()
    act()
  }
  return (
    <Radix.Root open={open} onOpenChange={(now) => !now && onClose()}>
      <Radix.Portal>
        <Radix.Overlay className="fixed inset-0 z-40 bg-[#06100e]/55" />
        <Radix.Content className="rise fixed top-[14vh] left-1/2 z-40 w-[calc(100vw-2rem)] max-w-xl -translate-x-1/2 overflow-hidden rounded-lg border border-line bg-panel shadow-high">
          <Radix.Title className="sr-only">Search</Radix.Title>
          <Radix.Description className="sr-only">Find pages, clusters, plans and things to do</Radix.Description>
          <Command label="Search">
            <div className="flex items-center gap-2.5 border-b border-line px-4">
              <Icon name="search" className="text-ink-3" />
              <Command.Input placeholder="Search pages, clusters, plans" className="h-12 flex-1 bg-transparent outline-none placeholder:text-ink-3" />
            </div>
            <Command.List className="max-h-[50vh] overflow-y-auto p-1.5">
              <Command.Empty className="py-8 text-center text-sm text-ink-3">Nothing is called that.</Command.Empty>
              <Command.Group heading="Pages" className={group}>
                {places
                  .flatMap((each) => each.places)
                  .filter(({ needs }) => !needs || me.may_call.includes(needs))
                  .map(({ to, text, icon }) => (
                    <Entry key={to} icon={icon} text={text} onSelect={go(() => void navigate({ to }))} />
                  ))}
              </Command.Group>
              {(clusters.data?.length ?? 0) > 0 && (
                <Command.Group heading="Clusters" className={group}>
                  {clusters.data?.map((each) => (
                    <Entry
                      key={each.cluster_id}
                      value={`${each.cluster_name} ${each.cluster_id}`}
                      icon="clusters"
                      text={each.cluster_name}
                      more={`${each.region}, ${each.node_count} nodes`}
                      onSelect={go(() => void navigate({ to: '/clusters/$clusterId', params: { clusterId: each.cluster_id } }))}
                    />
                  ))}
                </Command.Group>
              )}
              {(plans.data?.length ?? 0) > 0 && (
                <Command.Group heading="Plans" className={group}>
                  {plans.data?.map((each) => (
                    <Entry
                      key={each.optimization_id}
                      value={`${word(each.optimization_type)} ${each.cluster_name} ${each.optimization_id}`}
                      icon="recommendations"
                      text={`${word(each.optimization_type)} in ${each.cluster_name || 'a cluster'}`}
                      more={word(each.status)}
                      onSelect={go(() => void navigate({ to: '/plans/$planId', params: { planId: each.optimization_id } }))}
                    />
                  ))}
                </Command.Group>
              )}
              <Command.Group heading="Do" className={group}>
                {!mayNotConnect && <Entry icon="plus" text="Connect a cluster" onSelect={go(() => void navigate({ to: '/clusters/connect' }))} />}
                <Entry icon="sun" text="Light theme" onSelect={go(() => chooseTheme('light'))} />
                <Entry icon="moon" text="Dark theme" onSelect={go(() => chooseTheme('dark'))} />
              </Command.Group>
            </Command.List>
          </Command>
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  )
}

function Entry({ icon, text, more, value, onSelect }: { icon: IconName; text: string; more?: string; value?: string; onSelect: () => void }) {
  return (
    <Command.Item value={value ?? text} onSelect={onSelect} className={item}>
      <Icon name={icon} className="text-ink-3" />
      <span className="flex-1 truncate">{text}</span>
      {more && <span className="text-xs text-ink-3">{more}</span>}
    </Command.Item>
  )
}
