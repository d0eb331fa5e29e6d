import { useEffect, useEffectEvent } from 'react'

/** Dialogs that are open, the one on top last. */
const layers: (() => void)[] = []

function press(event: KeyboardEvent) {
  const top = layers.at(-1)
  if (!top || event.key !== 'Escape' || event.isComposing || event.repeat) return
  event.preventDefault() // what Radix has open sees it as dealt with
  top()
}

/**
 * Closes the dialog on top at the first Escape. Radix gives the key to its newest layer alone, and a tip inside a dialog is
 * such a layer: with a tip open, its own handling would close that and leave the dialog.
 */
export function useEscape(open: boolean, close: () => void) {
  const closeNow = useEffectEvent(close)
  useEffect(() => {
    if (!open) return
    const layer = () => closeNow()
    if (layers.push(layer) === 1) window.addEventListener('keydown', press, { capture: true })
    return () => {
      layers.splice(layers.indexOf(layer), 1)
      if (layers.length === 0) window.removeEventListener('keydown', press, { capture: true })
    }
  }, [open])
}
