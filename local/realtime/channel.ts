import type { Caller, Extension, ReadVerdict } from './authorization.ts'
import { ProbeUnavailable } from './authorization.ts'
import { encodeBroadcast } from './codec.ts'
import type { Hub } from './hub.ts'
import type { JoinConfig } from './join-config.ts'
import { bodyBytes, isObject, type ClientMessage, type Push, type Ref } from './messages.ts'
import type { PresenceDiff, PresenceEntries } from './presence.ts'
import { readReplay } from './replay.ts'
import type { Room } from './rooms.ts'
import type { RealtimeSocket } from './socket.ts'
import { checkToken, expiredAgo, isApiKey, problemText, TokenRejected } from './token-check.ts'

/** Expiry is looked at this often at most: setTimeout cannot wait for the year 2035. */
const EXPIRY_CHECK_MS = 300_000
const PRESENCE_WINDOW_MS = 30_000

/** One joined topic of one socket, with the rights of the token it was joined with. */
export class Channel {
  readonly socket: RealtimeSocket
  /** With the `realtime:` prefix, as on the wire. */
  readonly topic: string
  /** Without it, as policies and apps know it. */
  readonly name: string
  readonly joinRef: Ref
  readonly config: JoinConfig
  readonly #hub: Hub
  #caller: Caller
  #token: string | null
  #read: ReadVerdict
  #checkedAt: number
  #write = new Map<Extension, { allowed: boolean; at: number }>()
  #room: Room | null = null
  #presenceOn = false
  #presenceCalls: number[] = []
  #expiry: NodeJS.Timeout | undefined
  /** Frames that arrived while the join is still being answered; null once live. */
  #held: { frame: string | Buffer; id: string | undefined }[] | null = []
  readonly #replayed = new Set<string>()
  #closed = false

  constructor(deps: {
    hub: Hub
    socket: RealtimeSocket
    name: string
    joinRef: Ref
    config: JoinConfig
    caller: Caller
    verdict: ReadVerdict
    /** performance.now() before the verdict was asked for. */
    checkedAt: number
  }) {
    this.#hub = deps.hub
    this.socket = deps.socket
    this.name = deps.name
    this.topic = `realtime:${deps.name}`
    this.joinRef = deps.joinRef
    this.config = deps.config
    this.#caller = deps.caller
    this.#token = deps.config.token
    this.#read = deps.verdict
    this.#checkedAt = deps.checkedAt
  }

  get caller(): Caller {
    return this.#caller
  }

  get checkedAt(): number {
    return this.#checkedAt
  }

  get isClosed(): boolean {
    return this.#closed
  }

  /** Whether presence was asked for, at the join or by tracking. */
  get presenceEnabled(): boolean {
    return this.config.presence.enabled || this.#presenceOn
  }

  /** Enters the room, answers the join, replays, and goes live. */
  async open(replyOk: () => void): Promise<void> {
    this.#room = this.#hub.rooms.join(this)
    this.#watchExpiry()
    replyOk()
    // The room was joined before this query: a message committed meanwhile is held back, not lost.
    if (this.config.replay) await this.#replay(this.config.replay)
    const held = this.#held ?? []
    this.#held = null
    for (const { frame, id } of held) this.deliver(frame, id)
    if (this.config.replicationReady) void this.#announceReplication()
    if (this.config.presence.enabled) this.#startPresence()
  }

