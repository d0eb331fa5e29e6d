import { useQueryClient } from '@tanstack/react-query'
import { createContext, useContext, useEffect, useEffectEvent, useMemo, useRef, useState, useSyncExternalStore, type ReactNode } from 'react'
import { meKey } from '@/api/me'
import { Applier } from './apply'
import { Stream, type LineState, type Message, type Socket } from './stream'

type Listener = (message: Message) => void

interface LiveLine {
  state: LineState
  listen: (listener: Listener) => () => void
  /** Tries to connect at once. */
  hurry: () => void
  /** When it was last live; undefined: it is, or never was. */
  lastLive?: number
}

const Context = createContext<LiveLine | null>(null)

const address = () => `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/api/v1/admin/stream`

/** Holds the tab's one line to central and keeps the cache up to date with it. */
export function LiveProvider({ children }: { children: ReactNode }) {
  const cache = useQueryClient()
  const [state, setState] = useState<LineState>({ name: 'connecting', attempt: 0 })
  const [lastLive, setLastLive] = useState<number>()
  const streaming = useRef<Stream>(null)
  const listeners = useRef(new Set<Listener>())

  useEffect(() => {
    const applier = new Applier(cache)
    const stream = new Stream({
      url: address(),
      open: (url) => new WebSocket(url) as unknown as Socket,
      onMessage: (message) => {
        applier.apply(message)
        for (const listener of listeners.current) listener(message)
      },
      onReset: () => applier.reset(),
      onState: (next) => {
        setState((before) => {
          if (before.name === 'live') setLastLive(Date.now())
          return next
        })
        // A browser does not say why a WebSocket was refused; /me tells whether the session ended.
        const maybeSignedOut = next.name === 'ended' || (next.name === 'waiting' && next.attempt === 2)
        if (maybeSignedOut) void cache.invalidateQueries({ queryKey: meKey })
      },
    })
    const hurry = () => {
      if (document.visibilityState === 'visible') stream.hurry()
    }
    streaming.current = stream
    stream.start()
    window.addEventListener('online', hurry)
    document.addEventListener('visibilitychange', hurry)
    return () => {
      window.removeEventListener('online', hurry)
      document.removeEventListener('visibilitychange', hurry)
      applier.stop()
      stream.stop()
    }
  }, [cache])

  const line = useMemo<LiveLine>(
    () => ({
      state,
      listen: (listener) => {
        listeners.current.add(listener)
        return () => listeners.current.delete(listener)
      },
      hurry: () => streaming.current?.hurry(),
      lastLive,
    }),
    [state, lastLive],
  )
  return <Context.Provider value={line}>{children}</Context.Provider>
}

function useLine(): LiveLine {
  const line = useContext(Context)
  if (!line) throw new Error('used outside of LiveProvider')
  return line
}

/** How the line to central is. */
export const useLineState = (): LineState => useLine().state

/** Steers the line: for the banner that tells of its loss. */
export function useLiveControl(): { hurry: () => void; lastLive?: number } {
  const { hurry, lastLive } = useLine()
  return { hurry, lastLive }
}

/** Calls back with every message while the component is shown; for what the cache does not hold. */
export function useLive(onMessage: Listener): void {
  const { listen } = useLine()
  const heard = useEffectEvent(onMessage)
  useEffect(() => listen((message) => heard(message)), [listen])
}

const second = {
  now: Date.now(),
  listeners: new Set<() => void>(),
  timer: undefined as ReturnType<typeof setInterval> | undefined,
  subscribe(listener: () => void) {
    second.listeners.add(listener)
    second.timer ??= setInterval(() => {
      second.now = Date.now()
      for (const each of second.listeners) each()
    }, 1000)
    return () => {
      second.listeners.delete(listener)
      if (second.listeners.size === 0) {
        clearInterval(second.timer)
        second.timer = undefined
      }
    }
  },
}

/** The time in milliseconds, new every second. */
export const useNow = (): number => useSyncExternalStore(second.subscribe, () => second.now)
