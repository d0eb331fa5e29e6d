import { Link } from '@tanstack/react-router'
import { useMemo } from 'react'
import { useAsk, usePages } from '@/api/query'
import type { SpotEvent } from '@/api/schema'
import { moment, span } from '@/format/time'
import { sentence, word } from '@/format/words'
import { useNow } from '@/live/Live'
import { useFilters, useScope } from '@/shell/filters'
import { Badge, type Tone } from '@/ui/Badge'
import { Card } from '@/ui/Card'
import { cx } from '@/ui/cx'
import { DataTable, type Column } from '@/ui/DataTable'
import { Empty, FaultView, Skeleton } from '@/ui/Empty'
import { Choice, Search } from '@/ui/Field'
import { Icon } from '@/ui/Icon'
import { Time } from '@/ui/Time'
import { ForetoldChart } from './Foretold'
import { chance, lead, outcomeOf, outcomes, sourceOf } from './foretold'
import { heardOf, storyOf, wordsOf, type Milestone, type Story } from './story'

const types = ['interruption_warning', 'rebalance_recommendation', 'instance_terminated', 'scheduled_change', 'lifecycle_action', 'capacity_reservation_interruption'] as const
type Type = (typeof types)[number]

/** What AWS said, and what was done: live. */
export function Timeline() {
  const { cluster } = useScope()
  const [{ type = '', q = '' }, setFilter] = useFilters<'type' | 'q'>()
  const instance = /^i-[0-9a-f]+$/.test(q) ? q : undefined
  const events = usePages('AdminService/ListSpotEvents', { cluster_id: cluster, event_type: type, instance_id: instance, page_size: 200 })
  // When steps were taken is in what the stream told; without it steps are shown without their times.
  const activity = useAsk('AdminService/ListActivity', { cluster_id: cluster, types: ['spot_event'], page_size: 1000 })
  const clusters = useAsk('AdminService/ListClusters', {})
  const names = useMemo(() => new Map(clusters.data?.map((each) => [each.cluster_id, each.cluster_name])), [clusters.data])
  const heard = useMemo(() => heardOf(activity.data ?? []), [activity.data])
  const shown = useMemo(() => events.items.filter((each) => instance || !q || `${each.instance_id} ${each.node_name ?? ''}`.includes(q)), [events.items, instance, q])
  const stories = useMemo(() => shown.filter((each) => each.state !== '').map((each) => storyOf(each, heard.get(each.event_id))), [shown, heard])
  const interrupted = useMemo(() => stories.map((each) => each.event), [stories]) // not what CloudOptim ended by itself
  const columns = useMemo(() => columnsOf(names), [names])
  return (
    <div className="flex flex-col gap-4">
      <Card
        title="Interruptions"
        note="From AWS’s word to the node’s end, with the time since that word. AWS gives two minutes."
        actions={<Search label="Instance or node" value={q} onChange={(next) => setFilter({ q: next || undefined })} />}
      >
        {events.error && events.items.length === 0 ? (
          <FaultView compact fault={events.error} retry={() => void events.refetch()} />
        ) : events.isPending ? (
          <Skeleton lines={6} />
        ) : stories.length === 0 ? (
          <Empty compact icon="spot" title={q ? 'No interruption matches' : 'AWS has taken nothing yet'}>
            {q ? undefined : 'When AWS takes a node, it is drained and replaced, and each step appears here by itself.'}
          </Empty>
        ) : (
          <ol aria-live="polite" aria-relevant="additions" className="flex flex-col divide-y divide-line/70">
            {stories.slice(0, 50).map((story) => (
              <Lane key={story.event.event_id} story={story} cluster={names.get(story.event.cluster_id ?? '')} />
            ))}
          </ol>
        )}
      </Card>
      {interrupted.some((each) => each.foretold) && <ForetoldChart events={interrupted} />}
      <Card
        title="All that AWS said"
        flush
        actions={
          <Choice<Type>
            label="Type of event"
            value={(types as readonly string[]).includes(type) ? (type as Type) : ''}
            options={[['', 'All types'], ...types.map((each): [Type, string] => [each, sentence(each)])]}
            onChange={(next) => setFilter({ type: next || undefined })}
          />
        }
      >
        <DataTable
          label="AWS’s events, newest first"
          columns={columns}
          rows={shown}
          rowId={(row) => row.event_id}
          loading={events.isPending}
          fault={events.error}
          retry={() => void events.refetch()}
          more={{ has: events.hasNextPage, loading: events.isFetchingNextPage, load: () => void events.fetchNextPage() }}
          empty={<Empty compact icon="spot" title="Nothing was heard" />}
        />
      </Card>
    </div>
  )
}

