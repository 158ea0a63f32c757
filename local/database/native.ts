import { AsyncResource } from 'node:async_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import type { Session } from './database.ts'
import { LeasedDatabase } from './sessions.ts'
import { PARSERS, SERIALIZERS, VECTOR_TYPES_SQL, vectorText } from './values.ts'

type Client = postgres.Sql<Record<string, never>>
/** The driver reads its serializers from here at every Bind; it has no public way to add one for a type found later. */
type ClientInternals = { options: { serializers: Record<number, (value: unknown) => string> } }

const typeName = (oid: number): string => `oid_${oid}`
const types = Object.fromEntries(
  Object.entries(PARSERS).map(([oid, parse]) => [
    typeName(Number(oid)),
    { to: Number(oid), from: [Number(oid)], serialize: SERIALIZERS[Number(oid)] ?? String, parse },
  ]),
)

const connect = (url: string, poolSize: number): Client =>
  postgres(url, {
    max: poolSize,
    idle_timeout: 60,
    connect_timeout: 5,
    onnotice: () => {},
    connection: { application_name: 'bulkhead', search_path: '"$user", public, extensions', TimeZone: 'UTC' },
    types: types as never,
  }) as unknown as Client

/** A PostgreSQL server of its own: a pool of sessions, and one connection that listens. */
export class NativeDatabase extends LeasedDatabase {
  readonly kind = 'native'
  #client: Client
  #roleSettings = new Map<string, Record<string, string>>()

  constructor(client: Client) {
    super()
    this.#client = client
  }

  protected async leaseSession(): Promise<Session> {
    const reserved = await this.#client.reserve()
    let inTransaction = false
    return {
      async run(text, params = []) {
        const rows = await reserved.unsafe(text, [...params] as never[])
        return { rows: [...rows] as Record<string, unknown>[], affected: rows.count ?? undefined }
      },
      async exec(sql) {
        const statement = sql.trim().toLowerCase()
        if (statement === 'begin') inTransaction = true
        await reserved.unsafe(sql).simple()
        if (statement === 'commit' || statement === 'rollback') inTransaction = false
      },
      async release() {
        try {
          if (inTransaction) await reserved.unsafe('rollback').simple()
        } finally {
          reserved.release()
        }
      },
    }
  }

  async listen(channel: string, onNotify: (payload: string) => void): Promise<() => Promise<void>> {
    const subscription = await this.#client.listen(channel, AsyncResource.bind(onNotify))
    return () => subscription.unlisten()
  }

  async refreshTypes(): Promise<void> {
    const { serializers } = (this.#client as unknown as ClientInternals).options
    for (const { oid } of await this.query<{ oid: number }>(VECTOR_TYPES_SQL)) serializers[oid] = vectorText
    await this.#readRoleSettings()
  }

  roleSettings(role: string): Record<string, string> {
    return this.#roleSettings.get(role) ?? {}
  }

  async close(): Promise<void> {
    await this.#client.end({ timeout: 5 })
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
  const client = connect(url, poolSize)
  const database = new NativeDatabase(client)
  try {
    await waitForServer(database, url, waitMs)
    await checkServer(database)
    return database
  } catch (error) {
    await client.end({ timeout: 1 }).catch(() => {})
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
