import { Link } from '@tanstack/react-router'
import { useWhyNot } from '@/api/me'
import type { EffectivePolicy, PolicySource } from '@/api/schema'
import { many } from '@/format/money'
import { span } from '@/format/time'
import { word } from '@/format/words'
import { Badge, Dot } from '@/ui/Badge'
import { Button } from '@/ui/Button'
import { Card } from '@/ui/Card'
import { cx } from '@/ui/cx'
import { FrozenPlans } from '@/ui/Frozen'
import { Icon } from '@/ui/Icon'
import { Ago, Time } from '@/ui/Time'
import type { PolicyScope } from './Policies'
import { fieldNames, fieldNotes, fields, modeNotes, modes, rung, valueText, type Field } from './values'

/** What holds in a scope now, and where each value is from. */
export function Effective({ scope, effective, onEdit, canEdit }: { scope: PolicyScope; effective: EffectivePolicy; onEdit: () => void; canEdit?: string }) {
  const mayNot = useWhyNot('GuardService/SetPolicy')
  const shown: readonly Field[] = scope.kind === 'namespace' ? ['mode'] : fields
  return (
    <div className="flex min-w-0 flex-col gap-4">
      <Card title="How far CloudOptim may go" note={<From source={effective.sources.mode} scope={scope} />}>
        <Ladder mode={effective.values?.mode ?? 'read_only'} />
      </Card>
      {scope.kind !== 'namespace' && <FrozenPlans values={effective.values} />}
      {scope.kind !== 'namespace' && <Now effective={effective} cluster={scope.kind === 'cluster'} />}
      <Card
        title={`Rules in ${scope.name}`}
        note={scope.kind === 'namespace' ? 'Of a namespace only the mode can be set: pods in one below the cluster’s are not moved by plans that run by themselves, or at all.' : undefined}
        actions={
          <Button icon="edit" kind="primary" whyNot={mayNot ?? canEdit} onClick={onEdit}>
            Change
          </Button>
        }
        flush
      >
        {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- what scrolls must be reachable by keyboard */}
        <div role="group" tabIndex={0} aria-label={`Rules in ${scope.name}`} className="overflow-x-auto -outline-offset-2">
          <table className="w-full text-left min-w-[36rem]" aria-label={`Rules in ${scope.name}`}>
            <thead className="text-xs text-ink-3 shadow-[inset_0_-1px_0_var(--line)]">
              <tr>
                <th scope="col" className="w-48 px-4 py-2 font-medium">
                  Rule
                </th>
                <th scope="col" className="px-3 py-2 font-medium">
                  What holds
                </th>
                <th scope="col" className="w-64 px-4 py-2 font-medium">
                  Where it is from
                </th>
              </tr>
            </thead>
            <tbody>
              {shown.map((field) => (
                <tr key={field} className="border-b border-line/70 align-top last:border-0">
                  <th scope="row" className="px-4 py-2.5 font-medium" title={fieldNotes[field]}>
                    {fieldNames[field]}
                  </th>
                  <td className="px-3 py-2.5 whitespace-pre-line">{valueText(field, effective.values, '.\n')}</td>
                  <td className="px-4 py-2.5 text-sm">
                    <Source source={effective.sources[field]} scope={scope} />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </Card>
    </div>
  )
}

function isHere(source: PolicySource | undefined, scope: PolicyScope): boolean {
  return source?.scope === scope.kind
}

function Source({ source, scope }: { source?: PolicySource; scope: PolicyScope }) {
  if (!source || source.scope === 'default') return <span className="text-ink-3">CloudOptim’s default</span>
  return (
    <span>
      {isHere(source, scope) ? <Badge tone="accent">Set here</Badge> : <Badge>{`Inherited from ${word(source.scope).toLowerCase()}`}</Badge>}{' '}
      {!isHere(source, scope) && <span className="font-medium">{source.name}</span>}
      <span className="block text-xs text-ink-3">
        by {source.updated_by || 'nobody'}, <Ago at={source.updated_at} />
      </span>
    </span>
  )
}

function From({ source, scope }: { source?: PolicySource; scope: PolicyScope }) {
  if (!source || source.scope === 'default') return <>CloudOptim’s default: nothing is set.</>
  return isHere(source, scope) ? <>Set here by {source.updated_by}.</> : <>Inherited from {source.name}.</>
}

/** The four steps of trust, with the one that holds. */
export function Ladder({ mode, onChoose }: { mode: string; onChoose?: (mode: string) => void }) {
  const now = rung(mode)
  return (
    <ol className={cx('grid gap-2 sm:grid-cols-2', '2xl:grid-cols-4')} aria-label="Modes">
      {modes.map((each, step) => {
        const inside = (
          <>
            <span className="flex items-center gap-2">
              <span className={cx('grid size-5 shrink-0 place-items-center rounded-full text-xs font-semibold', step <= now ? 'bg-accent text-on-accent' : 'bg-sunk text-ink-3')}>{step < now ? <Icon name="check" size={12} /> : step + 1}</span>
              <span className="font-medium">{word(each)}</span>
              {step === now && !onChoose && <Badge tone="accent">holds</Badge>}
            </span>
            <span className="mt-1 block text-sm text-ink-3">{modeNotes[each]}</span>
          </>
        )
        const look = cx('h-full w-full rounded-md border p-3 text-left', step === now ? 'border-accent bg-accent-soft/40' : 'border-line')
        return (
          <li key={each} aria-current={step === now ? 'step' : undefined}>
            {onChoose ? (
              <button type="button" aria-pressed={step === now} className={cx(look, 'flex flex-col items-start hover:border-line-strong')} onClick={() => onChoose(each)}>
                {inside}
              </button>
            ) : (
              <div className={look}>{inside}</div>
            )}
          </li>
        )
      })}
    </ol>
  )
}

function Now({ effective, cluster }: { effective: EffectivePolicy; cluster: boolean }) {
  return (
    <Card title="At this moment">
      <dl className="grid gap-x-6 gap-y-3 sm:grid-cols-2 xl:grid-cols-4">
        <Fact name="Disruption">
          {effective.disruption_allowed ? <Dot tone="ok">Allowed</Dot> : <Dot tone="warn">Not allowed</Dot>}
          {effective.disruption_allowed && <span className="block text-sm text-ink-3">by windows and stops</span>}
          {effective.denied_because && <span className="block text-sm text-ink-3">{effective.denied_because}</span>}
        </Fact>
        <Fact name="Changes">
          {effective.changes_at ? (
            <>
              <Ago at={effective.changes_at} /> <span className="text-sm text-ink-3">(<Time at={effective.changes_at} />)</span>
            </>
          ) : effective.stops.length > 0 ? (
            'When the stop is lifted'
          ) : (
            'Not within a year'
          )}
        </Fact>
        {cluster && (
          <>
            <Fact name="May begin to be drained">{effective.nodes_allowed < 0 ? 'Any number of nodes' : many(effective.nodes_allowed, 'node')}</Fact>
            <Fact name="State of the cluster">
              {effective.state_age_seconds < 0 ? (
                <Dot tone="plain">None yet</Dot>
              ) : (
                <Dot tone={effective.state_is_stale ? 'bad' : 'ok'}>
                  {span(effective.state_age_seconds)} old{effective.state_is_stale ? ', too old to act on' : ''}
                </Dot>
              )}
              <span className="block text-sm text-ink-3">Acted on up to {span(effective.values?.stale_after_seconds)}</span>
            </Fact>
          </>
        )}
      </dl>
      {effective.stops.length > 0 && (
        <p className="mt-3 flex items-center gap-2 rounded-md bg-bad-soft px-3 py-2 text-sm text-bad">
          <Icon name="stop" size={14} />
          <span>
            {many(effective.stops.length, 'stop')} {effective.stops.length === 1 ? 'holds' : 'hold'} here: {effective.stops.map((stop) => stop.reason).join('; ')}.{' '}
            <Link to="/policies" search={((old: object) => ({ ...old, tab: 'stops' })) as never} className="underline">
              To the stops
            </Link>
          </span>
        </p>
      )}
    </Card>
  )
}

function Fact({ name, children }: { name: string; children: React.ReactNode }) {
  return (
    <div>
      <dt className="text-sm text-ink-3">{name}</dt>
      <dd className="mt-0.5">{children}</dd>
    </div>
  )
}
