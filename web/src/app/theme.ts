import { useSyncExternalStore } from 'react'

export type Theme = 'light' | 'dark'
/** `system` follows the device. */
export type ThemeChoice = Theme | 'system'

const KEY = 'bulkhead.theme'
const device = matchMedia('(prefers-color-scheme: dark)')
const listeners = new Set<() => void>()

const chosen = (): ThemeChoice => {
  const stored = localStorage.getItem(KEY)
  return stored === 'light' || stored === 'dark' ? stored : 'system'
}

const apply = (): void => {
  const choice = chosen()
  document.documentElement.dataset['theme'] = choice === 'system' ? (device.matches ? 'dark' : 'light') : choice
  for (const listener of listeners) listener()
}

device.addEventListener('change', apply)
addEventListener('storage', (event) => event.key === KEY && apply())
apply()

export const chooseTheme = (choice: ThemeChoice): void => {
  if (choice === 'system') localStorage.removeItem(KEY)
  else localStorage.setItem(KEY, choice)
  apply()
}

const subscribe = (listener: () => void) => {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

export const useThemeChoice = (): ThemeChoice => useSyncExternalStore(subscribe, chosen)
