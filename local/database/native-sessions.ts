import { setTimeout as sleep } from 'node:timers/promises'
import type { Session } from './database.ts'
import { closedError, connect, end, type Client } from './native-connection.ts'
import { vectorText } from './values.ts'

/** The driver reads its serializers from here at every Bind; it has no public way to add one for a type found later. */
type ClientInternals = { options: { serializers: Record<number, (value: unknown) => string> } }

const IDLE_MS = 60_000
/** Texts a session keeps prepared: filters of functions can be written in any number of ways. */
const MAX_PREPARED = 200
/** How long the end waits for sessions that are in use. */
const CLOSE_MS = 5000

/**
 * A session of the server. The driver connects again by itself, and then goes on in the middle of a transaction that is gone;
 * or it writes to a connection that is closed, and throws where nobody can catch it. So each session is a client of its own, which is
 * asked for nothing once its connection has closed.
 */
class NativeSession {
  readonly #client: Client
  #isClosed = false
  #inTransaction = false
  readonly #prepared = new Set<string>()
  /** Whether it keeps statements from before a change of the schema; it is not to be lent any more. */
  isOutdated = false
  idleTimer: NodeJS.Timeout | undefined

  constructor(url: string, onClose: (session: NativeSession) => void) {
    this.#client = connect(url, {
      onClose: () => {
        this.#isClosed = true
        onClose(this)
      },
    })
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** The schema has changed, and a function may return something else. */
  outdate(): void {
    this.isOutdated = this.#prepared.size > 0
  }

  takeVectors(oids: Iterable<number>): void {
    const { serializers } = (this.#client as unknown as ClientInternals).options
    for (const oid of oids) serializers[oid] = vectorText
  }

  async run(text: string, params: readonly unknown[] = [], isRepeated = false) {
    if (this.#isClosed) throw closedError()
    const kept = isRepeated && this.#keeps(text) ? { prepare: true, simple: false } : {}
    // Begun here and not when it is awaited: statements go out in the order in which they were asked for.
    const rows = await this.#client.unsafe(text, [...params] as never[], kept as never).execute()
    return { rows: [...rows] as Record<string, unknown>[], affected: rows.count ?? undefined }
  }

  async exec(sql: string): Promise<void> {
    if (this.#isClosed) throw closedError()
    const statement = sql.trim().toLowerCase()
    if (statement === 'begin') this.#inTransaction = true
    await this.#client.unsafe(sql).simple().execute()
    if (statement === 'commit' || statement === 'rollback') this.#inTransaction = false
  }

  #keeps(text: string): boolean {
    if (this.#prepared.size < MAX_PREPARED) this.#prepared.add(text)
    return this.#prepared.has(text)
  }

  /** Ends a transaction left open. A session that cannot is of no use any more. */
  async settle(): Promise<void> {
    try {
      if (this.#inTransaction) await this.exec('rollback')
    } catch {
      void this.close()
    }
  }

  close(): Promise<void> {
    this.#isClosed = true
    return end(this.#client)
  }
}

/** At most `size` sessions, made when they are needed; who finds none free waits for one. */
export class NativeSessions {
  readonly #url: string
  readonly #size: number
  readonly #all = new Set<NativeSession>()
  readonly #idle: NativeSession[] = []
  readonly #waiting: { resolve: (session: NativeSession) => void; reject: (error: Error) => void }[] = []
  #vectorTypes: readonly number[] = []
  #isEnded = false
  #whenAllAreBack = () => {}

  constructor(url: string, size: number) {
    this.#url = url
    this.#size = size
  }

  async lease(): Promise<Session> {
    const session = await this.#take()
    let isLeased = true
    return {
      run: (text, params, isRepeated) => session.run(text, params, isRepeated),
      exec: (sql) => session.exec(sql),
      release: async () => {
        if (!isLeased) return
        isLeased = false
        await session.settle()
        await this.#giveBack(session)
      },
    }
  }

  /** Says, after a change of the schema, which types are vectors; their values are written as pgvector reads them. */
  setVectorTypes(oids: readonly number[]): void {
    this.#vectorTypes = oids
    for (const session of this.#all) {
      session.takeVectors(oids)
      session.outdate()
    }
    for (const session of this.#idle.filter(({ isOutdated }) => isOutdated)) {
      void session.close()
      this.#forget(session)
    }
  }

  async close(): Promise<void> {
    this.#isEnded = true
    for (const { reject } of this.#waiting.splice(0)) reject(closedError())
    const back = new Promise<void>((resolve) => (this.#whenAllAreBack = resolve))
    const idle = this.#idle.splice(0)
    for (const session of idle) this.#forget(session)
    const limit = new AbortController()
    if (this.#all.size > 0)
      await Promise.race([back, sleep(CLOSE_MS, undefined, { signal: limit.signal }).catch(() => {})])
    limit.abort()
    await Promise.all([...idle, ...this.#all].map((session) => session.close()))
  }

  async #take(): Promise<NativeSession> {
    if (this.#isEnded) throw closedError()
    const idle = this.#idle.pop()
    if (idle) {
      clearTimeout(idle.idleTimer)
      return idle
    }
    if (this.#all.size < this.#size) return this.#make()
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }))
  }

  #make(): NativeSession {
    const session = new NativeSession(this.#url, (closed) => this.#forget(closed))
    session.takeVectors(this.#vectorTypes)
    this.#all.add(session)
    return session
  }

  async #giveBack(session: NativeSession): Promise<void> {
    if (this.#isEnded || session.isOutdated) await session.close()
    if (session.isClosed) return this.#forget(session)
    const next = this.#waiting.shift()
    if (next) return next.resolve(session)
    this.#idle.push(session)
    session.idleTimer = setTimeout(() => {
      void session.close()
      this.#forget(session)
    }, IDLE_MS)
    session.idleTimer.unref()
  }

  /** Takes a closed session out; who waits gets a new one in its place. */
  #forget(session: NativeSession): void {
    if (!this.#all.delete(session)) return
    clearTimeout(session.idleTimer)
    const at = this.#idle.indexOf(session)
    if (at >= 0) this.#idle.splice(at, 1)
    if (this.#all.size === 0) this.#whenAllAreBack()
    if (!this.#isEnded) this.#waiting.shift()?.resolve(this.#make())
  }
}
