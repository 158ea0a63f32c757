import { AsyncLocalStorage } from 'node:async_hooks'

type Holder = { live: boolean }

/**
 * First come, first served mutex around the one session of PGlite.
 *
 * It knows, per asynchronous context, whether the lock is already held: `run` inside `run` goes on at once, and a caller
 * that must not join somebody's transaction can ask with `held` and refuse instead of waiting for itself for ever.
 */
export class SessionLock {
  #holder = new AsyncLocalStorage<Holder>()
  #tail: Promise<void> = Promise.resolve()

  get held(): boolean {
    return this.#holder.getStore()?.live === true
  }

  /** Waits for the lock; returns the function that releases it (further calls of it do nothing). */
  async acquire(): Promise<() => void> {
    let open: () => void = () => {}
    const gate = new Promise<void>((resolve) => (open = resolve))
    const turn = this.#tail
    this.#tail = turn.then(() => gate)
    await turn
    return open
  }

  async run<T>(fn: () => Promise<T>): Promise<T> {
    if (this.held) return fn()
    const release = await this.acquire()
    const holder: Holder = { live: true }
    try {
      return await this.#holder.run(holder, fn)
    } finally {
      holder.live = false
      release()
    }
  }

  /**
   * Runs `fn` outside of every holder's context. For callbacks that fire inside somebody else's query (notifications):
   * without this they would believe the lock were theirs and run inside that transaction and role.
   */
  detached<T>(fn: () => T): T {
    return this.#holder.exit(fn)
  }
}
