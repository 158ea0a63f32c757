import type { Socket } from 'node:net'
import type { PgliteDatabase } from '../pglite.ts'
import * as codec from './codec.ts'
import type { Message, TransactionStatus } from './codec.ts'
import { beginCopy, copyStatement, refusedCopy, runCopy, type Copy } from './copy.ts'
import {
  applyState,
  customSettings,
  mayChangeSettings,
  readState,
  resetSession,
  stateFromStartup,
  type SessionState,
} from './session-state.ts'
import { StatementNames } from './statement-names.ts'

export type ConnectionOptions = {
  id: number
  database: PgliteDatabase
  /** How long the connection may hold the session without sending anything, in milliseconds; 0 for ever. */
  idleInTransactionMs: number
}

/** Query, Sync and FunctionCall: after these Postgres says that it is ready. */
const ENDS_REQUEST = new Set(['Q', 'S', 'F'])

/** Parse, Bind, Describe, Execute and Close: answered when a Sync or a Flush has come. */
const WAITS_FOR_MORE = new Set(['P', 'B', 'D', 'E', 'C'])

const COPY_DATA = new Set(['d', 'c', 'f'])

const SERVER_PARAMETERS = {
  server_version: '17.5', server_encoding: 'UTF8', client_encoding: 'UTF8', DateStyle: 'ISO, MDY', IntervalStyle: 'postgres',
  TimeZone: 'UTC', integer_datetimes: 'on', standard_conforming_strings: 'on', is_superuser: 'on', session_authorization: 'postgres',
} // prettier-ignore

/**
 * One client of the wire port. It takes the session with the first message of a request and gives it back when Postgres
 * is ready for the next one outside of a transaction, so that neither another client nor a request can get in between.
 */
export class WireConnection {
  #id: number
  #socket: Socket
  #database: PgliteDatabase
  #idleInTransactionMs: number
  #buffer: Buffer = Buffer.alloc(0)
  #started = false
  #pumping = false
  #ended = false
  #release: (() => void) | null = null
  #status: TransactionStatus = 'I'
  #names: StatementNames
  /** Messages that need no answer yet; with the next one they cross over to Postgres at once. */
  #held: Buffer[] = []
  #state: SessionState = []
  #stateChanged = false
  #custom = new Set<string>()
  #copy: Copy | null = null
  #channels = new Map<string, (payload: string) => void>()
  #relisten = false
  #idleTimer: NodeJS.Timeout | undefined
  /** Settles when the connection has given everything back. */
  readonly closed: Promise<void>
  #resolveClosed: () => void = () => {}

