import type { SessionDatabase } from '../../local/database/database.ts'
import { openNative } from '../../local/database/native.ts'
import { openPglite } from '../../local/database/pglite.ts'
import { copyFromTemplate, createSnapshot } from '../../local/database/snapshot.ts'

const PROJECT = 'supabase'
const SNAPSHOTS = '.local/test-snapshots'

/**
 * Runs `fn` on a copy of the prepared database (platform objects, migrations, seed) and throws the copy away afterwards.
 * In memory on PGlite or, with the address of a server (as a superuser), a database of that server.
 *
 * @param fn is given the database, and its address if a server has it
 */
export async function withPreparedDatabase<T>(
  serverUrl: string | undefined,
  fn: (database: SessionDatabase, url: string | null) => Promise<T>,
): Promise<T> {
  const copy = serverUrl ? await copyFromTemplate(PROJECT, serverUrl) : null
  try {
    const database = copy
      ? await openNative({ url: copy.url, poolSize: 2 })
      : await openPglite({ snapshot: await createSnapshot(PROJECT, SNAPSHOTS) })
    try {
      return await fn(database, copy?.url ?? null)
    } finally {
      await database.close()
    }
  } finally {
    await copy?.drop()
  }
}
