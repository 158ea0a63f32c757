import { setTimeout as sleep } from 'node:timers/promises'
import type { RawData, WebSocket } from 'ws'
import { ProbeUnavailable, type Caller, type ReadVerdict } from './authorization.ts'
import { Channel } from './channel.ts'
import { decode, encode } from './codec.ts'
import type { Hub } from './hub.ts'
import { JoinRefused, parseJoin, type JoinConfig } from './join-config.ts'
import type { ClientMessage, ServerMessage, Vsn } from './messages.ts'
import { checkToken, expiredAgo, isApiKey, problemReason, TokenRejected } from './token-check.ts'

const PREFIX = 'realtime:'
const READ_ALL: ReadVerdict = { broadcast: true, presence: true }

const toBuffer = (data: RawData): Buffer =>
  Array.isArray(data) ? Buffer.concat(data) : data instanceof ArrayBuffer ? Buffer.from(data) : data

/** One client connection: reads frames, keeps its channels, writes frames. */
export class RealtimeSocket {
  readonly vsn: Vsn
  readonly #ws: WebSocket
  readonly #hub: Hub
  /** Whom the connection's key stands for; channels without a token of their own act as this. */
  readonly #caller: Caller
  readonly #channels = new Map<string, Channel>()
  /** Messages of one topic are handled in order; topics do not wait for each other. */
  readonly #topics = new Map<string, Promise<void>>()
  /** Joins that are being looked at; they count towards the limit already. */
  #joining = 0
  #idle: NodeJS.Timeout | undefined

