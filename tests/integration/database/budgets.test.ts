// Runs that ask for the last tokens at the same time: on a native server in as many sessions, on PGlite one after the other.
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { SessionDatabase } from '../../../local/database/database.ts'
import { openNative } from '../../../local/database/native.ts'
import { withPreparedDatabase } from '../../../scripts/support/prepared-database.ts'
import { NATIVE_URL } from '../../support/prepared-database.ts'

const HARBOR = '11111111-1111-4111-8111-111111111111'
const MERIDIAN = '22222222-2222-4222-8222-222222222222'
const PEOPLE = ['1', '2', '3', '4'].map((n) => `a0000000-0000-4000-8000-00000000000${n}`)
const RUNS = 100
const SESSIONS = 40

type Run = { id: string; lease: string; userId: string }
type Reservation = { id: string; max_tokens: number }

/** Calls a function of the ledger as the secret key does, in a transaction of its own; null when it refuses. */
async function ledger<T>(text: string, params: unknown[]): Promise<T | null> {
  try {
    const [row] = await db.asCaller({ role: 'service_role', claims: { role: 'service_role' } }, (tx) =>
      tx.query<{ result: T }>(`select ${text} as result`, params),
    )
    return row?.result ?? null
  } catch (error) {
    // Anything else, a deadlock above all, is a failure of the test.
    if ((error as { code?: string }).code !== 'PT402') throw error
    return null
  }
}

async function startRuns(tenant: string, count: number): Promise<Run[]> {
  const runs = Array.from({ length: count }, (_, i) => ({
    id: randomUUID(),
    lease: randomUUID(),
    userId: PEOPLE[i % PEOPLE.length]!,
  }))
  const [agent] = await db.query<{ id: string }>('select id from ai.agents where tenant_id = $1 and is_default', [
    tenant,
  ])
  for (const { id, lease, userId } of runs) {
    await db.query(
      `with session as (
         insert into ai.agent_sessions (tenant_id, session_id, agent_id, user_id) values ($1, $2::text, $3, $4) returning *
       )
       insert into ai.agent_runs (id, tenant_id, session_id, agent_id, user_id, principal_id, status, lease_token, lease_expires_at, started_at)
       select $2::uuid, tenant_id, id, agent_id, user_id, user_id, 'running', $5, now() + interval '1 minute', now() from session`,
      [tenant, id, agent!.id, userId, lease],
    )
  }
  return runs
}

/** With a write of the run's log, as executors do; null when it is refused. */
async function reserve(run: Run, prompt: number, wanted: number): Promise<Reservation | null> {
  const want = { id: randomUUID(), step: 1, model: 'm', prompt_tokens: prompt, max_tokens: wanted }
  const answer = await ledger<{ held: boolean; grant?: Reservation; refusal?: { code: string } }>(
    `ai.append_run_events($1, $2, 1, '[]', reservation => $3)`,
    [run.id, run.lease, JSON.stringify(want)],
  )
  if (answer?.refusal) expect(answer.refusal.code).toBe('PT402')
  else if (answer?.held) expect(answer.grant).toMatchObject({ id: want.id })
  return answer?.grant ?? null
}
/** As executors of earlier versions do. */
const reserveAlone = (run: Run, prompt: number, wanted: number) =>
  ledger<Reservation>('ai.reserve_tokens($1, $2, 1, $3, $4, $5)', [run.id, run.lease, 'm', prompt, wanted])
const settle = (run: Run, { id }: Reservation, prompt: number, completion: number) =>
  ledger<boolean>('ai.settle_tokens($1, $2, $3)', [
    id,
    run.lease,
    JSON.stringify({ prompt_tokens: prompt, completion_tokens: completion }),
  ])

type Counter = { scope: string; max: number; used: number; reserved: number }
const counters = (tenant: string) =>
  db.query<Counter>(
    `select scope, max_tokens::int as max, used_tokens::int as used, reserved_tokens::int as reserved
     from private.budget_counters join ai.budgets on budgets.id = budget_id where budgets.tenant_id = $1`,
    [tenant],
  )

