import pg from 'pg'
import type { ScriptedModel } from '../../tests/support/scripted-model/index.ts'
import { headersOf, type World } from '../agent/world.ts'
import { signIn } from '../support/target.ts'
import { api, askerOf, eventsIn, inBackground, timesOf, until, type Asker, type Times } from './tools.ts'

const STOPS = 15
/** The model says a word this often, and is never done by itself. */
const WORD_MS = 100
const WORDS = 600
const LEAVING = 'viewer@harbor.example'

type Slowest = Times & { max: number }
export type StopsResult = {
  /** From the request to cancel a run to the end of the connection to its model: a function carries it out, or a worker. */
  cancelled: { inline: Slowest; worker: Slowest }
  /** From the end of a membership to the end of the stream that carries the run out, and of another that follows it. */
  removed: { begun: Slowest; followed: Slowest }
}

const slowest = (values: number[]): Slowest => ({ ...timesOf(values), max: Math.max(...values) })

/** Begins a run and reads its stream. @returns its id once the model speaks, and the end of the stream */
async function speaking(world: World, asker: Asker): Promise<{ runId: string; ended: Promise<number> }> {
  const response = await fetch(`${world.url}/functions/v1/api/agents/${asker.agentId}/run/stream`, {
    method: 'POST',
    headers: asker.headers,
    body: JSON.stringify({ message: 'Tell me.' }),
  })
  return reading(response)
}

async function reading(response: Response): Promise<{ runId: string; ended: Promise<number> }> {
  const spoken = Promise.withResolvers<string>()
  const ended = (async () => {
    let runId = ''
    for await (const event of eventsIn(response)) {
      runId ||= String(event['run_id'] ?? '')
      if (event['event'] === 'content_delta') spoken.resolve(runId)
    }
    return performance.now()
  })()
  ended.then(() => spoken.reject(new Error('A stream ended before its model spoke.')), spoken.reject)
  return { runId: await spoken.promise, ended }
}

/** How soon a run stops that is to: cancelled, or because its person has been removed from the tenant. */
export async function measureStops(world: World, model: ScriptedModel, db: pg.Pool): Promise<StopsResult> {
  const words = Array.from({ length: WORDS }, (_, i) => ` word${i}`)
  model.play(() => ({ text: words, between: () => new Promise((resolve) => setTimeout(resolve, WORD_MS)) }))
  const asker = askerOf(world)
  const cancel = async (runId: string): Promise<number> => {
    const asked = model.chats().at(-1)
    const cancelledAt = performance.now()
    await api(world, asker, 'POST', `/agents/runs/${runId}/cancel`)
    await until(() => Promise.resolve(asked?.leftEarly || null), 'The end of a connection')
    return performance.now() - cancelledAt
  }

  const inline: number[] = []
  const worker: number[] = []
  for (let i = 0; i < STOPS; i++) {
    const { runId, ended } = await speaking(world, asker)
    inline.push(await cancel(runId))
    await ended
    const queued = await inBackground(world, asker, 'Tell me.')
    await until(async () => {
      const { rows } = await db.query<{ count: number }>(
        `select count(*)::int as count from ai.run_events join ai.agent_runs on agent_runs.id = run_events.run_id where agent_runs.run_id = $1`,
        [queued],
      )
      return (rows[0]?.count ?? 0) > 3 ? true : null
    }, 'The beginning of a run')
    worker.push(await cancel(queued))
  }

  const begun: number[] = []
  const followed: number[] = []
  const { session } = (await (await signIn(world, LEAVING)).auth.getSession()).data
  if (!session) throw new Error('The person is not signed in.')
  const leaving: Asker = { ...asker, headers: headersOf(world, { ...world.caller, token: session.access_token }) }
  const person = [world.caller.tenantId, session.user.id]
  for (let i = 0; i < STOPS; i++) {
    const own = await speaking(world, leaving)
    const path = `${world.url}/functions/v1/api/agents/runs/${own.runId}/stream?after=0`
    const other = await reading(await fetch(path, { headers: leaving.headers }))
    const { rows } = await db.query<{ role: string }>(
      'delete from public.memberships where tenant_id = $1 and user_id = $2 returning role',
      person,
    )
    const removedAt = performance.now()
    const ends = await Promise.all([own.ended, other.ended])
    begun.push(ends[0] - removedAt)
    followed.push(ends[1] - removedAt)
    await db.query('insert into public.memberships (tenant_id, user_id, role) values ($1, $2, $3)', [
      ...person,
      rows[0]?.role,
    ])
  }
  return {
    cancelled: { inline: slowest(inline), worker: slowest(worker) },
    removed: { begun: slowest(begun), followed: slowest(followed) },
  }
}
