import { useInfiniteQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useVirtualizer } from '@tanstack/react-virtual'
import { useCallback, useEffect, useMemo, useRef, useState } from 'react'
import { callPage, type Page as ApiPage } from '@/api/client'
import type { Fault } from '@/api/fault'
import { useAsk } from '@/api/query'
import type { StreamResponse } from '@/api/schema'
import { atClock, atLocal, atUTC, moment, onDay } from '@/format/time'
import { count } from '@/format/money'
import { newsText } from '@/format/news'
import { sentence } from '@/format/words'
import { useLineState, useLive } from '@/live/Live'
import { useFilters, useScope } from '@/shell/filters'
import { Badge, Dot } from '@/ui/Badge'
import { Button } from '@/ui/Button'
import { Card } from '@/ui/Card'
import { cx } from '@/ui/cx'
import { Empty, FaultView, Skeleton } from '@/ui/Empty'
import { Choice } from '@/ui/Field'
import { Icon } from '@/ui/Icon'
import { narrow } from '@/ui/narrow'
import { Page } from '@/ui/Page'
import { belongs, iconOf, isKind, keyOf, kinds, merge, placeOf, whole, type FeedFilter, type Kind } from './feed'

type Filters = 'type' | 'severity' | 'plan'
/** Live messages that are held in the page at most; older ones are read again as pages. */
const mostHeld = 2000
const rowHeight = 44
/** Of a row on a narrow screen, where the time and the cluster stand beneath. */
const tallRow = 76

/** What happens, as it happens. */
export function Activity() {
  const { cluster } = useScope()
  const [{ type, severity, plan }, setFilter] = useFilters<Filters>()
  const filter: FeedFilter = { cluster, kind: isKind(type) ? type : undefined, severity, plan }
  return (
    <Page title="Activity" about="What CloudOptim, AWS and people do, as it happens. Kept for thirty days; what must be proven later is in the audit log.">
      <Card flush>
        <div className="flex flex-wrap items-center gap-2 border-b border-line px-4 py-2.5">
          <Choice<Kind>
            label="Kind"
            value={filter.kind ?? ''}
            options={[['', 'Everything'], ...(Object.keys(kinds) as Kind[]).map((kind): [Kind, string] => [kind, kinds[kind][0]])]}
            onChange={(next) => setFilter({ type: next || undefined })}
          />
          <Choice<'warning' | 'error'>
            label="Severity"
            value={severity === 'warning' || severity === 'error' ? severity : ''}
            options={[
              ['', 'Any severity'],
              ['warning', 'Warnings and errors'],
              ['error', 'Errors'],
            ]}
            onChange={(next) => setFilter({ severity: next || undefined })}
          />
          {plan && (
            <Button small icon="close" onClick={() => setFilter({ plan: undefined })}>
              Of plan {plan.slice(0, 8)}
            </Button>
          )}
        </div>
        <Feed key={JSON.stringify(filter)} filter={filter} />
      </Card>
    </Page>
  )
}

function useOlder({ cluster, kind, severity, plan }: FeedFilter) {
  // Under a key of its own: live messages come by the line, so pages need not be asked again for each.
  return useInfiniteQuery<ApiPage<StreamResponse>, Fault, { pages: ApiPage<StreamResponse>[] }, readonly unknown[], string>({
    queryKey: ['activity', cluster, kind, severity, plan],
    queryFn: ({ pageParam, signal }) =>
      callPage(
        'AdminService/ListActivity',
        { cluster_id: cluster, types: kind && [...kinds[kind][1]], min_severity: severity, optimization_id: plan, page_size: 100, page_token: pageParam || undefined },
        signal,
      ),
    initialPageParam: '',
    getNextPageParam: (last) => last.next || undefined,
    staleTime: 0,
    gcTime: 0,
    refetchOnWindowFocus: false,
  })
}

function Feed({ filter }: { filter: FeedFilter }) {
  const older = useOlder(filter)
  const [live, setLive] = useState<StreamResponse[]>([])
  const [waiting, setWaiting] = useState<StreamResponse[]>([])
  const [paused, setPaused] = useState(false)
  const [atTop, setAtTop] = useState(true)
  const scroller = useRef<HTMLDivElement>(null)
  const line = useLineState()

  useLive((message) => {
    if (!belongs(message, filter)) return
    const add = (before: StreamResponse[]) => merge([whole(message)], before).slice(0, mostHeld)
    if (paused || !atTop) setWaiting(add)
    else setLive(add)
  })

  const pages = older.data
  const rows = useMemo(() => merge(live, pages?.pages.flatMap((page) => page.items) ?? []), [live, pages])
  const show = () => {
    setLive((before) => merge(waiting, before).slice(0, mostHeld))
    setWaiting([])
    scroller.current?.scrollTo({ top: 0 })
  }
  const resume = () => {
    setPaused(false)
    show()
  }
  const { hasNextPage, isFetchingNextPage, fetchNextPage } = older
  const more = useCallback(() => {
    if (hasNextPage && !isFetchingNextPage) void fetchNextPage()
  }, [hasNextPage, isFetchingNextPage, fetchNextPage])
  return (
    <div className="relative">
      <div className="flex items-center justify-between gap-3 px-4 py-2 text-sm text-ink-3">
        {paused ? <Dot tone="warn">Paused</Dot> : <Dot tone={line.name === 'live' ? 'ok' : 'warn'}>{line.name === 'live' ? 'Live' : 'Not live'}</Dot>}
        <Button small icon={paused ? 'play' : 'pause'} aria-pressed={paused} onClick={() => (paused ? resume() : setPaused(true))}>
          {paused ? 'Resume' : 'Pause'}
        </Button>
      </div>
      <div role="status" className="pointer-events-none absolute inset-x-0 top-11 z-10 flex justify-center">
        {waiting.length > 0 && (
          <button type="button" onClick={paused ? resume : show} className="rise pointer-events-auto inline-flex h-8 items-center gap-1.5 rounded-full bg-accent px-3.5 text-sm font-medium text-on-accent shadow-high">
            <Icon name="up" size={14} /> {count(waiting.length)} new
          </button>
        )}
      </div>
      {older.error && rows.length === 0 ? (
        <FaultView fault={older.error} retry={() => void older.refetch()} />
      ) : older.isPending && rows.length === 0 ? (
        <Skeleton lines={9} className="p-4" />
      ) : rows.length === 0 ? (
        <Empty icon="activity" title="Nothing has happened yet">
          {filter.kind || filter.severity || filter.cluster ? 'Nothing that the filters let through. Plans, interruptions, stops and changes of rules appear here by themselves.' : 'Plans, interruptions, stops and changes of rules appear here by themselves.'}
        </Empty>
      ) : (
        <Rows rows={rows} scroller={scroller} onTop={setAtTop} loadMore={more} loading={isFetchingNextPage} end={!hasNextPage} />
      )}
    </div>
  )
}

