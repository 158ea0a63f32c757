import pg from 'pg'
import type { ScriptedModel } from '../../tests/support/scripted-model/index.ts'
import type { World } from '../agent/world.ts'
import { signIn } from '../support/target.ts'
import { api, inBackground, timesOf, whenOver, type Asker, type Times } from './tools.ts'

const MANY = 10_000
const RUNS = 60
const OTHER = 'member@meridian.example'
const OTHER_TENANT = '22222222-2222-4222-8222-222222222222'
const OTHER_ASKS = 'Hello from another tenant.'
/** The model takes this long, and as long a place is taken. So short that an executor's places use up two cores, and as models do. */
const ANSWER_MS = 300
const LONGER_MS = 2_000
/** Counting is work as well. */
const WATCH_MS = 250
/** Until what goes on is as it will be: a worker that has given up places takes them back after ten seconds. */
const SETTLE_MS = 15_000

/** Runs of one tenant and plain requests of the same person, and meanwhile those of the other. */
export type Beside = { waits: Times; requests: Times; perSecond: number; atOnce: number }
export type FairnessResult = {
  idle: { waits: Times; requests: Times }
  /** Beside runs whose model answers quickly, and as models do. */
  quick: Beside
  longer: Beside
  /** Runs of the other tenant at once: at most, and as many as it may have. */
  most: number
  limit: number
  left: number
}

/**
 * How long runs of one tenant wait to be begun: with nobody else there, and beside ten thousand runs of another. Its own are
 * answered alike in all situations.
 */
export async function measureFairness(world: World, model: ScriptedModel, db: pg.Pool): Promise<FairnessResult> {
  let answerMs = ANSWER_MS
  model.play(({ messages }) => {
    const ms = JSON.stringify(messages.at(-1)).includes(OTHER_ASKS) ? ANSWER_MS : answerMs
    return { text: 'Done.', before: () => new Promise((resolve) => setTimeout(resolve, ms)) }
  })
  const client = await signIn(world, OTHER)
  const { session } = (await client.auth.getSession()).data
  const { rows } = await db.query<{ id: string }>('select id from ai.agents where tenant_id = $1 and is_default', [
    OTHER_TENANT,
  ])
  const other: Asker = {
    headers: {
      authorization: `Bearer ${session?.access_token}`,
      apikey: world.publishableKey,
      'content-type': 'application/json',
      'x-tenant-id': OTHER_TENANT,
    },
    agentId: String(rows[0]?.id),
  }
  const waits = async () => {
    const times: number[] = []
    for (let i = 0; i < RUNS; i++) {
      const { created, started } = await whenOver(db, await inBackground(world, other, OTHER_ASKS))
      times.push(started - created)
    }
    return timesOf(times)
  }
  const requests = async () => {
    const times: number[] = []
    for (let i = 0; i < RUNS; i++) {
      const startedAt = performance.now()
      await api(world, other, 'GET', '/agents')
      times.push(performance.now() - startedAt)
    }
    return timesOf(times)
  }
  const idle = await waits()
  const idleRequests = await requests()
  await db.query(
    `with agent as (select id, tenant_id from ai.agents where id = $1),
     sessions as (
       insert into ai.agent_sessions (tenant_id, session_id, agent_id, user_id)
       select agent.tenant_id, 'bench_' || gen_random_uuid(), agent.id, $2::uuid from agent, generate_series(1, $3::int)
       returning id, tenant_id, agent_id
     ),
     runs as (
       insert into ai.agent_runs (tenant_id, session_id, agent_id, user_id, principal_id, status, input_messages)
       select tenant_id, id, agent_id, $2::uuid, $2::uuid, 'pending', '[{"role": "user", "content": "Hello."}]' from sessions
       returning id, tenant_id
     )
     insert into private.run_requests (run_id, tenant_id, request) select id, tenant_id, '{"message": "Hello."}' from runs`,
    [world.agentId, world.caller.userId, MANY],
  )
  await db.query(
    `select count(private.enqueue('run_agent', jsonb_build_object('id', id), now(), id::text)) from ai.agent_runs where status = 'pending'`,
  )
  // No client can queue them all at once; what the database does afterwards about that is not measured.
  await db.query('vacuum (analyze) ai.agent_runs, ai.agent_sessions, private.run_requests, pgboss.job')
  const tenant = world.caller.tenantId
  const counted = async (status: string) => {
    const { rows } = await db.query<{ count: number }>(
      `select count(*)::int as count from ai.agent_runs where tenant_id = $1 and status = $2`,
      [tenant, status],
    )
    return rows[0]?.count ?? 0
  }
  let most = 0
  let running: number[] = []
  const watching = setInterval(() => {
    counted('running').then(
      (count) => {
        most = Math.max(most, count)
        running.push(count)
      },
      () => undefined,
    )
  }, WATCH_MS)
  const beside = async (ms: number): Promise<Beside> => {
    answerMs = ms
    await new Promise((resolve) => setTimeout(resolve, SETTLE_MS))
    running = []
    const before = { ended: await counted('completed'), at: performance.now() }
    const measured = { waits: await waits(), requests: await requests() }
    const seconds = (performance.now() - before.at) / 1000
    return {
      ...measured,
      perSecond: ((await counted('completed')) - before.ended) / seconds,
      atOnce: running.reduce((sum, count) => sum + count, 0) / running.length,
    }
  }
  try {
    const quick = await beside(ANSWER_MS)
    const longer = await beside(LONGER_MS)
    return {
      idle: { waits: idle, requests: idleRequests },
      quick,
      longer,
      most,
      limit: 20,
      left: await counted('pending'),
    }
  } finally {
    clearInterval(watching)
    // What is left would go on for a long time.
    await db.query(`delete from ai.agent_runs where tenant_id = $1 and status = 'pending'`, [tenant])
    await db.query(`delete from pgboss.job where name = 'run_agent' and state < 'active'`)
  }
}
