import { AsyncLocalStorage } from 'node:async_hooks'
import { CompiledQuery, Kysely, PostgresAdapter, PostgresIntrospector, PostgresQueryCompiler } from 'kysely'
import type { DatabaseConnection, Driver, QueryResult } from 'kysely'
import type { Session, SessionDatabase } from '../database/database.ts'

/** Calls of functions, and what is asked after each request: few texts, and many times each. */
const REPEATED = /^\s*select\s+(?:\* from \w+\.\w+\(|current_setting\()/i

class SessionConnection implements DatabaseConnection {
  readonly session: Session
  constructor(session: Session) {
    this.session = session
  }
  async executeQuery<R>({ sql, parameters }: CompiledQuery): Promise<QueryResult<R>> {
    const { rows, affected } = await this.session.run(sql, parameters, REPEATED.test(sql))
    return { rows: rows as R[], ...(affected === undefined ? {} : { numAffectedRows: BigInt(affected) }) }
  }
  async *streamQuery(): AsyncIterableIterator<never> {
    throw new Error('The engine does not stream rows.')
  }
}

type Joined = { live: boolean; connection: SessionConnection }

/**
 * Lets the engine's query builder run on leased sessions. Inside `joining` everything it runs, whichever of its builder
 * objects it uses, goes to that one session and so into that transaction.
 */
export class EngineDriver implements Driver {
  #database: SessionDatabase
  #joined = new AsyncLocalStorage<Joined>()

  constructor(database: SessionDatabase) {
    this.#database = database
  }

  async joining<T>(session: Session, fn: () => Promise<T>): Promise<T> {
    const joined: Joined = { live: true, connection: new SessionConnection(session) }
    try {
      return await this.#joined.run(joined, fn)
    } finally {
      joined.live = false
    }
  }

  async init(): Promise<void> {}
  async destroy(): Promise<void> {}

  async acquireConnection(): Promise<SessionConnection> {
    const joined = this.#joined.getStore()
    if (joined?.live) return joined.connection
    return new SessionConnection(await this.#database.lease())
  }

  async releaseConnection(connection: SessionConnection): Promise<void> {
    if (this.#joined.getStore()?.connection !== connection) await connection.session.release()
  }

  async beginTransaction(connection: SessionConnection): Promise<void> {
    await connection.session.exec('begin')
  }
  async commitTransaction(connection: SessionConnection): Promise<void> {
    await connection.session.exec('commit')
  }
  async rollbackTransaction(connection: SessionConnection): Promise<void> {
    await connection.session.exec('rollback')
  }
}

/** A Kysely instance over `driver`. */
export const kyselyOver = (driver: EngineDriver): Kysely<unknown> =>
  new Kysely({
    dialect: {
      createAdapter: () => new PostgresAdapter(),
      createDriver: () => driver,
      createIntrospector: (db) => new PostgresIntrospector(db),
      createQueryCompiler: () => new PostgresQueryCompiler(),
    },
  })
