import { useQueryClient } from '@tanstack/react-query'
import { useEffect, useState } from 'react'
import { span } from '@/format/time'
import { useLineState, useLiveControl, useNow } from '@/live/Live'
import { Button } from '@/ui/Button'
import { Icon } from '@/ui/Icon'

/** Seconds without the line after which the page is greyed. */
const oldAfter = 15

/** Tells when the line to central is down: since when, and when it is tried again. */
export function Banners() {
  const state = useLineState()
  const { hurry, lastLive } = useLiveControl()
  const cache = useQueryClient()
  const now = useNow()
  const [opened] = useState(() => Date.now())
  const away = state.name === 'live' ? 0 : (now - (lastLive ?? opened)) / 1000
  const old = away > oldAfter
  useEffect(() => {
    document.documentElement.toggleAttribute('data-old', old)
    return () => document.documentElement.removeAttribute('data-old')
  }, [old])
  if (away < 3) return null
  const next = state.name === 'waiting' ? Math.max(0, (state.until - now) / 1000) : 0
  return (
    <div role="status" className="flex items-center gap-3 border-b border-line bg-warn-soft px-4 py-2 text-sm text-warn lg:px-6">
      <Icon name="warning" />
      <p className="flex-1">
        <span className="font-medium">Not live for {span(away)}.</span> What is shown may be old.{' '}
        {state.name === 'connecting' ? 'Connecting…' : state.name === 'ended' ? 'The session has ended.' : next >= 1 ? `Trying again in ${span(next)}.` : 'Trying again…'}
      </p>
      <Button
        small
        icon="refresh"
        onClick={() => {
          hurry()
          void cache.invalidateQueries()
        }}
      >
        Try now
      </Button>
    </div>
  )
}
