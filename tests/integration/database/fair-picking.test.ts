// One tenant queues ten thousand, and eight pick at once: nobody else waits for it, and no limit is overrun. Counted in picks,
// not in seconds: how long a pick takes is the machine's affair.
import { beforeAll, describe, expect, it } from 'vitest'
import { NATIVE_URL, noNativeServer, usePreparedDatabase } from '../../support/prepared-database.ts'
import { HARBOR, MERIDIAN, useNativeQueue } from './native-queue.ts'

const MANY = 10_000
const PICKERS = 8
const LIMIT = 3
/** Picks that may be in progress when the other's work comes, and one turn of each of the two tenants. */
const MOST_PICKS = PICKERS + 2

describe.skipIf(noNativeServer())('eight who pick at once', () => {
  const world = usePreparedDatabase(NATIVE_URL)
  const queue = useNativeQueue(world, { connections: PICKERS + 2, fetching: PICKERS })
  beforeAll(() => world.db.exec('delete from pgboss.job'))

  /** Picks with eight at once until the other tenant's three are done, which come one after the other while they pick. */
  async function pickUntilServed(
    pickOne: () => Promise<{ isOther: boolean; end: () => Promise<void> } | null>,
    comeOther: () => Promise<void>,
    countBusy: () => Promise<number>,
  ) {
    let picks = 0
    let cameAt: number | null = null
    let most = 0
    const waits: number[] = []
    const picker = async () => {
      while (waits.length < 3 && picks < 500) {
        const picked = await pickOne()
        if (picked === null) continue
        picks += 1
        // It may be picked before whoever queued it has heard that it is there.
        if (picked.isOther) waits.push(cameAt === null ? 0 : picks - cameAt)
        most = Math.max(most, await countBusy())
        await picked.end()
      }
    }
    const coming = async () => {
      for (let i = 1; i <= 3; i++) {
        while (picks < i * 20) await new Promise((resolve) => setTimeout(resolve, 2))
        cameAt = null
        await comeOther()
        cameAt = picks
        while (waits.length < i && picks < 500) await new Promise((resolve) => setTimeout(resolve, 2))
      }
    }
    await Promise.all([coming(), ...Array.from({ length: PICKERS }, picker)])
    return { waits, most, picks }
  }

  it('serve another tenant’s documents within a bounded number of picks, and keep to the limit', async () => {
    await world.db.query(`update private.queue_limits set max_active_per_tenant = $1 where queue = 'extract_source'`, [
      LIMIT,
    ])
    const insert = (tenant: string, count: number) =>
      world.db.query(
        `with made as (
           insert into ai.sources (id, tenant_id, name, file_type, mime_type, size_bytes, content_hash, storage_path, uploaded_at)
           select id, $1::uuid, 'x', '.txt', 'text/plain', 1, encode(sha256(id::text::bytea), 'hex'), $1 || '/' || id || '/x', now()
           from (select gen_random_uuid() as id from generate_series(1, $2::int)) as ids
           returning id
         )
         select count(private.enqueue('extract_source', jsonb_build_object('id', id), now(), id::text)) from made`,
        [tenant, count],
      )
    await insert(HARBOR, MANY)
    const { waits, most } = await pickUntilServed(
      async () => {
        const [job] = await queue.boss.fetch('extract_source', { includeMetadata: true, groupConcurrency: LIMIT })
        if (!job) return null
        return {
          isOther: job.groupId === MERIDIAN,
          end: async () => void (await queue.boss.complete('extract_source', job.id)),
        }
      },
      async () => void (await insert(MERIDIAN, 1)),
      async () => {
        const { rows } = await queue.pool.query<{ count: number }>(
          `select count(*)::int as count from pgboss.job where name = 'extract_source' and state = 'active' and group_id = $1`,
          [HARBOR],
        )
        return rows[0]?.count ?? 0
      },
    )
    expect(waits).toHaveLength(3)
    expect(Math.max(...waits)).toBeLessThanOrEqual(MOST_PICKS)
    expect(most).toBeLessThanOrEqual(LIMIT)
    const left = await world.db.query<{ count: number }>(
      `select count(*)::int as count from pgboss.job where name = 'extract_source' and state = 'created' and group_id = $1`,
      [HARBOR],
    )
    expect(left[0]?.count).toBeGreaterThan(MANY / 2)
  }, 60_000)

  it('keep to the limit also where nobody looks before picking', async () => {
    const { rows } = await queue.pool.query<{ most: number }>(
      `select count(*)::int as most from pgboss.job where name = 'extract_source' and state = 'active'`,
    )
    expect(rows[0]?.most).toBe(0)
    // Without the picker's own regard for groups; the database holds the limit by itself.
    const picked = await Promise.all(Array.from({ length: PICKERS }, () => queue.boss.fetch('extract_source')))
    expect(picked.flat()).toHaveLength(LIMIT)
  })

  it('serve another tenant’s runs within a bounded number of picks, and keep to the number of places', async () => {
    await world.db.query(
      `insert into ai.tenant_settings (tenant_id, max_running_runs) values ($1, $2)
       on conflict (tenant_id) do update set max_running_runs = excluded.max_running_runs`,
      [HARBOR, LIMIT],
    )
    // Pending runs of one member, each in a session of its own.
    const insert = (tenant: string, member: string, count: number) =>
      world.db.query(
        `with agent as (select id, tenant_id from ai.agents where tenant_id = $1::uuid and is_default),
         sessions as (
           insert into ai.agent_sessions (tenant_id, session_id, agent_id, user_id)
           select agent.tenant_id, 'fair_' || gen_random_uuid(), agent.id, $2::uuid from agent, generate_series(1, $3::int)
           returning id, tenant_id, agent_id
         ),
         runs as (
           insert into ai.agent_runs (tenant_id, session_id, agent_id, user_id, principal_id, status)
           select tenant_id, id, agent_id, $2::uuid, $2::uuid, 'pending' from sessions
           returning id, tenant_id
         )
         insert into private.run_requests (run_id, tenant_id, request) select id, tenant_id, '{"message": "x"}' from runs`,
        [tenant, member, count],
      )
    await insert(HARBOR, 'a0000000-0000-4000-8000-000000000003', MANY)
    const { waits, most } = await pickUntilServed(
      async () => {
        const due = await queue.pool.query<{ id: string }>('select id from ai.due_runs(4)')
        for (const { id } of due.rows) {
          const { rows } = await queue.pool.query<{ claim: { lease_token: string; tenant_id: string } | null }>(
            `select ai.claim_run($1, 'picker', 60) as claim`,
            [id],
          )
          const claim = rows[0]?.claim
          if (!claim) continue
          return {
            isOther: claim.tenant_id === MERIDIAN,
            end: async () => void (await queue.pool.query(`select private.end_run($1::uuid, 'cancelled')`, [id])),
          }
        }
        return null
      },
      async () => void (await insert(MERIDIAN, 'b0000000-0000-4000-8000-000000000003', 1)),
      async () => {
        const { rows } = await queue.pool.query<{ count: number }>(
          `select count(*)::int as count from ai.agent_runs where tenant_id = $1 and status = 'running'`,
          [HARBOR],
        )
        return rows[0]?.count ?? 0
      },
    )
    expect(waits).toHaveLength(3)
    expect(Math.max(...waits)).toBeLessThanOrEqual(MOST_PICKS)
    expect(most).toBeLessThanOrEqual(LIMIT)
    // All at once, each another run.
    const pending = await queue.pool.query<{ id: string }>(
      `select id from ai.agent_runs where tenant_id = $1 and status = 'pending' limit ${PICKERS}`,
      [HARBOR],
    )
    const claims = await Promise.all(
      pending.rows.map(({ id }) => queue.pool.query(`select ai.claim_run($1, 'picker', 60) as claim`, [id])),
    )
    expect(claims).toHaveLength(PICKERS)
    expect(claims.filter(({ rows }) => rows[0].claim !== null)).toHaveLength(LIMIT)
  }, 60_000)
})
