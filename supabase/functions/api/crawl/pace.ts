import { pause } from '../../_shared/agent/abort.ts'

/** Time, and waiting for it; tests have one of their own. */
export type Clock = {
  /** Milliseconds; only differences count. */
  now: () => number
  /** @throws the reason of `signal` when that aborts. */
  sleep: (ms: number, signal: AbortSignal) => Promise<void>
}

export const REAL_CLOCK: Clock = { now: () => performance.now(), sleep: pause }

/** Longest pause between two requests that is kept. Whoever asks for a longer one gets a single request. */
export const MAX_DELAY_MS = 10_000

/** Keeps the pauses that sites ask for, by `Crawl-delay` in their robots.txt. */
export type Pace = {
  /**
   * Waits until the next request to a site may begin. The first may at once.
   * @param delayMs pause that the site asks for; 0: none.
   * @returns false when it may not: the pause is longer than is waited, or the time is over before.
   */
  turn(origin: string, delayMs: number): Promise<boolean>
  /** The pause because of which a request was not made; null: all were. */
  refusedFor(): number | null
}

/** Makes a pace. @param endsAt when, by the clock, no request may begin any more. */
export function createPace(clock: Clock, endsAt: number, signal: AbortSignal): Pace {
  const sites = new Map<string, { freeAt: number; line: Promise<unknown> }>()
  let refusedFor: number | null = null

  async function wait(site: { freeAt: number }, delayMs: number): Promise<boolean> {
    const now = clock.now()
    const ms = Math.max(0, site.freeAt - now)
    if (ms > 0) {
      if (refusedFor !== null || delayMs > MAX_DELAY_MS || now + ms >= endsAt) {
        refusedFor ??= delayMs
        return false
      }
      try {
        await clock.sleep(ms, signal)
      } catch {
        // The time for all of it is over.
        return false
      }
    }
    site.freeAt = clock.now() + delayMs
    return true
  }

  return {
    turn(origin, delayMs) {
      if (delayMs <= 0) return Promise.resolve(true)
      const site = sites.get(origin) ?? { freeAt: -Infinity, line: Promise.resolve() }
      sites.set(origin, site)
      // One after the other, in the order they came in.
      const turn = site.line.then(() => wait(site, delayMs))
      site.line = turn
      return turn
    },
    refusedFor: () => refusedFor,
  }
}
