import process from 'node:process'
import { afterAll, vi } from 'vitest'

// Runs with every test file. Files share a process (see vitest.config.ts), so what one of them has replaced in it is put
// back before the next: globals that a server library swaps for its own, spies, timers, the environment.

const before = {
  globals: (['Request', 'Response', 'Headers', 'fetch'] as const).map((name) => [name, globalThis[name]] as const),
  env: { ...process.env },
  folder: process.cwd(),
}

// Hooks that are added first run last: a stack of the file has ended by then.
afterAll(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
  vi.unstubAllGlobals()
  vi.unstubAllEnvs()
  for (const [name, value] of before.globals) {
    if (globalThis[name] !== value)
      Object.defineProperty(globalThis, name, { value, writable: true, configurable: true })
  }
  for (const name of Object.keys(process.env)) if (!(name in before.env)) delete process.env[name]
  Object.assign(process.env, before.env)
  if (process.cwd() !== before.folder) process.chdir(before.folder)
})
