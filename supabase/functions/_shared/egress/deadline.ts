import { EgressError } from './errors.ts'

/** A limit on the time of something, to be ended when it is over. */
export type Deadline = { signal: AbortSignal; end: () => void }

/** A signal that aborts with `signal`, and for the same reason, or with the EgressError `timeout` after `ms` milliseconds. */
export function withDeadline(signal: AbortSignal | undefined, ms: number): Deadline {
  const controller = new AbortController()
  const timer = setTimeout(() => controller.abort(new EgressError('timeout', 'The server took too long.')), ms)
  const abort = () => controller.abort(signal?.reason)
  if (signal?.aborted) abort()
  signal?.addEventListener('abort', abort, { once: true })
  return {
    signal: controller.signal,
    end() {
      clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
    },
  }
}

/** What the promise gives, unless the signal aborts first; then its reason is thrown. */
export function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason)
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}
