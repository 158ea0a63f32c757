import { readFileSync } from 'node:fs'
import process from 'node:process'
import pg from 'pg'
import { childrenOf } from '../../tests/support/child-processes.ts'
import type { ScriptedModel } from '../../tests/support/scripted-model/index.ts'
import type { World } from '../agent/world.ts'
import { api, askerOf, eventsIn, inBackground, timesOf, until, whenOver, type Times } from './tools.ts'

const KILLS = 8
/** Of the function, which is begun anew by the next request. */
const FUNCTION_KILLS = 4
/** The model says a word this often, so many: the run is in the middle of an answer when its executor dies. */
const WORD_MS = 100
const WORDS = 40

export type TakeoverResult = {
  /** From the kill to the next event of the run, by another executor. */
  times: Times & { max: number }
  /** The same, where the function is killed as soon as it has told of the run: its first lease has just begun. */
  byFunction: Times & { max: number }
  /** Runs that did not end as completed. */
  lost: number
}

/** Kills the worker while it carries out a run, again and again; whoever takes the run up is the worker that replaces it. */
export async function measureTakeover(world: World, model: ScriptedModel, db: pg.Pool): Promise<TakeoverResult> {
  const words = Array.from({ length: WORDS }, (_, i) => ` word${i}`)
  model.play(() => ({ text: words, between: () => new Promise((resolve) => setTimeout(resolve, WORD_MS)) }))
  const standing = async (runId: string) => {
    const { rows } = await db.query<{ executor: string | null; last_seq: number; status: string }>(
      `select executor, status, (select coalesce(max(seq), 0) from ai.run_events where run_events.run_id = agent_runs.id) as last_seq
       from ai.agent_runs where run_id = $1`,
      [runId],
    )
    return rows[0]
  }
  const times: number[] = []
  let lost = 0
  for (let i = 0; i < KILLS; i++) {
    const runId = await inBackground(world, askerOf(world), 'Hello.')
    const before = await until(async () => {
      const row = await standing(runId)
      // In the middle: it has begun to write, and is far from its end.
      return row?.status === 'running' && row.last_seq >= 3 ? row : null
    }, 'The begin of a run')
    // A worker calls itself worker:HOST:PID.
    const pid = Number(/^worker:.*:(\d+)$/.exec(before.executor ?? '')?.[1])
    if (!(pid > 0)) throw new Error(`No process is known of ${String(before.executor)}.`)
    process.kill(pid, 'SIGKILL')
    const killedAt = performance.now()
    // What it had sent when it died is still written.
    await new Promise((resolve) => setTimeout(resolve, 100))
    const dead = await standing(runId)
    await until(async () => {
      const row = await standing(runId)
      return row && row.executor !== before.executor && row.last_seq > (dead?.last_seq ?? 0) ? row : null
    }, 'An event after the kill')
    times.push(performance.now() - killedAt)
    await whenOver(db, runId).catch(() => (lost += 1))
  }
  const early: number[] = []
  for (let i = 0; i < FUNCTION_KILLS; i++) {
    await until(() => api(world, askerOf(world), 'GET', `/agents/${world.agentId}`).catch(() => null), 'The function')
    const response = await fetch(`${world.url}/functions/v1/api/agents/${world.agentId}/run/stream`, {
      method: 'POST',
      headers: askerOf(world).headers,
      body: JSON.stringify({ message: 'Hello.' }),
    })
    const events = eventsIn(response)
    const runId = String((await events.next()).value?.['run_id'])
    process.kill(functionProcess(world), 'SIGKILL')
    const killedAt = performance.now()
    await events.return(undefined).catch(() => undefined)
    await new Promise((resolve) => setTimeout(resolve, 100))
    const dead = await standing(runId)
    await until(async () => {
      const row = await standing(runId)
      return row && row.executor !== null && row.last_seq > (dead?.last_seq ?? 0) ? row : null
    }, 'An event after the kill')
    early.push(performance.now() - killedAt)
    await whenOver(db, runId).catch(() => (lost += 1))
  }
  return { times: withMax(times), byFunction: withMax(early), lost }
}

const withMax = (values: number[]): Times & { max: number } => ({ ...timesOf(values), max: Math.max(...values) })

/** The process that serves the function `api`. @throws where it cannot be found: outside Linux, or when none runs */
function functionProcess(world: World): number {
  const found = childrenOf(world.pid).find((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('functions/api/index.ts')
    } catch {
      return false // it has ended
    }
  })
  if (found === undefined) throw new Error('No process of the function api is known.')
  return found
}
