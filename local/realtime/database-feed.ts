import type { Database } from '../database/database.ts'
import { bodyBytes, type Body } from './messages.ts'
import type { RealtimeLog } from './options.ts'
import type { RateWindow } from './rate-window.ts'
import type { Rooms } from './rooms.ts'

/** Payloads may be megabytes, so a read takes a bounded number of them. */
const BATCH = 200
/** A notification is `<uuid> <inserted_at>`, and on a second line the key of the room, unless that is too long or there is none. */
const UUID_LENGTH = 36

export type StoredMessage = {
  id: string
  topic: string | null
  event: string | null
  private: boolean | null
  payload: string | null
  /** Base64. */
  binary_payload: string | null
}

export const MESSAGE_COLUMNS = `messages.id::text as id, messages.topic, messages.event, messages.private,
  messages.payload::text as payload, encode(messages.binary_payload, 'base64') as binary_payload`

/** The payload a row carries, or null when it has none. */
export const storedBody = (row: StoredMessage): Body | null => {
  if (row.payload !== null) return { kind: 'json', text: row.payload }
  return row.binary_payload === null ? null : { kind: 'binary', bytes: Buffer.from(row.binary_payload, 'base64') }
}

export type FeedDeps = {
  db: Database
  rooms: Rooms
  events: RateWindow
  maxPayloadBytes: number
  log: RealtimeLog
}

/**
 * Committed rows of realtime.messages, delivered at most once and in commit order. Notifications name rows; whatever
 * arrives while a read is under way is read together by the next one. What was committed before the gateway listened is
 * never delivered, as with upstream's temporary replication slot.
 */
export class DatabaseFeed {
  readonly #deps: FeedDeps
  #waiting: string[] = []
  #reading = false
  #stop: (() => Promise<void>) | null = null
  /** Settles when messages from the database are being heard. */
  readonly ready: Promise<void>

  constructor(deps: FeedDeps) {
    this.#deps = deps
    this.ready = deps.db
      .listen('realtime_messages', (payload) => {
        const end = payload.indexOf('\n')
        if (end < 0) this.#waiting.push(payload)
        // What is for nobody who is here is not read. Who joins now reads it by replay.
        else if (deps.rooms.has(payload.slice(end + 1))) this.#waiting.push(payload.slice(0, end))
        else return deps.events.add(1)
        void this.#drain()
      })
      .then((stop) => {
        this.#stop = stop
      })
    // Joins that wait for it see the rejection; without one it must not end the process.
    this.ready.catch((error: unknown) => deps.log.warn('listen_failed', { error: String(error) }))
  }

  async close(): Promise<void> {
    await this.ready.catch(() => undefined)
    await this.#stop?.()
    this.#waiting = []
  }

  async #drain(): Promise<void> {
    if (this.#reading) return
    this.#reading = true
    try {
      while (this.#waiting.length > 0) await this.#deliverBatch(this.#waiting.splice(0, BATCH))
    } finally {
      this.#reading = false
    }
  }

  async #deliverBatch(notifications: string[]): Promise<void> {
    const wanted = notifications.map((text) => ({
      id: text.slice(0, UUID_LENGTH),
      inserted_at: text.slice(UUID_LENGTH + 1),
    }))
    let rows: StoredMessage[]
    try {
      rows = await this.#deps.db.query<StoredMessage>(
        `select ${MESSAGE_COLUMNS}
         from jsonb_to_recordset($1::jsonb) as wanted(id uuid, inserted_at timestamp)
         join realtime.messages on messages.id = wanted.id and messages.inserted_at = wanted.inserted_at`,
        [JSON.stringify(wanted)],
      )
    } catch (error) {
      this.#deps.log.warn('messages_not_read', { count: wanted.length, error: String(error) })
      return
    }
    const byId = new Map(rows.map((row) => [row.id, row]))
    for (const { id } of wanted) this.#deliver(id, byId.get(id))
  }

  #deliver(id: string, row: StoredMessage | undefined): void {
    const skip = (reason: string): void => this.#deps.log.warn('message_not_delivered', { id, reason })
    if (!row) return skip('row is gone')
    const body = storedBody(row)
    if (row.topic === null || row.event === null || row.private === null || body === null) {
      return skip('topic, event, private or payload is null')
    }
    if (bodyBytes(body) > this.#deps.maxPayloadBytes) return skip('payload is too large')
    if (this.#deps.events.exceeded) return skip('too many messages per second')
    // Not awaited: each private room keeps its own order, and one that is being probed must not hold up the others.
    this.#deps.rooms
      .publish(row.topic, row.private, { event: row.event, body, framing: 'binary', meta: { id } })
      .catch((error: unknown) => skip(String(error)))
  }
}
