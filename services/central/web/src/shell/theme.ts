import { useSyncExternalStore } from 'react'

export type ThemeChoice = 'light' | 'dark' | 'system'

const key = 'cloudoptim.theme'
const system = matchMedia('(prefers-color-scheme: dark)')
const listeners = new Set<() => void>()

function read(): ThemeChoice {
  const kept = localStorage.getItem(key)
  return kept === 'light' || kept === 'dark' ? kept : 'system'
}

let state = make(read())

function make(choice: ThemeChoice) {
  return { choice, shown: choice === 'system' ? (system.matches ? ('dark' as const) : ('light' as const)) : choice }
}

function apply(choice: ThemeChoice) {
  state = make(choice)
  document.documentElement.dataset.theme = state.shown
  for (const listener of listeners) listener()
}

system.addEventListener('change', () => apply(state.choice))

/** Puts the kept theme on the page, before anything is drawn. */
export const startTheme = () => apply(state.choice)

/** Takes a theme and keeps it on this device. */
export function chooseTheme(choice: ThemeChoice) {
  localStorage.setItem(key, choice)
  apply(choice)
}

const subscribe = (listener: () => void) => {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

/** What was chosen and what is shown. */
export const useTheme = () => useSyncExternalStore(subscribe, () => state)
