import pg from 'pg'
import { obey, type ScriptedModel } from '../../tests/support/scripted-model/index.ts'
import { TABLE_NAMES, type World } from '../agent/world.ts'
import { api, askerOf, streamed, timesOf, until, whenOver, type Times } from './tools.ts'

const DECISIONS = 20

/** Number of the last event of a run that has been put down to wait for a person. */
const whenWaiting = (db: pg.Pool, runId: string): Promise<number> =>
  until(async () => {
    const { rows } = await db.query<{ status: string; last_seq: number }>(
      'select status, last_seq from ai.agent_runs where run_id = $1',
      [runId],
    )
    return rows[0]?.status === 'waiting' ? rows[0].last_seq : null
  }, 'The wait of a run')

/** From a decision to the first event of the run that goes on, by the clock of the database. */
export async function measureDecisions(
  world: World,
  model: ScriptedModel,
  db: pg.Pool,
): Promise<{ decision: Times; request: Times }> {
  model.play(obey())
  const asker = askerOf(world)
  const agent = await api(world, asker, 'POST', '/agents', { name: 'Asks first' })
  const agentId = String(agent['id'])
  await api(world, asker, 'POST', `/agents/${agentId}/tools`, {
    tool_name: 'database_query',
    config_override: { schemas: { public: TABLE_NAMES } },
    permissions: { default: 'ask' },
  })
  const call = `CALL database_query ${JSON.stringify({ query: `select id from ${TABLE_NAMES[0]} limit 1` })}`
  const times: number[] = []
  const requests: number[] = []
  for (let i = 0; i < DECISIONS; i++) {
    let lastSeq = 0
    const runId = await streamed(world, { ...asker, agentId }, call, (event) =>
      event['event'] === 'approval_requested'
        ? whenWaiting(db, String(event['run_id'])).then((seq) => {
            lastSeq = seq
            return api(world, asker, 'POST', `/agents/runs/${String(event['run_id'])}/approve`, { approved: true })
          })
        : undefined,
    )
    const { id } = await whenOver(db, runId)
    const { rows } = await db.query<{ ms: number }>(
      `select extract(epoch from min(run_events.created_at) - max(approvals.decided_at)) * 1000 as ms
       from ai.run_events join ai.approvals on approvals.run_id = run_events.run_id
       where run_events.run_id = $1 and run_events.seq > $2 `,
      [id, lastSeq],
    )
    times.push(Number(rows[0]?.ms))
    const askedAt = performance.now()
    await api(world, asker, 'GET', `/agents/runs/${runId}`)
    requests.push(performance.now() - askedAt)
  }
  return { decision: timesOf(times), request: timesOf(requests) }
}
