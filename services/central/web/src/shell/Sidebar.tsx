import { Link } from '@tanstack/react-router'
import { useMe } from '@/api/me'
import { useAsk } from '@/api/query'
import { cx } from '@/ui/cx'
import { Icon, Mark } from '@/ui/Icon'
import { useScope } from './filters'
import { places } from './nav'

/** Where everything is. On tablets only its drawings are shown; on phones it is in the drawer. */
export function Sidebar() {
  return (
    <nav aria-label="Pages" className="hidden w-14 shrink-0 flex-col overflow-y-auto bg-rail text-rail-ink md:flex lg:w-56">
      <Link to="/" className="flex h-14 shrink-0 items-center gap-2.5 px-3.5 text-rail-accent lg:px-4.5">
        <Mark size={26} />
        <span className="hidden text-lg font-semibold tracking-tight text-[#eaf3f0] lg:inline">CloudOptim</span>
        <span className="sr-only lg:hidden">CloudOptim, overview</span>
      </Link>
      <Places />
    </nav>
  )
}

/** The pages by group. `wide`: with their names on any screen. */
export function Places({ wide, onGo }: { wide?: boolean; onGo?: () => void }) {
  const me = useMe()
  const waiting = useWaiting()
  return (
    <div className="flex flex-1 flex-col gap-5 px-2 pt-3 pb-4 lg:px-2.5">
      {places.map(({ group, places: pages }) => (
        <div key={group}>
          <p className={cx('mb-1 px-2 text-xs font-medium text-rail-ink-2', !wide && 'hidden lg:block')}>{group}</p>
          <ul className="flex flex-col gap-px">
            {pages
              .filter(({ needs }) => !needs || me.may_call.includes(needs))
              .map(({ to, text, icon }) => (
                <li key={to}>
                  <Link
                    to={to}
                    activeOptions={{ exact: to === '/', includeSearch: false }}
                    activeProps={{ className: 'bg-rail-on text-white!' }}
                    title={wide ? undefined : text}
                    onClick={onGo}
                    className={cx(
                      'flex items-center gap-2.5 rounded-md px-2 text-sm transition-colors hover:bg-rail-hover hover:text-white focus-visible:outline-rail-accent',
                      wide ? 'h-11' : 'h-8.5 justify-center lg:justify-start',
                    )}
                  >
                    <Icon name={icon} size={16} />
                    <span className={wide ? 'flex-1' : 'sr-only flex-1 lg:not-sr-only'}>{text}</span>
                    {to === '/recommendations' && waiting > 0 && (
                      <span className={cx('min-w-5 rounded-full bg-rail-accent px-1.5 text-center text-xs leading-5 font-semibold text-[#06211c]', !wide && 'hidden lg:inline')}>
                        {waiting}
                        <span className="sr-only"> waiting for approval</span>
                      </span>
                    )}
                  </Link>
                </li>
              ))}
          </ul>
        </div>
      ))}
    </div>
  )
}

function useWaiting(): number {
  const { cluster } = useScope()
  const { data } = useAsk('AdminService/ListOptimizations', { approval: 'awaiting', cluster_id: cluster, page_size: 100 })
  return data?.filter((plan) => plan.approval === 'awaiting').length ?? 0
}