function Lane({ story, cluster }: { story: Story; cluster?: string }) {
  const { event, milestones, over } = story
  return (
    <li className="grid gap-x-6 gap-y-2 py-3.5 first:pt-0 last:pb-0 lg:grid-cols-[17rem_minmax(0,1fr)]">
      <div className="min-w-0">
        <p className="truncate font-medium" title={event.node_name ?? event.instance_id}>
          {event.node_name || event.instance_id}
        </p>
        <p className="truncate text-sm text-ink-3">
          {event.node_name && <>{event.instance_id}, </>}
          {event.availability_zone}
        </p>
        <p className="truncate text-sm">
          {event.cluster_id && (
            <Link to="/clusters/$clusterId" params={{ clusterId: event.cluster_id }} className="tap text-accent hover:underline">
              {cluster ?? event.cluster_id.slice(0, 8)}
            </Link>
          )}
          {event.replacement_instance_id && <span className="text-ink-3"> replaced by {event.replacement_instance_id}</span>}
        </p>
      </div>
      <div className="min-w-0">
        <ol aria-label={`Steps of ${event.node_name || event.instance_id}`} className="flex max-sm:flex-col">
          {milestones.map((each, i) => (
            <Step key={each.name} step={each} before={milestones[i - 1]} last={i === milestones.length - 1} />
          ))}
        </ol>
        {!over && <Deadline event={event} />}
        <Before event={event} />
      </div>
    </li>
  )
}

const dots: Record<Milestone['state'], string> = {
  done: 'border-saved bg-saved',
  now: 'border-info bg-info pulse',
  wrong: 'border-bad bg-bad',
  open: 'border-line-strong bg-panel',
}

function Step({ step, before, last }: { step: Milestone; before?: Milestone; last: boolean }) {
  const words = { done: '', now: ', under way', wrong: '', open: ', not yet' }[step.state]
  const took = step.after !== undefined && before ? `+${span(step.after)}` : undefined
  return (
    <li className="max-sm:grid max-sm:grid-cols-[1.25rem_minmax(0,1fr)_auto] max-sm:items-center sm:min-w-24 sm:flex-1 sm:last:flex-none">
      <span aria-hidden="true" className="flex items-center">
        <span className={cx('size-3 shrink-0 rounded-full border-2', dots[step.state])} />
        {!last && <span className={cx('h-0.5 flex-1 max-sm:hidden', step.state === 'done' ? 'bg-saved/60' : 'bg-line')} />}
      </span>
      <p className={cx('text-sm max-sm:py-0.5 sm:mt-1', step.state === 'wrong' ? 'font-medium text-bad' : step.state === 'open' ? 'text-ink-3' : 'font-medium')}>
        {step.name}
        <span className="sr-only">{words}</span>
      </p>
      <p className="text-xs text-ink-3">{before ? took : step.at && <Time at={step.at} />}</p>
    </li>
  )
}

function Deadline({ event }: { event: SpotEvent }) {
  const now = useNow()
  const at = moment(event.interruption_time)
  if (!at) return null
  const seconds = (at.getTime() - now) / 1000
  return (
    <p className={cx('mt-2 flex items-center gap-1.5 text-sm', seconds < 30 ? 'text-bad' : 'text-warn')}>
      <Icon name="clock" size={14} />
      <span>
        {seconds > 0 ? `AWS takes it in ${span(seconds)}` : `AWS’s time was over ${span(-seconds)} ago`} (<Time at={event.interruption_time} />)
      </span>
    </p>
  )
}

/** What was foretold, next to what happened. */
function Before({ event }: { event: SpotEvent }) {
  const { foretold } = event
  if (!foretold) return <p className="mt-2 text-sm text-ink-3">Nothing was foretold of it.</p>
  return (
    <p className="mt-2 text-sm text-ink-2">
      Foretold: <span className="font-medium">{chance(foretold)}</span>{' '}
      <span className="text-ink-3">
        (by {sourceOf(foretold.model)}, {lead(event)} before, <Time at={foretold.said_at} />)
      </span>
    </p>
  )
}

const tones: Record<string, Tone> = { at_risk: 'warn', draining: 'info', drained: 'info', gone: 'plain', dismissed: 'plain' }

function columnsOf(names: Map<string, string>): Column<SpotEvent>[] {
  return [
    { id: 'at', header: 'Heard', width: '9rem', cell: (row) => <Time at={row.received_at} /> },
    { id: 'type', header: 'What', width: '12rem', cell: (row) => sentence(row.event_type) },
    {
      id: 'instance',
      header: 'Instance',
      width: '12.5rem',
      cell: (row) => (
        <>
          <code className="font-mono text-xs">{row.instance_id}</code>
          <span className="block text-xs text-ink-3">{row.availability_zone}</span>
        </>
      ),
    },
    { id: 'cluster', header: 'Cluster', width: '8rem', cell: (row) => names.get(row.cluster_id ?? '') ?? <span className="text-ink-3">–</span> },
    {
      id: 'foretold',
      header: 'Foretold',
      width: '10rem',
      hint: 'How likely it was said to be taken, before AWS spoke.',
      cell: (row) => (row.foretold ? <span title={`By ${sourceOf(row.foretold.model)}, ${lead(row)} before`}>{chance(row.foretold)}</span> : <span className="text-ink-3">–</span>),
    },
    {
      id: 'outcome',
      header: 'What happened',
      width: '9.5rem',
      cell: (row) => (
        <span className="flex flex-wrap items-center gap-1.5">
          <span>{outcomes[outcomeOf(row)]}</span>
          {row.state && <Badge tone={tones[row.state] ?? 'plain'}>{word(row.state)}</Badge>}
        </span>
      ),
    },
    { id: 'done', header: 'What was done', cell: (row) => <span className="line-clamp-2 min-w-48 text-sm whitespace-normal">{wordsOf(row).map((each) => sentence(each)).join(', ') || '–'}</span> },
  ]
}

