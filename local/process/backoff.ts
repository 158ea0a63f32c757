/** Waiting times before each new start of a process that keeps ending. */
export interface Backoff {
  /** The next wait in milliseconds, given how long the process ran this time. */
  next(ranForMs: number): number
}

const FIRST_WAIT_MS = 250
const LONGEST_WAIT_MS = 30_000
/** Who ran this long was healthy: the next failure is a new one. */
const HEALTHY_AFTER_MS = 10_000

export function createBackoff(): Backoff {
  let wait = FIRST_WAIT_MS
  return {
    next(ranForMs) {
      if (ranForMs >= HEALTHY_AFTER_MS) wait = FIRST_WAIT_MS
      const current = wait
      wait = Math.min(wait * 2, LONGEST_WAIT_MS)
      return current
    },
  }
}