let db: SessionDatabase
let finish = () => {}
let finished: Promise<void>
beforeAll(async () => {
  const done = new Promise<void>((resolve) => (finish = resolve))
  await new Promise<void>((ready, failed) => {
    finished = withPreparedDatabase(NATIVE_URL, async (prepared, url) => {
      const pool = url ? await openNative({ url, poolSize: SESSIONS }) : null
      db = pool ?? prepared
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

const budget = (tenant: string, scope: string, period: string, max: number) =>
  db.query('insert into ai.budgets (tenant_id, scope, period, max_tokens) values ($1, $2, $3, $4)', [
    tenant,
    scope,
    period,
    max,
  ])

describe(`a budget that ${RUNS} runs ask at once, on ${NATIVE_URL ? 'a native server' : 'PGlite'}`, () => {
  it('is used up and not overdrawn, whatever they settle and lose meanwhile', async () => {
    await budget(HARBOR, 'tenant', 'month', 50_000)
    await budget(HARBOR, 'user', 'day', 20_000)
    await budget(HARBOR, 'agent', 'total', 45_000)
    await budget(HARBOR, 'run', 'total', 3000)
    const runs = await startRuns(HARBOR, RUNS)

    // Counters are made by whoever comes first.
    const granted = await Promise.all(
      runs.map((run, i) => (i % 4 === 3 ? reserveAlone(run, 100, 1000) : reserve(run, 100, 1000))),
    )
    const holders = runs.flatMap((run, i) => (granted[i] ? [{ run, held: granted[i] }] : []))
    const promised = holders.reduce((sum, { held }) => sum + 100 + held.max_tokens, 0)
    expect(promised).toBe(45_000)
    for (const { max, used, reserved } of await counters(HARBOR)) expect(used + reserved).toBeLessThanOrEqual(max)

    // A third settles, a third loses its lease, a third ends; the others try again.
    const lose = 'update ai.agent_runs set lease_token = gen_random_uuid() where id = $1'
    const end = `update ai.agent_runs set status = 'failed', lease_token = null, lease_expires_at = null, completed_at = now() where id = $1`
    await Promise.all([
      ...holders.map(({ run, held }, i) =>
        i % 3 === 0 ? settle(run, held, 100, held.max_tokens) : db.query(i % 3 === 1 ? lose : end, [run.id]),
      ),
      ...runs.filter((_, i) => !granted[i]).map((run) => reserve(run, 50, 500)),
    ])
    const after = await counters(HARBOR)
    for (const { max, used, reserved } of after) expect(used + reserved).toBeLessThanOrEqual(max)
    // The counters say what the entries and the open reservations say.
    const [total] = await db.query<{ used: number; reserved: number }>(
      `select (select sum(total_tokens)::int from ai.usage_entries) as used,
         (select coalesce(sum(reserved_tokens), 0)::int from private.token_reservations) as reserved`,
    )
    for (const scope of ['tenant', 'agent'])
      expect(after.find((counter) => counter.scope === scope)).toMatchObject(total!)
  })
})

describe('a reservation that four settle', () => {
  it('is counted once', async () => {
    await budget(MERIDIAN, 'tenant', 'month', 50_000)
    const [run] = await startRuns(MERIDIAN, 1)
    const held = (await reserveAlone(run!, 10, 10))!
    const settled = await Promise.all([1, 2, 3, 4].map(() => settle(run!, held, 10, 10)))
    expect(settled.filter(Boolean)).toHaveLength(1)
    expect(await counters(MERIDIAN)).toEqual([{ scope: 'tenant', max: 50_000, used: 20, reserved: 0 }])
  })
})

describe('requests that come at once', () => {
  const minute = async () => {
    const [row] = await db.query<{ minute: Date }>(`select date_trunc('minute', clock_timestamp()) as minute`)
    return String(row!.minute)
  }

  it('are granted as often as the limit says', async () => {
    // Counted within one minute; where one ends in between, with another person.
    for (const person of PEOPLE) {
      const before = await minute()
      const answers = await Promise.all(
        Array.from({ length: 80 }, () =>
          ledger<{ granted: number }>(`ai.take_requests('user', 3, 100, $1, $2)`, [person, HARBOR]),
        ),
      )
      if ((await minute()) !== before) continue
      expect(answers.reduce((sum, answer) => sum + answer!.granted, 0)).toBe(100)
      return
    }
    throw new Error('Every attempt met the end of a minute.')
  })

  it('with one key are carried out once', async () => {
    const begin = () =>
      ledger<{ state: string }>(`ai.begin_request($1, array[$2]::uuid[], 'k', 'POST /x', 'b')`, [PEOPLE[0], HARBOR])
    const states = (await Promise.all(Array.from({ length: 20 }, begin))).map((answer) => answer?.state)
    expect(states.filter((state) => state === 'new')).toHaveLength(1)
    expect(states.filter((state) => state === 'in_progress')).toHaveLength(19)
  })
})
