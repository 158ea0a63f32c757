import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { readProjectConfig } from '../../local/config.ts'
import { openNative } from '../../local/database/native.ts'
import { prepareDatabase } from '../../local/database/prepare.ts'

const PROJECT = 'supabase'

/** The settings retrieval is measured under, those of a database with its data in memory. The server's own are printed. */
const DATABASE_SETTINGS = {
  work_mem: "'32MB'",
  random_page_cost: '1.1',
  max_parallel_workers_per_gather: '0',
  jit: 'off',
  default_text_search_config: "'pg_catalog.english'",
  search_path: '"$user", public, extensions',
}
const PRINTED_SETTINGS = [
  'server_version',
  'shared_buffers',
  'work_mem',
  'maintenance_work_mem',
  'effective_cache_size',
  'random_page_cost',
  'max_parallel_workers_per_gather',
  'max_parallel_maintenance_workers',
  'jit',
  'fsync',
  'synchronous_commit',
  'full_page_writes',
  'lc_ctype',
]

export type BenchDatabase = {
  /** A new connection as the superuser. It belongs to the caller; drop() cuts it off. */
  connect: () => Promise<pg.Client>
  /** A statement to run on the server once the database is gone: for what does not go with it. */
  onDrop(statement: string): void
  /** Removes the database with whoever is still in it, or what there is of it. Does nothing the second time. */
  drop(): Promise<void>
  /** Makes it, with the platform's objects and the migrations, without the seed. @returns the settings it runs under */
  create(): Promise<Record<string, string>>
}

/**
 * A database of its own on the server; not there until it is created, so that it can be dropped at any moment.
 * @param serverUrl of a superuser; the database it names is used for administration only
 */
export function benchDatabase(serverUrl: string): BenchDatabase {
  const name = `bulkhead_bench_${Date.now()}_${randomBytes(3).toString('hex')}`
  const url = new URL(serverUrl)
  url.pathname = `/${name}`
  const afterwards: string[] = []
  let created: Promise<void> = Promise.resolve()
  let dropped: Promise<void> | null = null

  const connect = async () => {
    const client = new pg.Client({ connectionString: url.toString(), application_name: 'bulkhead bench' })
    // Dropping the database ends the connection; whoever waits for an answer gets the error from there.
    client.on('error', () => {})
    await client.connect()
    return client
  }
  return {
    connect,
    onDrop: (statement) => void afterwards.push(statement),
    drop: () =>
      (dropped ??= (async () => {
        // One that is being made cannot be dropped, and would be left.
        await created.catch(() => {})
        await administer(serverUrl, [`drop database if exists ${name} with (force)`, ...afterwards])
      })()),
    async create() {
      created = prepare(serverUrl, url.toString(), name)
      await created
      return readSettings(await connect())
    },
  }
}

async function prepare(serverUrl: string, url: string, name: string): Promise<void> {
  await administer(serverUrl, [
    `create database ${name}`,
    ...Object.entries(DATABASE_SETTINGS).map(([key, value]) => `alter database ${name} set ${key} = ${value}`),
  ])
  const database = await openNative({ url, poolSize: 2 })
  try {
    await prepareDatabase(database, PROJECT, readProjectConfig(PROJECT), false)
  } finally {
    await database.close()
  }
}

async function administer(serverUrl: string, statements: string[]): Promise<void> {
  const client = new pg.Client({ connectionString: serverUrl })
  await client.connect()
  try {
    for (const statement of statements) await client.query(statement)
  } finally {
    await client.end()
  }
}

async function readSettings(client: pg.Client): Promise<Record<string, string>> {
  try {
    const { rows } = await client.query<{ name: string; value: string }>(
      `select name, current_setting(name) as value from pg_settings where name = any ($1)
       union all select 'pgvector', extversion from pg_extension where extname = 'vector'`,
      [PRINTED_SETTINGS],
    )
    return Object.fromEntries(rows.map(({ name, value }) => [name, value]))
  } finally {
    await client.end()
  }
}
