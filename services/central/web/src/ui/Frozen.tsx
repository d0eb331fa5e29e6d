import type { ReactNode } from 'react'
import type { PolicyValues } from '@/api/schema'
import { atLocal, atUTC } from '@/format/time'
import { useNow } from '@/live/Live'
import { frozenAt } from '@/week/windows'
import { Icon } from './Icon'

/** Until when something is frozen, in the viewer's time and in UTC. */
export function FrozenUntil({ until, children }: { until: Date; children?: ReactNode }) {
  return (
    <p role="status" className="flex items-start gap-2.5 rounded-lg bg-info-soft px-4 py-2.5 text-sm text-info">
      <Icon name="pause" className="mt-0.5" />
      <span>
        <span className="font-medium">Frozen until {atLocal(until)}</span> ({atUTC(until)}). {children}
      </span>
    </p>
  )
}

/** Tells where plans wait for a freeze of their policy; nothing where none holds. */
export function FrozenPlans({ values }: { values?: PolicyValues | null }) {
  const minute = Math.floor(useNow() / 60_000)
  const frozen = frozenAt(values?.windows?.windows ?? [], new Date(minute * 60_000))
  if (!frozen) return null
  return <FrozenUntil until={frozen.until}>No plan disrupts anything before{frozen.reason && `: ${frozen.reason}`}. AWS’s interruptions are still acted on.</FrozenUntil>
}
