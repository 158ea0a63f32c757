/** The value below which the given share (0 to 1) of the values lie; nearest rank. */
export function percentile(values: number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  const value = sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)]
  if (value === undefined) throw new Error('no values')
  return value
}

export const median = (values: number[]): number => percentile(values, 0.5)

/** How long a call takes, in milliseconds, and its result. */
export async function timed<T>(call: () => Promise<T>): Promise<{ ms: number; result: T }> {
  const startedAt = performance.now()
  const result = await call()
  return { ms: performance.now() - startedAt, result }
}

/** "12.3 ms" or, from a second on, "1.23 s". */
export const duration = (ms: number): string => (ms < 1000 ? `${ms.toFixed(1)} ms` : `${(ms / 1000).toFixed(2)} s`)
