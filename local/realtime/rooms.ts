import type { Channel } from './channel.ts'
import { encodeBroadcast } from './codec.ts'
import type { Broadcast, Vsn } from './messages.ts'
import { Presence, type PresenceDiff } from './presence.ts'
import type { RateWindow } from './rate-window.ts'

/** A public and a private room of the same name are different rooms. */
export class Room {
  readonly name: string
  readonly isPrivate: boolean
  readonly channels = new Set<Channel>()
  readonly presence = new Presence<Channel>()
  /** Deliveries of a private room wait for each other, so that a probe never reorders them. */
  tail: Promise<void> | null = null

  constructor(name: string, isPrivate: boolean) {
    this.name = name
    this.isPrivate = isPrivate
  }
}

export type RoomsDeps = {
  events: RateWindow
  /** Whether these channels must be asked about again before they may be given anything. */
  stale: (channels: Iterable<Channel>) => Channel[]
  /** Probes the channels again and closes those that lost the right to read. Never throws. */
  freshen: (channels: Channel[]) => Promise<void>
}

/** Every joined channel, by room, and the one way a broadcast reaches them. */
export class Rooms {
  readonly #rooms = new Map<string, Room>()
  readonly #deps: RoomsDeps

  constructor(deps: RoomsDeps) {
    this.#deps = deps
  }

  /** Whether anybody is in a room, by its key. */
  has(key: string): boolean {
    return this.#rooms.has(key)
  }

  join(channel: Channel): Room {
    const key = roomKey(channel.name, channel.config.isPrivate)
    const room = this.#rooms.get(key) ?? new Room(channel.name, channel.config.isPrivate)
    this.#rooms.set(key, room)
    room.channels.add(channel)
    return room
  }

  leave(channel: Channel, room: Room): void {
    room.channels.delete(channel)
    const diff = room.presence.untrack(channel)
    if (diff) this.publishPresence(room, diff)
    if (room.channels.size === 0) this.#rooms.delete(roomKey(room.name, room.isPrivate))
  }

  privateChannels(): Channel[] {
    return [...this.#rooms.values()].filter((room) => room.isPrivate).flatMap((room) => [...room.channels])
  }

  /**
   * Delivers a broadcast to everyone in the room; to its sender `from` only if it asked for that. On a private room
   * nobody is given anything on the strength of an old verdict. Resolves when it is handed to the sockets.
   */
  async publish(name: string, isPrivate: boolean, broadcast: Broadcast, from: Channel | null = null): Promise<void> {
    this.#deps.events.add(1)
    const room = this.#rooms.get(roomKey(name, isPrivate))
    if (!room) return
    const readers = room.isPrivate ? this.#deps.stale(room.channels) : []
    if (room.tail === null && readers.length === 0) {
      this.#deliver(room, broadcast, from)
      return
    }
    const turn = (room.tail ?? Promise.resolve()).then(async () => {
      await this.#deps.freshen(this.#deps.stale(room.channels))
      this.#deliver(room, broadcast, from)
    })
    const tail = turn
      .catch(() => undefined) // the publisher hears of it; those behind it are not affected
      .then(() => {
        if (room.tail === tail) room.tail = null
      })
    room.tail = tail
    await turn
  }

  publishPresence(room: Room, diff: PresenceDiff): void {
    for (const channel of room.channels) channel.sendPresence('presence_diff', diff)
  }

  #deliver(room: Room, broadcast: Broadcast, from: Channel | null): void {
    const topic = `realtime:${room.name}`
    // Refs are null, so one encoding serves every subscriber of a serializer.
    const encoded = new Map<Vsn, string | Buffer | null>()
    let delivered = 0
    for (const channel of room.channels) {
      if (channel === from && !channel.config.self) continue
      const { vsn } = channel.socket
      if (!encoded.has(vsn)) encoded.set(vsn, encodeBroadcast(vsn, topic, broadcast))
      const frame = encoded.get(vsn)
      if (frame != null && channel.deliver(frame, broadcast.meta?.id)) delivered++
    }
    this.#deps.events.add(delivered)
  }
}

/** The key of a room, which notifications of the database name it by. */
const roomKey = (name: string, isPrivate: boolean): string => `${isPrivate ? 'private' : 'public'}:${name}`
