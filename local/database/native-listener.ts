import { closedError, connect, end, type Client } from './native-connection.ts'

/** Milliseconds between two tries to listen again, at first and at most. */
const RELISTEN_MS = { first: 100, most: 2000 }

const quoted = (channel: string): string => `"${channel.replaceAll('"', '""')}"`

/** A connection that only listens. When it closes, another one takes its place and listens to the same channels. */
export class NativeListener {
  readonly #url: string
  readonly #listeners = new Map<string, Set<(payload: string) => void>>()
  #client: Client | null = null
  #again: NodeJS.Timeout | undefined
  #delayMs = RELISTEN_MS.first
  #isEnded = false

  constructor(url: string) {
    this.#url = url
  }

  /** @throws when the channel cannot be listened to now */
  async listen(channel: string, onNotify: (payload: string) => void): Promise<() => Promise<void>> {
    const listeners = this.#listeners.get(channel) ?? new Set()
    this.#listeners.set(channel, listeners.add(onNotify))
    const unlisten = async () => {
      if (!listeners.delete(onNotify) || listeners.size > 0) return
      this.#listeners.delete(channel)
      // Without a connection nothing is listened to anyway.
      await this.#client?.unsafe(`unlisten ${quoted(channel)}`).catch(() => {})
    }
    try {
      await this.#connected().unsafe(`listen ${quoted(channel)}`)
      return unlisten
    } catch (error) {
      await unlisten()
      throw error
    }
  }

  async close(): Promise<void> {
    this.#isEnded = true
    clearTimeout(this.#again)
    if (this.#client) await end(this.#client)
  }

  #connected(): Client {
    if (this.#isEnded) throw closedError()
    if (this.#client) return this.#client
    const client = connect(this.#url, {
      onClose: () => {
        if (this.#client !== client) return
        this.#client = null
        this.#relistenLater()
      },
      onNotify: (channel, payload) => {
        for (const listener of this.#listeners.get(channel) ?? []) listener(payload)
      },
    })
    return (this.#client = client)
  }

  #relistenLater(): void {
    if (this.#isEnded || this.#listeners.size === 0) return
    clearTimeout(this.#again)
    this.#again = setTimeout(() => void this.#relisten(), this.#delayMs)
    this.#again.unref()
    this.#delayMs = Math.min(this.#delayMs * 2, RELISTEN_MS.most)
  }

  async #relisten(): Promise<void> {
    this.#again = undefined
    if (this.#isEnded) return
    try {
      // Its connection not coming about closes it, and that leads here again.
      const client = this.#connected()
      for (const channel of [...this.#listeners.keys()]) await client.unsafe(`listen ${quoted(channel)}`)
      this.#delayMs = RELISTEN_MS.first
    } catch {
      this.#relistenLater()
    }
  }
}
