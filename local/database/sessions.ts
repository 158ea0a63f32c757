import { AsyncLocalStorage } from 'node:async_hooks'
import { callerSettings } from './caller.ts'
import type { Database, DbCaller, Row, Session, SessionDatabase, Sql, StatementResult } from './database.ts'

/** Puts a session back to how the platform's connections start. */
export const SESSION_RESET = `reset role; reset all; set search_path to "$user", public, extensions; set timezone to 'UTC'`

type OpenTransaction = { live: boolean }

/** The part of a database that is the same for both engines: statements and transactions on leased sessions. */
export abstract class LeasedDatabase implements SessionDatabase {
  abstract readonly kind: Database['kind']
  #transaction = new AsyncLocalStorage<OpenTransaction>()

  protected abstract leaseSession(): Promise<Session>
  abstract listen(channel: string, onNotify: (payload: string) => void): Promise<() => Promise<void>>
  abstract refreshTypes(): Promise<void>
  abstract roleSettings(role: string): Record<string, string>
  abstract close(): Promise<void>

  async lease(): Promise<Session> {
    // On PGlite this would wait for itself; on a native server it would see another snapshot. Refused on both.
    if (this.#transaction.getStore()?.live) {
      throw new Error('The database was called inside an open transaction. Use the `tx` that was passed in.')
    }
    return this.leaseSession()
  }

  async query<R extends Row = Row>(text: string, params: unknown[] = []): Promise<R[]> {
    return this.#withSession(async (session) => (await session.run(text, params)).rows as R[])
  }

  async exec(sql: string): Promise<void> {
    return this.#withSession(async (session) => {
      try {
        await session.exec(sql)
      } finally {
        // Several statements may have left settings or, after an error, an open transaction.
        await session.exec('rollback').catch(() => {})
        await session.exec(SESSION_RESET)
      }
    })
  }

  async transaction<T>(fn: (tx: Sql) => Promise<T>): Promise<T> {
    return this.#withSession((session) => this.inTransaction(session, fn))
  }

  async asCaller<T>(caller: DbCaller, fn: (tx: Sql) => Promise<T>): Promise<T> {
    const settings = callerSettings(caller, this.roleSettings(caller.role))
    return this.#withSession((session) =>
      this.inTransaction(session, async (tx) => {
        await tx.query(settings.text, settings.params)
        return fn(tx)
      }),
    )
  }

  protected async inTransaction<T>(session: Session, fn: (tx: Sql) => Promise<T>): Promise<T> {
    const open: OpenTransaction = { live: true }
    const tx: Sql = {
      query: async <R extends Row>(text: string, params: unknown[] = []) => {
        if (!open.live) throw new Error('The transaction has ended.')
        return (await session.run(text, params)).rows as R[]
      },
    }
    await session.exec('begin')
    try {
      const result = await this.#transaction.run(open, () => fn(tx))
      open.live = false
      await session.exec('commit')
      return result
    } catch (error) {
      open.live = false
      await session.exec('rollback')
      throw error
    }
  }

  async #withSession<T>(fn: (session: Session) => Promise<T>): Promise<T> {
    const session = await this.lease()
    try {
      return await fn(session)
    } finally {
      await session.release()
    }
  }
}

export type { Session, StatementResult }