  constructor(socket: Socket, { id, database, idleInTransactionMs }: ConnectionOptions) {
    this.#id = id
    this.#socket = socket
    this.#database = database
    this.#idleInTransactionMs = idleInTransactionMs
    this.#names = new StatementNames(id)
    this.closed = new Promise((resolve) => (this.#resolveClosed = resolve))
    socket.setNoDelay(true)
    socket.on('error', () => {}) // followed by close
    socket.on('data', (data) => {
      this.#buffer = this.#buffer.length === 0 ? data : Buffer.concat([this.#buffer, data])
      void this.#pump()
    })
    socket.on('close', () => {
      this.#ended = true
      void this.#pump()
    })
  }

  destroy(): void {
    this.#socket.destroy()
  }

  async #pump(): Promise<void> {
    if (this.#pumping) return
    this.#pumping = true
    clearTimeout(this.#idleTimer)
    try {
      while (!this.#ended && (await this.#step()));
    } catch (error) {
      const text = error instanceof codec.ProtocolError ? error.message : 'The connection failed.'
      this.#fatal('08P01', text)
    } finally {
      this.#pumping = false
    }
    if (this.#ended) await this.#cleanUp()
    else if (this.#release) this.#watchIdle()
  }

  /** Handles what has arrived; false when more must arrive first. */
  async #step(): Promise<boolean> {
    if (!this.#started) return this.#start()
    const taken = codec.takeMessage(this.#buffer)
    if (!taken) return false
    this.#buffer = taken.rest
    if (taken.message.type === 'X') {
      this.#socket.end()
      this.#ended = true
      return false
    }
    await this.#handle(taken.message)
    return true
  }

  #start(): boolean {
    const taken = codec.takeStartup(this.#buffer)
    if (!taken) return false
    this.#buffer = taken.rest
    const { startup } = taken
    if (startup.kind === 'encryption') {
      this.#socket.write('N')
      return true
    }
    if (startup.kind === 'cancel') {
      // The one thread that could look at a cancel request is busy with the statement to be cancelled.
      this.#socket.end()
      return false
    }
    const { user = '', database = user } = startup.parameters
    if (user !== 'postgres') {
      this.#fatal('28000', `role "${user}" is not permitted to log in: this port knows the user postgres only`)
      return false
    }
    if (database !== 'postgres') {
      this.#fatal('3D000', `database "${database}" does not exist: this port serves the database postgres only`)
      return false
    }
    this.#started = true
    this.#state = stateFromStartup(startup.parameters)
    const parameters = { ...SERVER_PARAMETERS, application_name: startup.parameters['application_name'] ?? '' }
    this.#socket.write(
      Buffer.concat([
        codec.authenticationOk(),
        ...Object.entries(parameters).map(([name, value]) => codec.parameterStatus(name, value)),
        codec.backendKeyData(this.#id, this.#id),
        codec.readyForQuery('I'),
      ]),
    )
    return true
  }

  async #handle(incoming: Message): Promise<void> {
    // Data of a COPY that has failed already; Postgres ignores it too.
    if (!this.#copy && COPY_DATA.has(incoming.type)) return
    if (!this.#release) await this.#enter()
    if (this.#copy) {
      const finished = await runCopy(this.#database.engine, this.#copy, incoming)
      if (finished) {
        this.#copy = null
        this.#socket.write(finished)
        await this.#forward(codec.sync())
      }
      return
    }
    const sql = sqlOf(incoming)
    if (sql !== null) {
      const statement = incoming.type === 'Q' ? copyStatement(sql) : null
      if (statement) {
        this.#copy = beginCopy(statement)
        this.#socket.write(codec.copyInResponse())
        return
      }
      this.#note(sql)
    }
    if (incoming.type === 'Q' && sql !== null) {
      await this.#forward(codec.message('Q', codec.cstring(refusedCopy(sql) ?? this.#names.rewriteSql(sql))))
      return
    }
    const refused = sql === null ? null : refusedCopy(sql)
    const rewritten = this.#names.rewrite(refused === null ? incoming : withSql(incoming, refused))
    if (WAITS_FOR_MORE.has(incoming.type)) this.#held.push(rewritten)
    else await this.#forward(rewritten, ENDS_REQUEST.has(incoming.type))
  }

  /** Remembers what a statement may leave behind in the shared session. */
  #note(sql: string): void {
    if (mayChangeSettings(sql)) {
      this.#stateChanged = true
      for (const name of customSettings(sql)) this.#custom.add(name)
    }
    if (/\b(unlisten|discard)\b/i.test(sql)) {
      for (const channel of [...this.#channels.keys()]) {
        if (
          /\b(unlisten\s+\*|discard\s+all)/i.test(sql) ||
          new RegExp(`\\bunlisten\\s+"?${channel}"?`, 'i').test(sql)
        ) {
          this.#unlisten(channel)
        }
      }
      // It silenced the channel for all who share the session.
      this.#relisten = true
    }
    for (const [, quoted, plain] of sql.matchAll(/(?:^|;)\s*listen\s+(?:"((?:[^"]|"")+)"|([A-Za-z_]\w*))/gi)) {
      this.#listen(quoted?.replaceAll('""', '"') ?? plain?.toLowerCase() ?? '')
    }
  }

  #listen(channel: string): void {
    if (this.#channels.has(channel)) return
    const listener = (payload: string) => void this.#socket.write(codec.notificationResponse(channel, payload))
    this.#channels.set(channel, listener)
    this.#database.notifications.attach(channel, listener)
  }

  #unlisten(channel: string): void {
    const listener = this.#channels.get(channel)
    if (!listener) return
    this.#channels.delete(channel)
    this.#database.notifications.detach(channel, listener)
    this.#relisten = true
  }

  /** Sends bytes to Postgres and what it answers to the client. @param endsRequest whether they end in a Query or Sync. */
  async #forward(bytes: Buffer, endsRequest = true): Promise<void> {
    const answer = await exchange(this.#database, Buffer.concat([...this.#held.splice(0), bytes]))
    const messages = codec.splitMessages(answer)
    const status = messages.findLast(({ type }) => type === 'Z')?.bytes.toString('latin1', 5, 6) as TransactionStatus
    // Notifications reach every listener through the hub, also this one. And after an error in the extended protocol
    // PGlite says it is ready at once and then again at Sync; the client must hear it once, at Sync.
    const ready = endsRequest ? messages.findLast(({ type }) => type === 'Z') : undefined
    const kept = messages
      .filter((one) => one.type !== 'A' && (one.type !== 'Z' || one === ready))
      .map((one) => one.bytes)
    if (status && endsRequest) {
      this.#status = status
      // First give the session back: who has been told that we are ready may use another connection at once.
      if (status === 'I') await this.#leave()
    }
    if (kept.length > 0 && !this.#ended) this.#socket.write(Buffer.concat(kept))
  }

  async #enter(): Promise<void> {
    this.#release = await this.#database.lock.acquire()
    if (this.#state.length > 0) await applyState(this.#database.engine, this.#state)
  }

  async #leave(): Promise<void> {
    const { engine, notifications } = this.#database
    const hadState = this.#state.length > 0
    const touched = this.#stateChanged
    if (touched) this.#state = await readState(engine, [...this.#custom])
    if (hadState || touched) await resetSession(engine)
    this.#stateChanged = false
    if (this.#relisten) {
      this.#relisten = false
      await notifications.relisten((sql) => engine.exec(sql).then(() => {}))
    }
    this.#release?.()
    this.#release = null
  }

  #watchIdle(): void {
    if (this.#idleInTransactionMs === 0) return
    this.#idleTimer = setTimeout(() => {
      this.#fatal('25P03', 'terminating connection due to idle-in-transaction timeout')
    }, this.#idleInTransactionMs)
  }

  #fatal(code: string, text: string): void {
    this.#socket.end(codec.errorResponse(code, text, { severity: 'FATAL' }))
    this.#ended = true
    void this.#pump()
  }

  /** Gives back what the client has left: transaction, prepared statements, channels, lock. */
  async #cleanUp(): Promise<void> {
    clearTimeout(this.#idleTimer)
    if (this.#pumping) return
    this.#pumping = true // for good: nothing is handled any more
    const { engine, lock, notifications } = this.#database
    const leftNothing = !this.#release && this.#names.inSession.length === 0 && this.#channels.size === 0
    try {
      if (leftNothing || engine.closed) return
      this.#release ??= await lock.acquire()
      // Ends a request of which the client sent only a part.
      await exchange(this.#database, codec.sync())
      if (engine.isInTransaction()) await engine.exec('rollback')
      for (const name of this.#names.inSession) {
        await engine.exec(`deallocate "${name.replaceAll('"', '""')}"`).catch(() => {})
      }
      await resetSession(engine)
      for (const channel of [...this.#channels.keys()]) this.#unlisten(channel)
      if (this.#relisten) await notifications.relisten((sql) => engine.exec(sql).then(() => {}))
    } finally {
      this.#release?.()
      this.#release = null
      this.#socket.destroy()
      this.#resolveClosed()
    }
  }
}

/** The SQL text of a Query or Parse message. */
const sqlOf = (incoming: Message): string | null => {
  const body = codec.bodyOf(incoming)
  if (incoming.type === 'Q') return codec.readCstring(body, 0)[0]
  if (incoming.type !== 'P') return null
  const [, behindName] = codec.readCstring(body, 0)
  return codec.readCstring(body, behindName)[0]
}

/** A Parse message with other SQL. */
const withSql = (parse: Message, sql: string): Message => {
  const [name] = codec.readCstring(codec.bodyOf(parse), 0)
  const bytes = codec.message('P', Buffer.concat([codec.cstring(name), codec.cstring(sql), Buffer.from([0, 0])]))
  return { type: 'P', bytes }
}

const exchange = async ({ engine }: PgliteDatabase, bytes: Buffer): Promise<Buffer> => {
  // The engine keeps the callback and would feed it the results of later queries too, hence the way to switch it off.
  let chunks: Buffer[] | null = []
  const collected = chunks
  await engine.execProtocolRawStream(new Uint8Array(bytes), {
    onRawData: (data) => chunks?.push(Buffer.from(data)),
  })
  chunks = null
  return Buffer.concat(collected)
}
