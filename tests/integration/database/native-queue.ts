import pg from 'pg'
import { PgBoss } from 'pg-boss'
import { afterAll, beforeAll } from 'vitest'
import { NATIVE_URL, type usePreparedDatabase } from '../../support/prepared-database.ts'

/** Two of the seeded tenants. */
export const HARBOR = '11111111-1111-4111-8111-111111111111'
export const MERIDIAN = '22222222-2222-4222-8222-222222222222'

/** Connections to the prepared database of a native server and a pg-boss over its queues, which fetches and does no upkeep. */
export function useNativeQueue(
  world: ReturnType<typeof usePreparedDatabase>,
  most: { connections: number; fetching: number },
): { pool: pg.Pool; boss: PgBoss } {
  const queue = {} as { pool: pg.Pool; boss: PgBoss }
  beforeAll(async () => {
    const [row] = await world.db.query<{ name: string }>('select current_database() as name')
    const url = new URL(NATIVE_URL ?? '')
    url.pathname = `/${row?.name}`
    queue.pool = new pg.Pool({ connectionString: url.href, max: most.connections })
    queue.boss = new PgBoss({
      connectionString: url.href,
      schema: 'pgboss',
      migrate: false,
      supervise: false,
      max: most.fetching,
    })
    await queue.boss.start()
  }, 60_000)
  afterAll(async () => {
    await queue.boss?.stop({ graceful: false })
    await queue.pool?.end()
  })
  return queue
}
