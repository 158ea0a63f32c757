import { AppError } from './errors.ts'

/** Milliseconds before a call that failed is repeated; the last one again and again. */
const RETRY_MS = [50, 100, 200, 400, 800]
/** How long a call is repeated. Nobody else may be able to take the run up meanwhile, so this outlasts the lease. */
const GIVE_UP_MS = 30_000

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/** Whether the same call may succeed later: the database may be away for a moment. */
export const isTransient = (error: unknown): boolean =>
  !(error instanceof AppError) || ['unavailable', 'upstream_timeout', 'internal', 'rate_limited'].includes(error.code)

/**
 * Repeats a call to the ledger that fails for the moment, for half a minute. What it does must be fit to be done twice: an
 * answer may have been lost.
 * @param onFailure hears of each failure that is followed by another attempt, from 0
 * @param isOver whether nobody waits any more
 * @throws what the last attempt threw
 */
export async function repeated<T>(
  call: () => Promise<T>,
  onFailure: (error: unknown, attempt: number) => void,
  isOver: () => boolean = () => false,
): Promise<T> {
  const startedAt = performance.now()
  for (let attempt = 0; ; attempt++) {
    try {
      return await call()
    } catch (error) {
      if (!isTransient(error) || performance.now() - startedAt > GIVE_UP_MS || isOver()) throw error
      onFailure(error, attempt)
      await sleep(RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)] ?? 0)
    }
  }
}
