import { randomBytes } from 'node:crypto'
import { bootstrap } from '../../local/database/bootstrap.ts'
import type { SessionDatabase } from '../../local/database/database.ts'
import { applyMigrations, applySeeds } from '../../local/database/migrations.ts'
import { openNative } from '../../local/database/native.ts'
import { openPglite } from '../../local/database/pglite.ts'

const PROJECT = 'supabase'

/**
 * Runs `fn` on a new database with the platform's schema, the migrations and the seed in it, and throws the database
 * away afterwards. In memory on PGlite or, with the address of a server (as a superuser), as one of its databases.
 *
 * @param fn is given the database, and its address if a server has it
 */
export async function withPreparedDatabase<T>(
  serverUrl: string | undefined,
  fn: (database: SessionDatabase, url: string | null) => Promise<T>,
): Promise<T> {
  const { database, url, discard } = serverUrl ? await newDatabaseOn(serverUrl) : await newDatabaseInMemory()
  try {
    await bootstrap(database)
    await applyMigrations(database, PROJECT)
    await applySeeds(database, PROJECT, ['./seed.sql'])
    return await fn(database, url)
  } finally {
    await discard()
  }
}

type Disposable = { database: SessionDatabase; url: string | null; discard: () => Promise<void> }

async function newDatabaseInMemory(): Promise<Disposable> {
  const database = await openPglite()
  return { database, url: null, discard: () => database.close() }
}

async function newDatabaseOn(serverUrl: string): Promise<Disposable> {
  const server = await openNative({ url: serverUrl, poolSize: 1 })
  const name = `bulkhead_${randomBytes(6).toString('hex')}`
  await server.query(`create database ${name}`)
  const url = new URL(serverUrl)
  url.pathname = `/${name}`
  const discardDatabase = async () => {
    await server.query(`drop database ${name} with (force)`)
    await server.close()
  }
  try {
    const database = await openNative({ url: url.href, poolSize: 2 })
    return { database, url: url.href, discard: () => database.close().then(discardDatabase) }
  } catch (error) {
    await discardDatabase()
    throw error
  }
}
