import { useEffect, useEffectEvent, useState } from 'react'

/** A text that is typed, and told of once typing pauses; what is kept elsewhere (the URL) wins when it changes. */
export function useTyped(kept: string, tell: (text: string | undefined) => void): [string, (text: string) => void] {
  const [typed, setTyped] = useState(kept)
  const [before, setBefore] = useState(kept)
  if (kept !== before) {
    setBefore(kept)
    setTyped(kept)
  }
  const told = useEffectEvent(tell)
  useEffect(() => {
    if (typed === kept) return undefined
    const timer = setTimeout(() => told(typed || undefined), 250)
    return () => clearTimeout(timer)
  }, [typed, kept])
  return [typed, setTyped]
}
