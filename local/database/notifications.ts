type Listener = (payload: string) => void

const quoted = (channel: string): string => `"${channel.replaceAll('"', '""')}"`

/**
 * Hands the notifications of one session to many listeners. The session LISTENs while a channel has at least one.
 * Postgres tells a session about its own notifications too, so this also reaches listeners of the notifier's process.
 */
export class NotificationHub {
  #listeners = new Map<string, Set<Listener>>()
  #execute: (sql: string) => Promise<void>

  /** @param execute runs LISTEN and UNLISTEN on the session, when it is free. */
  constructor(execute: (sql: string) => Promise<void>) {
    this.#execute = execute
  }

  publish(channel: string, payload: string): void {
    for (const listener of this.#listeners.get(channel) ?? []) {
      // Later and apart: a listener must neither delay nor fail the statement that notified.
      setImmediate(listener, payload)
    }
  }

  async subscribe(channel: string, listener: Listener): Promise<() => Promise<void>> {
    this.attach(channel, listener)
    await this.#execute(`listen ${quoted(channel)}`)
    return async () => {
      if (this.detach(channel, listener)) await this.#execute(`unlisten ${quoted(channel)}`)
    }
  }

  /** LISTENs anew to what is listened to, and to nothing else. For after an UNLISTEN or DISCARD of one who shares the session. */
  async relisten(execute: (sql: string) => Promise<void>): Promise<void> {
    await execute(
      ['unlisten *', ...[...this.#listeners.keys()].map((channel) => `listen ${quoted(channel)}`)].join('; '),
    )
  }

  /** Adds a listener whose LISTEN the caller has run itself on the session. */
  attach(channel: string, listener: Listener): void {
    const listeners = this.#listeners.get(channel) ?? new Set()
    listeners.add(listener)
    this.#listeners.set(channel, listeners)
  }

  /** Removes a listener. @returns true when the channel has none left. */
  detach(channel: string, listener: Listener): boolean {
    const listeners = this.#listeners.get(channel)
    if (!listeners?.delete(listener) || listeners.size > 0) return false
    this.#listeners.delete(channel)
    return true
  }
}
