import { AsyncResource } from 'node:async_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Session } from './database.ts'
import { NativeListener } from './native-listener.ts'
import { NativeSessions } from './native-sessions.ts'
import { LeasedDatabase } from './sessions.ts'
import { VECTOR_TYPES_SQL } from './values.ts'

/** A PostgreSQL server of its own: a pool of sessions, and one connection that listens. */
export class NativeDatabase extends LeasedDatabase {
  readonly kind = 'native'
  readonly #sessions: NativeSessions
  readonly #listener: NativeListener
  #roleSettings = new Map<string, Record<string, string>>()

  constructor(url: string, poolSize: number) {
    super()
    this.#sessions = new NativeSessions(url, poolSize)
    this.#listener = new NativeListener(url)
  }

  protected leaseSession(): Promise<Session> {
    return this.#sessions.lease()
  }

  listen(channel: string, onNotify: (payload: string) => void): Promise<() => Promise<void>> {
    return this.#listener.listen(channel, AsyncResource.bind(onNotify))
  }

  async refreshTypes(): Promise<void> {
    const found = await this.query<{ oid: number }>(VECTOR_TYPES_SQL)
    this.#sessions.setVectorTypes(found.map(({ oid }) => oid))
    await this.#readRoleSettings()
  }

  roleSettings(role: string): Record<string, string> {
    return this.#roleSettings.get(role) ?? {}
  }

  async close(): Promise<void> {
    await Promise.all([this.#sessions.close(), this.#listener.close()])
  }

  /** PostgREST applies `alter role ... set` when it switches to a role, which `set role` alone would not. */
  async #readRoleSettings(): Promise<void> {
    const rows = await this.query<{ role: string; settings: string[] }>(
      `select rolname as role, rolconfig as settings from pg_roles where rolname in ('anon', 'authenticated', 'service_role', 'authenticator')`,
    )
    const byRole = new Map(
      rows.map(({ role, settings }) => [
        role,
        Object.fromEntries(
          (settings ?? [])
            .map((setting) => setting.split(/=(.*)/s).slice(0, 2) as [string, string])
            .filter(([name]) => name === 'statement_timeout'),
        ),
      ]),
    )
    const { authenticator = {} } = Object.fromEntries(byRole)
    this.#roleSettings = new Map(
      ['anon', 'authenticated', 'service_role'].map((role) => [role, { ...authenticator, ...byRole.get(role) }]),
    )
  }
}

const RETRY = new Set(['ECONNREFUSED', 'ECONNRESET', 'CONNECT_TIMEOUT', '57P03'])

/** `url` without its password, for messages. */
export const redactUrl = (url: string): string => {
  try {
    const parsed = new URL(url)
    if (parsed.password) parsed.password = '***'
    return parsed.toString()
  } catch {
    return 'the given URL'
  }
}

export type NativeOptions = {
  url: string
  /** Sessions in the pool. */
  poolSize?: number
  /** How long to go on trying when the server is not there yet. */
  waitMs?: number
}

/**
 * Connects to a PostgreSQL 17 server with pgvector >= 0.8.
 * @throws an Error whose message says what is wrong and what to do.
 */
export const openNative = async ({ url, poolSize = 10, waitMs = 10_000 }: NativeOptions): Promise<NativeDatabase> => {
  const database = new NativeDatabase(url, poolSize)
  try {
    await waitForServer(database, url, waitMs)
    await checkServer(database)
    return database
  } catch (error) {
    await database.close()
    throw error
  }
}

const waitForServer = async (database: NativeDatabase, url: string, waitMs: number): Promise<void> => {
  const deadline = Date.now() + waitMs
  for (;;) {
    try {
      await database.query('select 1')
      return
    } catch (error) {
      const { code = '', message } = error as { code?: string; message: string }
      if (!RETRY.has(code) || Date.now() > deadline) {
        const hint = RETRY.has(code)
          ? 'Is the server running and reachable?'
          : 'Check user, password and database name.'
        throw new Error(`Cannot use the database at ${redactUrl(url)}: ${message || code}. ${hint}`, { cause: error })
      }
      await sleep(250)
    }
  }
}

const checkServer = async (database: NativeDatabase): Promise<void> => {
  const [server] = await database.query<{ version: number; superuser: boolean; vector: string | null }>(
    `select current_setting('server_version_num')::int as version,
       (select rolsuper from pg_roles where rolname = current_user) as superuser,
       (select default_version from pg_available_extensions where name = 'vector') as vector`,
  )
  if (!server) throw new Error('The database server gave no answer about its version.')
  const major = Math.floor(server.version / 10_000)
  if (major !== 17) {
    throw new Error(
      `The server is PostgreSQL ${major}; Supabase runs 17. Point DATABASE_URL at a PostgreSQL 17 server.`,
    )
  }
  const [vectorMajor = 0, vectorMinor = 0] = (server.vector ?? '0.0').split('.').map(Number)
  if (vectorMajor === 0 && vectorMinor < 8) {
    throw new Error(
      `pgvector 0.8 or later is needed; the server offers ${server.vector ?? 'none'}. Install the package postgresql-17-pgvector or use the image pgvector/pgvector:pg17.`,
    )
  }
  if (!server.superuser) {
    throw new Error('The local stack creates roles and platform schemas, so DATABASE_URL must name a superuser.')
  }
}