interface RowsProps {
  rows: StreamResponse[]
  scroller: React.RefObject<HTMLDivElement | null>
  onTop: (top: boolean) => void
  loadMore: () => void
  loading: boolean
  end: boolean
}

function Rows({ rows, scroller, onTop, loadMore, loading, end }: RowsProps) {
  const clusters = useAsk('AdminService/ListClusters', {})
  const names = useMemo(() => new Map(clusters.data?.map((each) => [each.cluster_id, each.cluster_name])), [clusters.data])
  const [height] = useState(() => (narrow(64) ? tallRow : rowHeight))
  // oxlint-disable-next-line react-hooks-js/incompatible-library -- the virtualizer is meant to be read while rendering
  const virtual = useVirtualizer({ count: rows.length, getScrollElement: () => scroller.current, estimateSize: () => height, overscan: 12, getItemKey: (index) => keyOf(rows[index]!) })
  const items = virtual.getVirtualItems()
  const last = items[items.length - 1]?.index ?? 0
  useEffect(() => {
    if (last >= rows.length - 10) loadMore()
  }, [last, rows.length, loadMore])
  return (
    <div
      ref={scroller}
      role="region"
      // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- what scrolls must be reachable by keyboard
      tabIndex={0}
      aria-label="What happened, newest first"
      onScroll={(event) => onTop(event.currentTarget.scrollTop < 8)}
      className="overflow-auto"
      style={{ height: 'calc(100vh - 17rem)', minHeight: '16rem' }}
    >
      <ol className="relative lg:min-w-[44rem]" style={{ height: virtual.getTotalSize() }}>
        {items.map((item) => {
          const each = rows[item.index]!
          const before = rows[item.index - 1]
          const newDay = !before || onDay(before.timestamp) !== onDay(each.timestamp)
          return (
            <li key={item.key} className="absolute inset-x-0 border-t border-line/70" style={{ height, transform: `translateY(${item.start}px)` }}>
              <News each={each} day={newDay} cluster={names.get(each.cluster_id)} />
            </li>
          )
        })}
      </ol>
      <p role="status" className="py-2 text-center text-sm text-ink-3">
        {loading ? 'Loading older…' : end ? 'This is all that is kept.' : ''}
      </p>
    </div>
  )
}

function News({ each, day, cluster }: { each: StreamResponse; day: boolean; cluster?: string }) {
  const place = placeOf(each)
  const at = moment(each.timestamp)
  const tone = each.severity === 'error' ? 'bad' : each.severity === 'warning' ? 'warn' : undefined
  return (
    <div className="grid h-full grid-cols-[1.25rem_minmax(0,1fr)_auto] content-center items-center gap-x-3 px-4 lg:grid-cols-[9rem_1.5rem_minmax(0,1fr)_10rem_6.5rem]">
      <time dateTime={at?.toISOString()} title={`${atLocal(at)}\n${atUTC(at)}`} className="text-sm whitespace-nowrap text-ink-3 max-lg:order-4 max-lg:col-start-2">
        {day && <span className="font-medium text-ink-2">{onDay(at)} </span>}
        {atClock(at)}
      </time>
      <Icon name={iconOf(each.type)} className={cx('max-lg:order-1', tone === 'bad' ? 'text-bad' : tone === 'warn' ? 'text-warn' : 'text-ink-3')} />
      <div className="min-w-0 max-lg:order-2">
        <p className="truncate" title={newsText(each)}>
          {tone && (
            <Badge tone={tone} className="mr-1.5">
              {sentence(each.severity)}
            </Badge>
          )}
          {newsText(each)}
        </p>
        <p className="truncate text-xs text-ink-3">
          {sentence(each.type)}
          {each.status && `: ${sentence(each.status).toLowerCase()}`}
          {each.actor && ` by ${each.actor}`}
        </p>
      </div>
      <span className="truncate text-sm text-ink-2 max-lg:order-5 max-lg:text-right">
        {each.cluster_id && (
          <Link to="/clusters/$clusterId" params={{ clusterId: each.cluster_id }} className="tap hover:underline">
            {cluster ?? each.cluster_id.slice(0, 8)}
          </Link>
        )}
      </span>
      <span className="text-right text-sm max-lg:order-3">
        {place && (
          <Link to={place.to as never} params={place.params as never} search={((old: object) => ({ ...old, ...place.search })) as never} className="tap font-medium text-accent hover:underline">
            {place.text}
            <span className="sr-only"> of: {newsText(each)}</span>
          </Link>
        )}
      </span>
    </div>
  )
}
