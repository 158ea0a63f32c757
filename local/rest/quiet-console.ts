import { AsyncLocalStorage } from 'node:async_hooks'

const METHODS = ['error', 'warn', 'info', 'log', 'debug'] as const

const insideEngine = new AsyncLocalStorage<true>()
let users = 0
let restore: () => void = () => {}

/**
 * The engine prints each database error with all parameters of the statement. Row data must not reach the log, so what it
 * prints while it handles a request is dropped; errors that matter are logged by us, without data.
 */
export const quietly = <T>(fn: () => T): T => insideEngine.run(true, fn)

/** Puts the filter in place. @returns a function that takes it away again when its last user is gone. */
export const installQuietConsole = (): (() => void) => {
  if (users++ === 0) {
    const originals = METHODS.map((method) => [method, console[method]] as const)
    for (const [method, original] of originals) {
      console[method] = (...args: unknown[]) => {
        if (!insideEngine.getStore()) original.apply(console, args)
      }
    }
    restore = () => {
      for (const [method, original] of originals) console[method] = original
    }
  }
  let done = false
  return () => {
    if (done) return
    done = true
    if (--users === 0) restore()
  }
}