  constructor(hub: Hub, ws: WebSocket, vsn: Vsn, caller: Caller) {
    this.#hub = hub
    this.#ws = ws
    this.vsn = vsn
    this.#caller = caller
    ws.on('message', (data, isBinary) => this.#receive(toBuffer(data), isBinary))
    ws.on('ping', () => this.#idle?.refresh())
    // ws closes by itself after an error, 1009 for a frame that is too large.
    ws.on('error', (error) => hub.log.warn('socket_error', { error: error.message }))
    ws.on('close', () => this.#ended())
    this.#idle = setTimeout(() => ws.close(1001, 'idle'), hub.limits.idleTimeoutMs)
    this.#idle.unref()
  }

  send(message: ServerMessage): void {
    this.sendFrame(encode(this.vsn, message))
  }

  reply({ joinRef, ref, topic }: ClientMessage, status: 'ok' | 'error', response: unknown): void {
    this.send({ joinRef, ref, topic, event: 'phx_reply', payload: { status, response } })
  }

  /** Writes a frame. A subscriber that does not read is cut off instead of filling memory; its client reconnects. */
  sendFrame(frame: string | Buffer): boolean {
    if (this.#ws.readyState !== this.#ws.OPEN) return false
    if (this.#ws.bufferedAmount > this.#hub.limits.maxBufferedBytes) {
      this.#hub.log.warn('slow_subscriber_cut', { buffered_bytes: this.#ws.bufferedAmount })
      this.#ws.terminate() // a close frame would wait behind everything it has not read
      return false
    }
    this.#ws.send(frame)
    return true
  }

  forget(channel: Channel): void {
    if (this.#channels.get(channel.topic) === channel) this.#channels.delete(channel.topic)
  }

  /** Closes the connection; clients reconnect after 1012 (restart). */
  close(code: number, reason: string): void {
    this.#ws.close(code, reason)
  }

  terminate(): void {
    this.#ws.terminate()
  }

  #ended(): void {
    clearTimeout(this.#idle)
    for (const channel of [...this.#channels.values()]) channel.drop()
  }

  #receive(data: Buffer, isBinary: boolean): void {
    this.#idle?.refresh()
    const message = decode(this.vsn, data, isBinary)
    if (message === null) {
      this.#hub.log.warn('malformed_frame', { bytes: data.length, binary: isBinary })
      return
    }
    if (message.topic === 'phoenix') {
      if (message.event === 'heartbeat') this.reply(message, 'ok', {})
      return
    }
    const { topic } = message
    const turn = (this.#topics.get(topic) ?? Promise.resolve())
      .then(() => this.#handle(message))
      .catch((error: unknown) => {
        this.#hub.log.warn('message_failed', { topic, event: message.event, error: String(error) })
        this.#channels.get(topic)?.breakOff()
      })
      .then(() => {
        if (this.#topics.get(topic) === turn) this.#topics.delete(topic)
      })
    this.#topics.set(topic, turn)
  }

  async #handle(message: ClientMessage): Promise<void> {
    if (message.event === 'phx_join') return this.#join(message)
    const channel = this.#channels.get(message.topic)
    if (message.event === 'phx_leave') {
      this.reply(message, 'ok', {})
      channel?.close()
      return
    }
    if (channel) return channel.handle(message)
    this.reply({ ...message, joinRef: null }, 'error', { reason: 'unmatched topic' })
  }

  async #join(message: ClientMessage): Promise<void> {
    const { topic, joinRef } = message
    if (!topic.startsWith(PREFIX)) {
      this.reply({ ...message, joinRef: null }, 'error', { reason: 'unmatched topic' })
      return
    }
    this.#channels.get(topic)?.close()
    const name = topic.slice(PREFIX.length)
    this.#joining++
    try {
      const config = this.#admit(name, message.payload)
      const caller = await this.#identify(config)
      const checkedAt = performance.now()
      const verdict = config.isPrivate ? await this.#authorize(caller, name, config) : READ_ALL
      if (this.#ws.readyState !== this.#ws.OPEN) return
      const channel = new Channel({ hub: this.#hub, socket: this, name, joinRef, config, caller, verdict, checkedAt })
      this.#channels.set(topic, channel)
      await channel.open(() => this.reply(message, 'ok', { postgres_changes: [] }))
    } catch (error) {
      if (!(error instanceof JoinRefused)) throw error
      if (this.#hub.limits.joinRefusalDelayMs > 0) await sleep(this.#hub.limits.joinRefusalDelayMs)
      this.reply(message, 'error', { reason: error.message })
      if (error.message.startsWith('ClientJoinRateLimitReached')) this.close(1001, 'too many joins')
    } finally {
      this.#joining--
    }
  }

  /** Everything about a join that needs neither token nor database. @throws JoinRefused */
  #admit(name: string, payload: unknown): JoinConfig {
    const { limits, joins } = this.#hub
    if (name === '') throw new JoinRefused('TopicNameRequired: You must provide a topic name')
    if (joins.exceeded) throw new JoinRefused('ClientJoinRateLimitReached: Too many joins per second')
    joins.add(1)
    if (limits.channelsPerSocket !== null && this.#channels.size + this.#joining > limits.channelsPerSocket) {
      throw new JoinRefused('ChannelRateLimitReached: Too many channels')
    }
    const config = parseJoin(payload)
    if (limits.privateOnly && !config.isPrivate) {
      throw new JoinRefused('PrivateOnly: This project only allows private channels')
    }
    return config
  }

  /** Whom the channel acts for: its own token, else the connection's key. @throws JoinRefused */
  async #identify({ token }: JoinConfig): Promise<Caller> {
    try {
      if (token !== null && !isApiKey(token)) {
        return { ...this.#caller, claims: await checkToken(this.#hub.tokens, token) }
      }
      const ago = expiredAgo(this.#caller.claims)
      if (ago !== null) throw new TokenRejected({ code: 'expired', ago })
      return this.#caller
    } catch (error) {
      if (error instanceof TokenRejected) throw new JoinRefused(problemReason(error.problem))
      throw error
    }
  }

  /** @throws JoinRefused when the policies let the caller read nothing on the topic. */
  async #authorize(caller: Caller, name: string, config: JoinConfig): Promise<ReadVerdict> {
    try {
      const verdict = await this.#hub.authorizer.mayRead(caller, name, config.presence.enabled)
      if (verdict.broadcast || verdict.presence) return verdict
    } catch (error) {
      if (error instanceof ProbeUnavailable) throw new JoinRefused(error.reason)
      throw error
    }
    throw new JoinRefused(`Unauthorized: You do not have permissions to read from this Channel topic: ${name}`)
  }
}
