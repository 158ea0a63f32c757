/** Work that outlives its request: the platform keeps the isolate alive for it where it can. */

const pending = new Set<Promise<unknown>>()

/**
 * Keeps `task` running after the response was sent. A failure is reported to `onFailure` and goes nowhere else.
 * The platform's wall-clock limit still holds: durable work belongs in the queue.
 */
export function background<T>(task: Promise<T>, onFailure: (error: unknown) => void): Promise<T | undefined> {
  const guarded = task.catch((error: unknown) => {
    onFailure(error)
    return undefined
  })
  const runtime = globalThis as { EdgeRuntime?: { waitUntil(task: Promise<unknown>): unknown } }
  runtime.EdgeRuntime?.waitUntil(guarded)
  pending.add(guarded)
  void guarded.finally(() => pending.delete(guarded))
  return guarded
}

/** Resolves when all background work has ended; for tests and for an orderly stop. */
export async function drainBackground(): Promise<void> {
  while (pending.size > 0) await Promise.allSettled([...pending])
}
