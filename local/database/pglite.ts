import { AsyncResource } from 'node:async_hooks'
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { PGlite } from '@electric-sql/pglite'
import { btree_gin } from '@electric-sql/pglite/contrib/btree_gin'
import { pg_trgm } from '@electric-sql/pglite/contrib/pg_trgm'
import { pgcrypto } from '@electric-sql/pglite/contrib/pgcrypto'
import { unaccent } from '@electric-sql/pglite/contrib/unaccent'
import { uuid_ossp } from '@electric-sql/pglite/contrib/uuid_ossp'
import { pgtap } from '@electric-sql/pglite/pgtap'
import { vector } from '@electric-sql/pglite/vector'
import type { Snapshot } from './snapshot-file.ts'
import type { Session } from './database.ts'
import { NotificationHub } from './notifications.ts'
import { KeptStatements, runScript, runStatement } from './pglite-statement.ts'
import { SessionLock } from './session-lock.ts'
import { LeasedDatabase, SESSION_RESET } from './sessions.ts'
import { PARSERS, VECTOR_TYPES_SQL, vectorText } from './values.ts'

/** What makes Postgres forget statements that it keeps. */
const DISCARDS = /\b(?:discard|deallocate)\b/i

const ROW_ARRAYS_SQL = `select typarray as oid from pg_type where typtype = 'c' and typarray <> 0`

/** PostgreSQL 17 in this process. It has one session, so everything that uses it takes turns. */
export class PgliteDatabase extends LeasedDatabase {
  readonly kind = 'pglite'
  readonly engine: PGlite
  readonly lock = new SessionLock()
  /** Who listens to what: in-process callbacks and connections of the wire front. */
  readonly notifications: NotificationHub
  readonly #kept = new KeptStatements()

  constructor(engine: PGlite) {
    super()
    this.engine = engine
    this.notifications = new NotificationHub((sql) => this.lock.run(() => engine.exec(sql).then(() => {})))
    engine.onNotification((channel, payload) => this.lock.detached(() => this.notifications.publish(channel, payload)))
  }

  protected async leaseSession(): Promise<Session> {
    if (this.lock.held) throw new Error('The database was called while this caller holds its only session.')
    const free = await this.lock.acquire()
    const engine = this.engine
    return {
      run: (text, params = [], isRepeated = false) =>
        runStatement(engine, text, params, isRepeated ? this.#kept : undefined),
      exec: async (sql) => {
        if (DISCARDS.test(sql)) await this.#kept.forget(engine)
        await runScript(engine, sql)
      },
      async release() {
        try {
          if (engine.isInTransaction()) await runScript(engine, 'rollback')
        } finally {
          free()
        }
      },
    }
  }

  async listen(channel: string, onNotify: (payload: string) => void): Promise<() => Promise<void>> {
    return this.notifications.subscribe(channel, AsyncResource.bind(onNotify))
  }

  async refreshTypes(): Promise<void> {
    await this.lock.run(async () => {
      await this.#kept.forget(this.engine)
      await this.engine.refreshArrayTypes()
      const { rows } = await this.engine.query<{ oid: number }>(VECTOR_TYPES_SQL)
      for (const { oid } of rows) this.engine.serializers[oid] = vectorText
      // Nobody asks for arrays of whole rows, which are most types, and the engine's own `query` copies all parsers each time.
      const arrays = await this.engine.query<{ oid: number }>(ROW_ARRAYS_SQL)
      for (const { oid } of arrays.rows) delete this.engine.parsers[oid]
    })
  }

  /** PGlite has no timers, so statement_timeout would be set in vain. */
  roleSettings(): Record<string, string> {
    return {}
  }

  async close(): Promise<void> {
    const free = await this.lock.acquire()
    try {
      if (!this.engine.closed) await this.engine.close()
    } finally {
      free()
    }
  }
}

export type PgliteOptions = {
  /** Folder of the data; undefined keeps it in memory. */
  dataDir?: string | undefined
  /** A prepared database to start a copy of, instead of an empty one. */
  snapshot?: Snapshot | undefined
}

/**
 * For a database in memory. Its files are in memory already, so Postgres need not keep them once more; what it has for that
 * it fills with zeros at each start. And its log need not be written in advance, which a growing file in memory takes badly.
 */
const IN_MEMORY = ['shared_buffers=32MB', 'wal_init_zero=off', 'wal_recycle=off'].flatMap((setting) => ['-c', setting])

/**
 * Opens PGlite with the extensions a Supabase project may create.
 * The folder must not be open in another process: the caller holds a lock file, PGlite itself does not check.
 */
export const openPglite = async ({ dataDir, snapshot }: PgliteOptions = {}): Promise<PgliteDatabase> => {
  if (dataDir) prepareFolder(dataDir)
  const engine = await PGlite.create({
    ...(dataDir
      ? { dataDir, ...(snapshot && { loadDataDir: snapshot.blob() }) }
      : { startParams: [...PGlite.defaultStartParams, ...IN_MEMORY], ...(snapshot && { fs: snapshot.fileSystem() }) }),
    extensions: { vector, pgtap, pg_trgm, pgcrypto, uuid_ossp, unaccent, btree_gin },
    parsers: PARSERS,
  })
  await engine.exec(SESSION_RESET)
  if (dataDir) writeFileSync(path.join(dataDir, COMPLETE), '')
  return new PgliteDatabase(engine)
}

/** Written when the folder has been opened for the first time, before anything is stored in it. */
const COMPLETE = 'bulkhead_complete'

/** Postgres cannot open what is left of a first start that was killed; it is put aside, and the next start is the first. */
const prepareFolder = (dataDir: string): void => {
  if (existsSync(dataDir) && !existsSync(path.join(dataDir, COMPLETE))) {
    rmSync(`${dataDir}.incomplete`, { recursive: true, force: true })
    renameSync(dataDir, `${dataDir}.incomplete`)
  }
  mkdirSync(dataDir, { recursive: true })
}
