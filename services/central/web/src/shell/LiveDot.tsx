import { useLineState } from '@/live/Live'
import { Dot } from '@/ui/Badge'
import { Tip } from '@/ui/Tip'

/** Whether what is shown moves by itself. */
export function LiveDot() {
  const state = useLineState()
  const live = state.name === 'live'
  const text = live ? 'Live' : state.name === 'ended' ? 'Not live' : 'Reconnecting'
  const tip = live ? 'Changes appear as they happen.' : 'The line to CloudOptim is down; what is shown may be old.'
  return (
    <Tip text={tip} side="bottom">
      {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- what it means must be reachable by keyboard */}
      <span role="status" tabIndex={0} className="text-sm whitespace-nowrap text-ink-2">
        <Dot tone={live ? 'ok' : 'warn'} pulse={!live}>
          {text}
        </Dot>
      </span>
    </Tip>
  )
}
