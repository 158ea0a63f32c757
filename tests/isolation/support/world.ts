import { readFileSync } from 'node:fs'
import { PGlite } from '@electric-sql/pglite'
import { auto_explain } from '@electric-sql/pglite/contrib/auto_explain'
import { btree_gin } from '@electric-sql/pglite/contrib/btree_gin'
import { pg_trgm } from '@electric-sql/pglite/contrib/pg_trgm'
import { pgcrypto } from '@electric-sql/pglite/contrib/pgcrypto'
import { unaccent } from '@electric-sql/pglite/contrib/unaccent'
import { uuid_ossp } from '@electric-sql/pglite/contrib/uuid_ossp'
import { pgtap } from '@electric-sql/pglite/pgtap'
import { vector } from '@electric-sql/pglite/vector'
import postgres from 'postgres'

import { callerSettings } from '../../../local/database/caller.ts'
import { copyFromTemplate, createSnapshot } from '../../../local/database/snapshot.ts'
import { readPlan, type Plan } from './plans.ts'

const PROJECT = 'supabase'
const SNAPSHOTS = '.local/test-snapshots'
const SERVER_URL = process.env['TEST_DATABASE_URL']

/** Whether this run has a native server; on PGlite the worlds are a tenth as large. */
export const onNative = Boolean(SERVER_URL)

/** The people and tenants of supabase/seed.sql. A is Harbor Logistics, B is Meridian Health. */
export const TENANT = { a: '11111111-1111-4111-8111-111111111111', b: '22222222-2222-4222-8222-222222222222' }
export const PERSON = {
  owner: 'a0000000-0000-4000-8000-000000000001',
  admin: 'a0000000-0000-4000-8000-000000000002',
  member: 'a0000000-0000-4000-8000-000000000003',
  viewer: 'a0000000-0000-4000-8000-000000000004',
  bOwner: 'b0000000-0000-4000-8000-000000000001',
  bMember: 'b0000000-0000-4000-8000-000000000003',
  both: 'c0000000-0000-4000-8000-000000000001',
  outsider: 'c0000000-0000-4000-8000-000000000002',
}
/** The group of A that the viewer is in. */
export const CLAIMS_DESK = '33333333-3333-4333-8333-333333333333'

export type Row = Record<string, unknown>
export type Run = <R extends Row = Row>(text: string, params?: unknown[]) => Promise<R[]>

/** What one statement did: its rows, and the plans of everything that ran inside of the functions it called. */
export type Watched = { rows: Row[]; plans: Plan[] }

/** One session of a superuser, which can act as anybody. */
export type World = {
  readonly kind: 'pglite' | 'native'
  /** As the superuser, in a transaction of its own. */
  readonly run: Run
  /** Several statements without parameters, as the superuser. */
  exec(sql: string): Promise<void>
  /** One transaction as a person, with request headers if given. It is rolled back. */
  as<T>(person: string | null, fn: (run: Run) => Promise<T>, headers?: Record<string, string>): Promise<T>
  /** The same, and keeps the plans of the statements inside of functions. */
  watch(person: string, fn: (run: Run) => Promise<Row[]>): Promise<Watched>
  /** A second session; on PGlite there is none. */
  other(): Promise<{ exec(sql: string): Promise<void>; close(): Promise<void> }>
}

type Engine = Pick<World, 'kind' | 'run' | 'exec' | 'other'> & { close(): Promise<void> }

async function openEngine(onNotice: (message: string) => void): Promise<Engine> {
  if (SERVER_URL) {
    const copy = await copyFromTemplate(PROJECT, SERVER_URL)
    const connect = () =>
      postgres(copy.url, {
        max: 1,
        onnotice: (notice) => onNotice(notice['message'] ?? ''),
        connection: { search_path: '"$user", public, extensions', TimeZone: 'UTC' },
      })
    const client = connect()
    return {
      kind: 'native',
      run: async (text, params = []) => [...(await client.unsafe(text, params as never[]))] as never,
      exec: async (sql) => void (await client.unsafe(sql).simple()),
      other: async () => {
        const second = connect()
        return { exec: async (sql) => void (await second.unsafe(sql).simple()), close: () => second.end() }
      },
      close: async () => {
        await client.end()
        await copy.drop()
      },
    }
  }
  const engine = await PGlite.create({
    fs: (await createSnapshot(PROJECT, SNAPSHOTS)).fileSystem(),
    extensions: { vector, pgtap, pg_trgm, pgcrypto, uuid_ossp, unaccent, btree_gin, auto_explain },
  })
  const notices = { onNotice: (notice: { message?: string | undefined }) => onNotice(notice.message ?? '') }
  await engine.exec(`set search_path to "$user", public, extensions; set timezone to 'UTC'`)
  return {
    kind: 'pglite',
    run: async (text, params = []) => (await engine.query<never>(text, params, notices)).rows,
    exec: async (sql) => void (await engine.exec(sql, notices)),
    other: () => Promise.reject(new Error('PGlite has one session.')),
    close: () => engine.close(),
  }
}

const WATCHING = `
  set local auto_explain.log_min_duration = 0;
  set local auto_explain.log_nested_statements = on;
  set local auto_explain.log_analyze = on;
  set local auto_explain.log_buffers = on;
  set local auto_explain.log_timing = off;
  set local auto_explain.log_format = json;
  set local auto_explain.log_level = notice;
  set local auto_explain.log_parameter_max_length = 0;
  set local client_min_messages = notice;
`

/** A migrated and seeded database with the functions of corpus.sql. To be closed. */
export async function openWorld(): Promise<World & { close(): Promise<void> }> {
  let plans: Plan[] | undefined
  const engine = await openEngine((message) => {
    const plan = plans && readPlan(message)
    if (plan) plans?.push(plan)
  })
  const inTransaction = async <T>(fn: () => Promise<T>): Promise<T> => {
    await engine.exec('begin')
    try {
      return await fn()
    } finally {
      await engine.exec('rollback')
    }
  }
  const become = async (person: string | null, headers: Record<string, string> = {}) => {
    const role = person === null ? 'anon' : 'authenticated'
    const claims = person === null ? { role } : { sub: person, role, aud: role }
    const { text, params } = callerSettings({ role, claims, headers })
    await engine.run(text, params)
  }
  await engine.exec(`load 'auto_explain'`)
  await engine.exec(readFileSync(new URL('corpus.sql', import.meta.url), 'utf8'))
  return {
    ...engine,
    as: (person, fn, headers) =>
      inTransaction(async () => {
        await become(person, headers)
        return fn(engine.run)
      }),
    watch: (person, fn) =>
      inTransaction(async () => {
        await become(person)
        // As the superuser that only settings of auto_explain may be made by; the role is the transaction's again below.
        await engine.exec(`set local role none; ${WATCHING} set local role authenticated`)
        plans = []
        try {
          const rows = await fn(engine.run)
          return { rows, plans }
        } finally {
          plans = undefined
        }
      }),
  }
}
