import pg from 'pg'
import type { ScriptedModel } from '../../tests/support/scripted-model/index.ts'
import type { World } from '../agent/world.ts'
import { signIn } from '../support/target.ts'
import { api, inBackground, timesOf, whenOver, type Asker, type Times } from './tools.ts'

const MANY = 10_000
const RUNS = 20
const OTHER = 'member@meridian.example'
const OTHER_TENANT = '22222222-2222-4222-8222-222222222222'
/** A model takes this long; the places of an executor are taken for as long. */
const ANSWER_MS = 300

/** Plain requests of the same person: how much slower everything is while the other tenant's runs go on. */
export type Requests = { idle: Times; loaded: Times }
export type FairnessResult = {
  idle: Times
  loaded: Times
  requests: Requests
  most: number
  limit: number
  left: number
}

/** How long runs of one tenant wait to be begun: with nobody else there, and beside ten thousand runs of another. */
export async function measureFairness(world: World, model: ScriptedModel, db: pg.Pool): Promise<FairnessResult> {
  model.play(() => ({ text: 'Done.', before: () => new Promise((resolve) => setTimeout(resolve, ANSWER_MS)) }))
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
      const { created, started } = await whenOver(db, await inBackground(world, other, 'Hello.'))
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
  const tenant = world.caller.tenantId
  let most = 0
  const watching = setInterval(() => {
    void db
      .query<{ count: number }>(
        `select count(*)::int as count from ai.agent_runs where tenant_id = $1 and status = 'running'`,
        [tenant],
      )
      .then(({ rows: [row] }) => (most = Math.max(most, row?.count ?? 0)))
      .catch(() => undefined)
  }, 50)
  try {
    await new Promise((resolve) => setTimeout(resolve, 3_000))
    const loaded = await waits()
    const loadedRequests = await requests()
    const pending = await db.query<{ count: number }>(
      `select count(*)::int as count from ai.agent_runs where tenant_id = $1 and status = 'pending'`,
      [tenant],
    )
    return {
      idle,
      loaded,
      requests: { idle: idleRequests, loaded: loadedRequests },
      most,
      limit: 20,
      left: pending.rows[0]?.count ?? 0,
    }
  } finally {
    clearInterval(watching)
    // What is left would go on for a long time.
    await db.query(`delete from ai.agent_runs where tenant_id = $1 and status = 'pending'`, [tenant])
    await db.query(`delete from pgboss.job where name = 'run_agent' and state < 'active'`)
  }
}
