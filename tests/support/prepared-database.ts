import { afterAll, beforeAll } from 'vitest'
import type { SessionDatabase } from '../../local/database/database.ts'
import { openNative } from '../../local/database/native.ts'
import { loadPgtap } from '../../scripts/support/pgtap.ts'
import { withPreparedDatabase } from '../../scripts/support/prepared-database.ts'

/** Address of a native PostgreSQL 17 with pgvector, as a superuser; undefined where there is none. */
export const NATIVE_URL = process.env.TEST_DATABASE_URL

/** Says, once per file, why what needs a real server is left out. To be handed to describe.skipIf(). */
export function noNativeServer(): boolean {
  if (NATIVE_URL) return false
  console.info('Left out: what needs several sessions or roles of a real server. Set TEST_DATABASE_URL to run it.')
  return true
}

/** Sessions that one test may hold open at a time. */
const POOL_SIZE = 6

/**
 * A migrated and seeded database for the tests of one file, with pgTAP and the helpers of tests/support/pgtap in it.
 * @param serverUrl a native server to make it on; on PGlite without one
 */
export function usePreparedDatabase(serverUrl?: string): { readonly db: SessionDatabase } {
  let database: SessionDatabase | null = null
  let finish = () => {}
  let finished: Promise<void> = Promise.resolve()

  beforeAll(async () => {
    const done = new Promise<void>((resolve) => (finish = resolve))
    await new Promise<void>((ready, failed) => {
      finished = withPreparedDatabase(serverUrl, async (prepared, url) => {
        await loadPgtap(prepared)
        const pool = url ? await openNative({ url, poolSize: POOL_SIZE }) : null
        database = pool ?? prepared
        await database.refreshTypes()
        ready()
        await done
        await pool?.close()
      })
      finished.catch(failed)
    })
  })
  afterAll(async () => {
    finish()
    await finished
  })

  return {
    get db() {
      if (!database) throw new Error('The database is ready in tests and hooks only.')
      return database
    },
  }
}
