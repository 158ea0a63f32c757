// Schedules and sweeps in their queues, with several executors at once: each time begins one run, each sweep is done by one.
import { beforeEach, describe, expect, it } from 'vitest'
import type { DbCaller } from '../../../local/database/database.ts'
import type { TakenJob } from '../../../supabase/functions/_shared/queue-ledger.ts'
import { NATIVE_URL, noNativeServer, usePreparedDatabase } from '../../support/prepared-database.ts'

const HARBOR = '11111111-1111-4111-8111-111111111111'
const MEMBER = 'a0000000-0000-4000-8000-000000000003'
const SERVICE: DbCaller = { role: 'service_role', claims: { role: 'service_role' } }
const EXECUTORS = 6
const SCHEDULES = 12
const at = "'2026-01-01 08:00Z'::timestamptz"

describe.skipIf(noNativeServer())('several executors', () => {
  const world = usePreparedDatabase(NATIVE_URL)
  const ask = async <T>(text: string, ...params: unknown[]): Promise<T> => {
    const rows = await world.db.asCaller(SERVICE, (tx) => tx.query<{ result: T }>(`select ${text} as result`, params))
    return rows[0]?.result as T
  }
  const count = async (text: string) =>
    (await world.db.query<{ count: number }>(`select count(*)::int as count ${text}`))[0]!.count
  const atOnce = <T>(work: (i: number) => Promise<T>) =>
    Promise.all(Array.from({ length: EXECUTORS }, (_, i) => work(i)))

  beforeEach(async () => {
    await world.db.exec(
      `delete from ai.agent_runs; delete from ai.schedules; delete from pgboss.job;
       update private.sweeps set last_began_at = null, last_failed_at = null`,
    )
    await world.db.query(
      `with agent as (insert into ai.agents (tenant_id, name, created_by) values ($1, 'Clerk', $2) returning id)
       insert into ai.schedules (tenant_id, agent_id, created_by, name, cron, message)
       select $1, agent.id, $2, 'x', '0 9 * * *', 'x' from agent, generate_series(1, $3::int)`,
      [HARBOR, MEMBER, SCHEDULES],
    )
    await world.db.exec(`update ai.schedules set next_run_at = ${at}`)
  })

  it('take schedules that are due, also some queued twice: each begins one run and waits for its next time, once', async () => {
    await world.db.exec(
      `select private.enqueue('fire_schedule', jsonb_build_object('id', id), now(), 'again ' || id) from ai.schedules`,
    )
    let taken = 0
    const outcomes: unknown[] = []
    await atOnce(async () => {
      for (;;) {
        const jobs = await ask<TakenJob[]>(`ai.take_jobs('fire_schedule', 2)`)
        if (jobs.length === 0) return
        taken += jobs.length
        for (const { id, subject, attempt } of jobs) {
          const firing = await ask<{ outcome: string } | null>(
            `ai.fire_due_schedule($1, ${at}, '2099-01-01 08:00Z')`,
            subject,
          )
          if (firing !== null) outcomes.push(firing.outcome)
          await ask(`ai.finish_job('fire_schedule', $1, $2, true)`, id, attempt)
        }
      }
    })
    expect(taken).toBe(2 * SCHEDULES)
    expect(outcomes).toEqual(Array.from({ length: SCHEDULES }, () => 'fired'))
    expect(await count('from ai.agent_runs')).toBe(SCHEDULES)
    const waiting = await world.db.query<{ key: string; is_later: boolean }>(
      `select data ->> 'id' as key, start_after = '2099-01-01 08:00Z' as is_later from pgboss.job where name = 'fire_schedule'`,
    )
    expect(new Set(waiting.map(({ key }) => key)).size).toBe(SCHEDULES)
    expect(waiting.map(({ is_later }) => is_later)).toEqual(Array.from({ length: SCHEDULES }, () => true))
  })

  it('change, switch off and take the same schedules: one job is left for each that is on, at its time', async () => {
    const ids = (await world.db.query<{ id: string }>('select id from ai.schedules order by id')).map(({ id }) => id)
    for (let round = 1; round <= 5; round++) {
      await atOnce(async (i) => {
        if (i < 2) {
          for (const { id, attempt } of await ask<TakenJob[]>(`ai.take_jobs('fire_schedule', 4)`))
            await ask(`ai.finish_job('fire_schedule', $1, $2, true)`, id, attempt)
          return
        }
        // In different orders, one by one, as people do.
        for (const id of i % 2 === 0 ? ids : ids.toReversed())
          await world.db.query(
            `update ai.schedules set enabled = $2, next_run_at = case when $2 then now() + $3 * interval '1 minute' end where id = $1`,
            [id, (i + round) % 3 !== 0, i * round],
          )
      })
      // What was taken without having been due is found by the sweep.
      await world.db.exec(`select private.requeue_schedules()`)
      expect(
        await world.db.query(
          `select schedules.id from ai.schedules
           left join pgboss.job on job.name = 'fire_schedule' and job.data ->> 'id' = schedules.id::text
             and job.state = 'created' and job.start_after = coalesce(schedules.next_run_at, job.start_after)
           group by schedules.id, schedules.enabled
           having count(job.id) <> case when schedules.enabled then 1 else 0 end`,
        ),
      ).toEqual([])
    }
  })

  it('ask for sweeps at the same time: each is queued once, and done by whoever takes it', async () => {
    const queued = await atOnce(() => ask<number>('ai.queue_due_sweeps(15)'))
    expect(queued.reduce((sum, n) => sum + n, 0)).toBe(10)
    const done: string[] = []
    await atOnce(async () => {
      for (const { subject } of await ask<TakenJob[]>(`ai.take_jobs('sweep', 2)`)) {
        const outcome = await ask<{ name: string } | null>('ai.run_sweep($1)', subject)
        if (outcome !== null) done.push(outcome.name)
      }
    })
    const rows = await world.db.query<{ name: string }>('select name from private.sweeps order by name')
    expect(done.sort()).toEqual(rows.map(({ name }) => name))
    expect(await ask<number>('ai.queue_due_sweeps(86400)')).toBe(0)
  })

  it('do one sweep at a time: who comes while somebody is at it does nothing', async () => {
    const [row] = await world.db.query<{ id: string }>(`select id from private.sweeps where name = 'sweep_run_log'`)
    const held = Promise.withResolvers<void>()
    const over = Promise.withResolvers<void>()
    const first = world.db.transaction(async (tx) => {
      await tx.query('select ai.run_sweep($1)', [row!.id])
      held.resolve()
      await over.promise
    })
    await Promise.race([held.promise, first])
    const outcomes = [await ask('ai.run_sweep($1)', row!.id), await ask('ai.queue_due_sweeps(0)')]
    over.resolve()
    await first
    expect(outcomes).toEqual([null, 9])
  })
})
