/** Milliseconds after which it is decided whether to take more or fewer, and how much what was found then counts beside earlier. */
const WINDOW_MS = 500
const WEIGHT = 0.25
/** Milliseconds for which the best response time of a kind counts, at most twice as long: it may be out of reach by then. */
const BEST_MS = 60_000
/** Times the best that a call takes when nobody waits for anybody; and beyond so many it says no more than that much goes on. */
const USUAL = 2
const MOST_TIMES = 10
/** Share of the time of its runs that is spent waiting: with less there is room for another, with more there are too many. */
const ROOM = 0.03
const CROWDED = 0.06
const GROWTH = 0.5
/** What keeps the machine busy need not be runs; then giving up more would help nobody. */
const LEAST = 2
/** Milliseconds without growth after places were given up: else it would go back and forth about the number that fits. */
const HOLD_MS = 10_000
const SHRINKAGE = 0.75

/** How many runs are worth carrying out at once, by how fast the ledger answers. */
export type AdaptivePlaces = {
  /** A whole number, from 2 to `most`; 1 where that is all. */
  allowed(): number
  /** Takes note of a call that was answered. @param kind calls that take alike when nothing else goes on */
  observe(kind: string, ms: number): void
}

type Best = { current: number; previous: number; since: number }

/**
 * Makes the limit, at `most` to begin with. As with TCP Vegas, a call that takes much longer than the best of its kind has waited for
 * others; how much of the time of the runs in this many places goes by with that, is how much they are in each other's way. While it is
 * too much, places are given up, a quarter at a time; while it is little, they come back, one in a second, some seconds later.
 * @param now milliseconds of a clock that never goes back
 */
export function createAdaptivePlaces(most: number, now: () => number): AdaptivePlaces {
  const bests = new Map<string, Best>()
  let limit = most
  let begun = now()
  let shrunkAt = -Infinity
  let waitedMs = 0
  let share = 0

  function bestOf(kind: string, ms: number): number {
    const best = bests.get(kind) ?? { current: Infinity, previous: Infinity, since: now() }
    bests.set(kind, best)
    if (now() - best.since >= BEST_MS) Object.assign(best, { current: Infinity, previous: best.current, since: now() })
    best.current = Math.min(best.current, ms)
    return Math.min(best.current, best.previous)
  }

  return {
    allowed: () => Math.round(limit),
    observe(kind, ms) {
      const best = bestOf(kind, ms)
      waitedMs += Math.max(Math.min(ms, MOST_TIMES * best) - USUAL * best, 0)
      const passed = now() - begun
      if (passed < WINDOW_MS) return
      share += WEIGHT * (waitedMs / passed / limit - share)
      waitedMs = 0
      begun = now()
      if (share > CROWDED) {
        limit = Math.max(Math.min(LEAST, most), limit * SHRINKAGE)
        shrunkAt = begun
      } else if (share < ROOM && begun - shrunkAt >= HOLD_MS) limit = Math.min(most, limit + GROWTH)
    },
  }
}
