import { useState } from 'react'
import { useMe, useWhyNot } from '@/api/me'
import { useAct, useAsk } from '@/api/query'
import type { Stop } from '@/api/schema'
import { many } from '@/format/money'
import { word } from '@/format/words'
import { Button } from '@/ui/Button'
import { Confirm } from '@/ui/Confirm'
import { Dialog } from '@/ui/Dialog'
import { Check, Field, Select } from '@/ui/Field'
import { FaultView } from '@/ui/Empty'
import { Icon } from '@/ui/Icon'
import { Ago } from '@/ui/Time'
import { useScope } from './filters'

/** The one switch that stops all disruption, and whether it is on. */
export function StopAll() {
  const { cluster } = useScope()
  const { data: stops, error } = useAsk('GuardService/ListStops', { cluster_id: cluster })
  const whyNot = useWhyNot('GuardService/CreateStop')
  const [asking, setAsking] = useState<'stop' | 'look' | null>(null)
  const held = stops && stops.length > 0
  return (
    <>
      {held ? (
        <Button kind="danger" icon="stop" onClick={() => setAsking('look')}>
          Stopped{stops.length > 1 ? ` (${stops.length})` : ''}
        </Button>
      ) : (
        <Button icon="stop" kind="caution" whyNot={whyNot ?? (error?.unbuilt ? 'This server has no stop yet.' : undefined)} onClick={() => setAsking('stop')}>
          Stop all
        </Button>
      )}
      <StopDialog open={asking === 'stop'} onClose={() => setAsking(null)} />
      <Dialog
        open={asking === 'look'}
        onClose={() => setAsking(null)}
        title="Disruption is stopped"
        about="No plan begins or goes on where a stop holds."
        actions={
          <Button icon="stop" kind="caution" whyNot={whyNot} onClick={() => setAsking('stop')}>
            Stop more
          </Button>
        }
      >
        {error && <FaultView fault={error} compact />}
        <ul className="flex flex-col gap-3">{stops?.map((stop) => <StopItem key={stop.stop_id} stop={stop} onLifted={() => setAsking(null)} />)}</ul>
      </Dialog>
    </>
  )
}

/** A stop in force, and how to lift it. */
export function StopItem({ stop, onLifted }: { stop: Stop; onLifted?: () => void }) {
  const whyNot = useWhyNot('GuardService/LiftStop')
  const [asking, setAsking] = useState(false)
  const lift = useAct('GuardService/LiftStop', {
    done: 'The stop is lifted. What waited for it goes on.',
    changes: ['GuardService/ListStops', 'AdminService/ListClusters', 'GuardService/GetEffectivePolicy'],
    onDone: onLifted,
  })
  return (
    <li className="rounded-md border border-line p-3">
      <div className="flex items-start justify-between gap-3">
        <div className="min-w-0">
          <p className="font-medium">{stop.reason}</p>
          <p className="text-sm text-ink-3">
            {word(stop.scope)}, {many(stop.clusters, 'cluster')}, by {stop.created_by} <Ago at={stop.created_at} />
          </p>
          <p className="text-sm text-ink-3">
            {stop.drains_cancelled > 0 && `${many(stop.drains_cancelled, 'drain')} cancelled. `}
            {stop.include_interruptions ? "AWS's interruptions are not acted on either." : "AWS's interruptions are still acted on."}
          </p>
        </div>
        <Button small whyNot={whyNot} onClick={() => setAsking(true)}>
          Lift
        </Button>
      </div>
      <Confirm
        open={asking}
        onClose={() => setAsking(false)}
        title="Lift this stop?"
        act="Lift the stop"
        busy={lift.isPending}
        reason="optional"
        blastRadius={`Plans that waited in ${many(stop.clusters, 'cluster')} go on at once, as their policy allows.`}
        onAct={(reason) => lift.mutate({ stop_id: stop.stop_id, reason })}
      />
    </li>
  )
}

/** Asks where to stop, and why. */
export function StopDialog({ open, onClose, only }: { open: boolean; onClose: () => void; only?: { id: string; name: string } }) {
  const me = useMe()
  const scope = useScope()
  const staff = me.customer_id === ''
  const { data: clusters } = useAsk('AdminService/ListClusters', { customer_id: scope.customer }, { enabled: open })
  const customerWide = staff && !scope.customer ? 'platform' : 'customer'
  const [where, setWhere] = useState<string | undefined>()
  const [interruptions, setInterruptions] = useState(false)
  const chosen = only?.id ?? where ?? scope.cluster ?? ''
  const stop = useAct('GuardService/CreateStop', {
    done: 'Stopped. Drains under way are cancelled within one heartbeat.',
    changes: ['GuardService/ListStops', 'AdminService/ListClusters', 'GuardService/GetEffectivePolicy', 'AdminService/GetOptimization', 'AdminService/ListOptimizations'],
    onDone: onClose,
  })
  const reached = chosen ? clusters?.filter((each) => each.cluster_id === chosen) : clusters
  const nodes = reached?.reduce((sum, each) => sum + each.node_count, 0) ?? 0
  return (
    <Confirm
      open={open}
      onClose={onClose}
      title={only ? `Stop all disruption in ${only.name}?` : 'Stop all disruption?'}
      act="Stop now"
      danger
      busy={stop.isPending}
      reason="required"
      reasonHint="Shown wherever something waits for it, and kept in the audit log."
      blastRadius={`Holds in ${many(reached?.length ?? 0, 'cluster')} with ${many(nodes, 'node')}: drains under way are cancelled, nothing new begins until the stop is lifted. Running pods stay where they are.`}
      onAct={(reason) =>
        stop.mutate({
          scope: chosen ? 'cluster' : customerWide,
          cluster_id: chosen || undefined,
          customer_id: chosen || !staff ? undefined : scope.customer,
          reason,
          include_interruptions: interruptions,
        })
      }
    >
      {!only && (
        <Field label="Where">
          {(ids) => (
            <Select {...ids} value={chosen} onChange={(event) => setWhere(event.target.value)}>
              <option value="">{customerWide === 'platform' ? 'All customers' : 'All clusters of the customer'}</option>
              {clusters?.map((each) => (
                <option key={each.cluster_id} value={each.cluster_id}>
                  {each.cluster_name}
                </option>
              ))}
            </Select>
          )}
        </Field>
      )}
      <Check
        label="Do not act on AWS's interruptions either"
        hint="Nodes that AWS takes are then lost without a drain."
        checked={interruptions}
        onChange={(event) => setInterruptions(event.target.checked)}
      />
      {interruptions && (
        <p className="flex items-center gap-1.5 text-sm text-bad">
          <Icon name="warning" size={14} /> Pods on interrupted spot nodes end with the node.
        </p>
      )}
    </Confirm>
  )
}
