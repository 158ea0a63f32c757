const SLICES = 12
const SLICE_MS = 5_000

/** Counts occurrences over the last minute in twelve slices of five seconds; the rate is their average per second. */
export class RateWindow {
  readonly limit: number | null
  readonly #counts = new Array<number>(SLICES).fill(0)
  #slice = Math.floor(Date.now() / SLICE_MS)

  constructor(limit: number | null) {
    this.limit = limit
  }

  /** Records `count` occurrences. */
  add(count: number): void {
    this.#advance()
    const at = this.#slice % SLICES
    this.#counts[at] = (this.#counts[at] ?? 0) + count
  }

  /** Occurrences per second, averaged over a minute. */
  get rolling(): number {
    this.#advance()
    return this.#counts.reduce((sum, count) => sum + count, 0) / ((SLICES * SLICE_MS) / 1000)
  }

  /** True once the rate has reached the limit; never without one. */
  get exceeded(): boolean {
    return this.limit !== null && this.rolling >= this.limit
  }

  #advance(): void {
    const now = Math.floor(Date.now() / SLICE_MS)
    for (let slice = Math.max(this.#slice + 1, now - SLICES + 1); slice <= now; slice++)
      this.#counts[slice % SLICES] = 0
    this.#slice = now
  }
}
