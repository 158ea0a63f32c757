import pg from 'pg'
import type { ScriptedModel } from '../../tests/support/scripted-model/index.ts'
import type { World } from '../agent/world.ts'
import { askerOf, inBackground, timesOf, until, whenOver, type Times } from './tools.ts'

const JOINS = 30

/** Joining a run in the middle: from the request for its stream to the first event; a bare request to the same function beside it. */
export async function measureJoins(
  world: World,
  model: ScriptedModel,
  db: pg.Pool,
): Promise<{ join: Times; request: Times }> {
  const words = Array.from({ length: 600 }, (_, i) => ` word${i}`)
  let isOver = false
  model.play(() => ({
    text: words,
    between: () => new Promise((resolve) => setTimeout(resolve, isOver ? 0 : 100)),
  }))
  const asker = askerOf(world)
  const runId = await inBackground(world, asker, 'Tell me.')
  await until(async () => {
    const { rows } = await db.query<{ count: number }>(
      'select count(*)::int as count from ai.run_events join ai.agent_runs on agent_runs.id = run_events.run_id where agent_runs.run_id = $1',
      [runId],
    )
    return (rows[0]?.count ?? 0) > 10 ? true : null
  }, 'The beginning of a run')
  const joins: number[] = []
  const requests: number[] = []
  for (let i = 0; i < JOINS; i++) {
    const stop = new AbortController()
    const startedAt = performance.now()
    const response = await fetch(`${world.url}/functions/v1/api/agents/runs/${runId}/stream?after=0`, {
      headers: asker.headers,
      signal: stop.signal,
    })
    if (!response.ok || !response.body)
      throw new Error(`A stream answered ${response.status}: ${await response.text()}`)
    let text = ''
    for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
      text += piece
      if (/^data: .*\n/m.test(text)) break
    }
    joins.push(performance.now() - startedAt)
    stop.abort()
    const askedAt = performance.now()
    const run = await fetch(`${world.url}/functions/v1/api/agents/runs/${runId}`, { headers: asker.headers })
    await run.text()
    requests.push(performance.now() - askedAt)
  }
  isOver = true
  await whenOver(db, runId)
  return { join: timesOf(joins), request: timesOf(requests) }
}