  /** Hands an encoded broadcast to the socket. Returns false when this channel does not get it. */
  deliver(frame: string | Buffer, id: string | undefined): boolean {
    if (this.#closed || !this.#read.broadcast) return false
    if (this.#held) {
      this.#held.push({ frame, id })
      return true
    }
    if (id !== undefined && this.#replayed.has(id)) return false
    return this.socket.sendFrame(frame)
  }

  sendPresence(event: 'presence_state' | 'presence_diff', payload: PresenceEntries | PresenceDiff): void {
    if (this.#closed || !this.#presenceOn || !this.#read.presence) return
    const joinRef = event === 'presence_state' ? this.joinRef : null
    this.socket.send({ joinRef, ref: null, topic: this.topic, event, payload })
  }

  /** Handles a message on the joined topic other than join and leave; unknown events are ignored. */
  async handle(message: ClientMessage): Promise<void> {
    switch (message.event) {
      case 'broadcast':
        return message.push ? this.#broadcast(message, message.push) : undefined
      case 'presence':
        return this.#presence(message)
      case 'access_token':
        return this.#refresh(message.payload)
    }
  }

  /** Takes over a newer verdict on the same caller; closes the channel when the right to read is gone. */
  confirm(verdict: ReadVerdict, askedAt: number): void {
    if (!verdict.broadcast && !verdict.presence) {
      this.fail(`You no longer have permission to read from this Channel topic: ${this.name}`)
      return
    }
    this.#read = verdict
    this.#checkedAt = askedAt
  }

  /** Tells the client why and closes the channel; the client does not rejoin by itself. */
  fail(message: string): void {
    if (this.#closed) return
    this.#system('error', message)
    this.close()
  }

  /** Leaves the room and tells the client that the channel is closed. */
  close(): void {
    if (this.#end()) this.#event('phx_close')
  }

  /** Ends the channel for a reason that may pass: the client rejoins, and is asked about again then. */
  breakOff(): void {
    if (this.#end()) this.#event('phx_error')
  }

  /** Leaves without a word: the socket is gone. */
  drop(): void {
    this.#end()
  }

  #end(): boolean {
    if (this.#closed) return false
    this.#closed = true
    clearTimeout(this.#expiry)
    if (this.#room) this.#hub.rooms.leave(this, this.#room)
    this.socket.forget(this)
    return true
  }

  #event(event: 'phx_close' | 'phx_error'): void {
    // The client ignores a close whose ref is not the ref of its join.
    this.socket.send({ joinRef: this.joinRef, ref: this.joinRef, topic: this.topic, event, payload: {} })
  }

  #system(status: 'ok' | 'error', message: string): void {
    this.socket.send({
      joinRef: this.joinRef,
      ref: null,
      topic: this.topic,
      event: 'system',
      payload: { message, status, extension: 'system', channel: this.name },
    })
  }

  async #replay(request: { since: number; limit: number }): Promise<void> {
    const { vsn } = this.socket
    for (const message of await readReplay(this.#hub.db, this.name, request)) {
      if (this.#closed || !this.#read.broadcast) return
      const frame = encodeBroadcast(vsn, this.topic, message, this.joinRef)
      this.#replayed.add(message.meta.id)
      if (frame !== null) this.socket.sendFrame(frame)
    }
  }

  async #announceReplication(): Promise<void> {
    try {
      await this.#hub.feed.ready
    } catch {
      this.fail('Replication connection was not established in time')
      return
    }
    if (!this.#closed) this.#system('ok', 'Replication connection established')
  }

  #watchExpiry(): void {
    clearTimeout(this.#expiry)
    const { exp } = this.#caller.claims
    if (this.#closed || typeof exp !== 'number') return
    const ago = expiredAgo(this.#caller.claims)
    if (ago !== null) {
      this.fail(problemText({ code: 'expired', ago }))
      return
    }
    const waitMs = Math.min(Math.max(exp * 1000 - Date.now(), 1), EXPIRY_CHECK_MS)
    this.#expiry = setTimeout(() => this.#watchExpiry(), waitMs)
    this.#expiry.unref()
  }

  /** Whether the caller may write, asked at the first push and again once the answer is old. */
  async #mayWrite(extension: Extension): Promise<boolean> {
    if (!this.config.isPrivate) return true
    const known = this.#write.get(extension)
    if (known && performance.now() - known.at <= this.#hub.limits.verdictMaxAgeMs) return known.allowed
    const { caller } = this
    const at = performance.now()
    try {
      const allowed = await this.#hub.authorizer.mayWrite(caller, this.name, extension)
      if (caller === this.#caller) this.#write.set(extension, { allowed, at })
      return allowed
    } catch (error) {
      if (error instanceof ProbeUnavailable) return false
      throw error
    }
  }

  async #broadcast(message: ClientMessage, push: Push): Promise<void> {
    const { ack, isPrivate } = this.config
    const refuse = (error: string): void => {
      if (ack) this.socket.reply(message, 'error', { error })
      else this.#hub.log.warn('broadcast_refused', { topic: this.name, error })
    }
    if (push.persist) return refuse('persistence_not_supported')
    if (bodyBytes(push.body) > this.#hub.limits.maxPayloadBytes) return refuse('payload_size_exceeded')
    if (this.#hub.events.exceeded) return this.fail('Too many messages per second')
    // As upstream, a refused push is silent even with `ack`.
    if (!(await this.#mayWrite('broadcast')) || this.#closed) return
    const { event, body, framing } = push
    await this.#hub.rooms.publish(this.name, isPrivate, { event, body, framing }, this)
    if (ack) this.socket.reply(message, 'ok', {})
  }

  async #presence(message: ClientMessage): Promise<void> {
    const request = isObject(message.payload) ? message.payload : {}
    const action = String(request['event'] ?? '').toLowerCase()
    if (this.#presenceCallsExceeded()) return this.fail('Client presence rate limit exceeded')
    if (action === 'untrack') {
      const diff = this.#room?.presence.untrack(this)
      if (diff && this.#room) this.#hub.rooms.publishPresence(this.#room, diff)
      return this.socket.reply(message, 'ok', {})
    }
    if (action !== 'track') return this.socket.reply(message, 'error', {})
    const payload = request['payload'] ?? {}
    if (!isObject(payload)) {
      return this.socket.reply(message, 'error', { reason: 'Presence track payload must be a map' })
    }
    if (Buffer.byteLength(JSON.stringify(payload)) > this.#hub.limits.maxPayloadBytes) {
      return this.fail('Track message size exceeded')
    }
    if (!(await this.#mayWrite('presence'))) return this.socket.reply(message, 'error', {})
    if (!this.#presenceOn) await this.#enablePresence()
    if (this.#closed || !this.#room) return
    this.#hub.rooms.publishPresence(this.#room, this.#room.presence.track(this, this.config.presence.key, payload))
    this.socket.reply(message, 'ok', {})
  }

  /** A client that tracks without having asked for presence at the join gets it from then on, if it may read it. */
  async #enablePresence(): Promise<void> {
    if (this.config.isPrivate) {
      const { caller } = this
      const askedAt = performance.now()
      try {
        const verdict = await this.#hub.authorizer.mayRead(caller, this.name, true)
        if (!this.#closed && caller === this.#caller) this.confirm(verdict, askedAt)
      } catch (error) {
        if (!(error instanceof ProbeUnavailable)) throw error
        this.breakOff()
      }
    }
    if (!this.#closed) this.#startPresence()
  }

  #startPresence(): void {
    this.#presenceOn = true
    if (this.#room) this.sendPresence('presence_state', this.#room.presence.state())
  }

  #presenceCallsExceeded(): boolean {
    const limit = this.#hub.limits.presenceCallsPer30s
    if (limit === null) return false
    const now = performance.now()
    this.#presenceCalls = [...this.#presenceCalls.filter((at) => now - at < PRESENCE_WINDOW_MS), now]
    return this.#presenceCalls.length > limit
  }

  async #refresh(payload: unknown): Promise<void> {
    const token = isObject(payload) ? payload['access_token'] : null
    if (typeof token !== 'string' || isApiKey(token) || token === this.#token) return
    let caller: Caller
    try {
      caller = { claims: await checkToken(this.#hub.tokens, token), headers: this.#caller.headers }
    } catch (error) {
      if (!(error instanceof TokenRejected)) throw error
      return this.fail(problemText(error.problem))
    }
    if (this.config.isPrivate) {
      const askedAt = performance.now()
      try {
        const verdict = await this.#hub.authorizer.mayRead(caller, this.name, this.presenceEnabled)
        if (!verdict.broadcast && !verdict.presence) {
          return this.fail(`You do not have permissions to read from this Channel topic: ${this.name}`)
        }
        this.#read = verdict
        this.#checkedAt = askedAt
      } catch (error) {
        if (!(error instanceof ProbeUnavailable)) throw error
        return this.breakOff()
      }
    }
    this.#caller = caller
    this.#token = token
    this.#write.clear()
    this.#watchExpiry()
  }
}
