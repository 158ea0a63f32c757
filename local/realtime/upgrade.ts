import type http from 'node:http'
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { WebSocketServer } from 'ws'
import type { Caller } from './authorization.ts'
import { parseVsn } from './codec.ts'
import type { Hub } from './hub.ts'
import { callerHeaders } from './http-routes.ts'
import type { Vsn } from './messages.ts'
import { RealtimeSocket } from './socket.ts'
import { checkKey, problemText, TokenRejected } from './token-check.ts'

/** The API gateway's path, and the one the server itself mounts. */
const PATHS = ['/realtime/v1/websocket', '/socket/websocket']

/** A connection that is answered with a status instead of an upgrade. */
class ConnectionRefused extends Error {
  readonly status: number
  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

const STATUS_TEXT: Record<number, string> = {
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  429: 'Too Many Requests',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
}

const ignore = (): void => undefined

const refuse = (socket: Duplex, status: number, error: string): void => {
  const body = JSON.stringify({ error })
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_TEXT[status] ?? 'Error'}\r\ncontent-type: application/json\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  )
}

/** Turns upgrade requests into sockets and keeps them until the gateway stops. */
export class Connections {
  readonly #hub: Hub
  readonly #wss: WebSocketServer
  readonly #sockets = new Set<RealtimeSocket>()
  readonly #servers = new Map<http.Server, (request: http.IncomingMessage, socket: Duplex, head: Buffer) => void>()
  #closed = false

  constructor(hub: Hub) {
    this.#hub = hub
    this.#wss = new WebSocketServer({
      noServer: true,
      perMessageDeflate: false,
      maxPayload: hub.limits.maxFrameBytes,
    })
  }

  /** Serves the WebSocket paths of `server`; other paths are left to its other listeners. */
  attach(server: http.Server): void {
    const listener = (request: http.IncomingMessage, socket: Duplex, head: Buffer): void => {
      // Until ws takes over, or another listener, a reset by the client must not end the process.
      socket.on('error', ignore)
      const url = URL.parse(request.url ?? '/', 'http://gateway')
      if (url !== null && PATHS.includes(url.pathname)) void this.#upgrade(request, url, socket, head)
      else if (server.listenerCount('upgrade') === 1) refuse(socket, 404, 'not available on the local gateway')
    }
    this.#servers.set(server, listener)
    server.on('upgrade', listener)
  }

  /** Refuses new connections, closes the open ones with 1012 (restart) and waits until they are gone. */
  async close(): Promise<void> {
    this.#closed = true
    for (const socket of this.#sockets) socket.close(1012, 'restart')
    const gone = new Promise<void>((resolve) => this.#wss.close(() => resolve()))
    const emptied = this.#emptied()
    const stop = new AbortController()
    await Promise.race([
      emptied,
      sleep(this.#hub.limits.stopTimeoutMs, undefined, { signal: stop.signal }).catch(() => undefined),
    ])
    stop.abort()
    for (const socket of this.#sockets) socket.terminate()
    await gone
    for (const [server, listener] of this.#servers) server.off('upgrade', listener)
  }

  #whenEmpty: (() => void) | null = null
  #emptied(): Promise<void> {
    if (this.#sockets.size === 0) return Promise.resolve()
    return new Promise((resolve) => {
      this.#whenEmpty = resolve
    })
  }

  async #upgrade(request: http.IncomingMessage, url: URL, socket: Duplex, head: Buffer): Promise<void> {
    try {
      const { vsn, caller } = await this.#admit(request, url)
      socket.off('error', ignore)
      this.#wss.handleUpgrade(request, socket, head, (ws) => {
        const connected = new RealtimeSocket(this.#hub, ws, vsn, caller)
        this.#sockets.add(connected)
        ws.on('close', () => {
          this.#sockets.delete(connected)
          if (this.#sockets.size === 0) this.#whenEmpty?.()
        })
      })
    } catch (error) {
      const known = error instanceof ConnectionRefused
      if (!known) this.#hub.log.warn('connect_failed', { error: String(error) })
      const { connectRefusalDelayMs } = this.#hub.limits
      if (connectRefusalDelayMs > 0) await sleep(connectRefusalDelayMs)
      refuse(socket, known ? error.status : 500, known ? error.message : 'Error connecting to Realtime')
    }
  }

  async #admit(request: http.IncomingMessage, url: URL): Promise<{ vsn: Vsn; caller: Caller }> {
    if (this.#closed) throw new ConnectionRefused(503, 'Realtime is stopping')
    const headers = callerHeaders(Object.entries(request.headers))
    const key = headers['x-api-key'] ?? url.searchParams.get('apikey')
    if (!key) throw new ConnectionRefused(401, 'API key is missing')
    const vsn = parseVsn(url.searchParams.get('vsn'))
    if (vsn === null) throw new ConnectionRefused(403, 'The requested vsn is not supported')
    try {
      const claims = await checkKey(this.#hub.tokens, this.#hub.resolveApiKey, key)
      const { sockets } = this.#hub.limits
      if (sockets !== null && this.#sockets.size >= sockets)
        throw new ConnectionRefused(429, 'Too many connected users')
      return { vsn, caller: { claims, headers } }
    } catch (error) {
      if (!(error instanceof TokenRejected)) throw error
      const expired = error.problem.code === 'expired'
      throw new ConnectionRefused(401, expired ? 'Token has expired' : problemText(error.problem))
    }
  }
}
