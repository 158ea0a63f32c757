/** A signal that fires with `signal` or after `ms` milliseconds. */
export function withTimeout(signal: AbortSignal | null | undefined, ms: number): AbortSignal {
  const timeout = AbortSignal.timeout(ms)
  return signal ? AbortSignal.any([signal, timeout]) : timeout
}

/** `fetch` that gives up after `ms` milliseconds, the body included. */
export function boundedFetch(fetchWith: typeof fetch, ms: number): typeof fetch {
  return (input, init) => {
    // Named here because the runtimes' type libraries disagree about RequestInit.
    const { signal } = (init ?? {}) as { signal?: AbortSignal | null }
    return fetchWith(input, { ...init, signal: withTimeout(signal, ms) })
  }
}
