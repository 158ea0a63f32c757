import { readFileSync } from 'node:fs'
import process from 'node:process'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { begin, bySteps, expectWhole, standingOf, textOf } from '../functions/support/durable-run.ts'
import { useModelAndEndpoint } from '../functions/support/model-and-endpoint.ts'
import type { Endpoint } from '../functions/support/endpoint.ts'
import { userCaller } from '../functions/support/http.ts'
import type { FunctionsCaller, Json } from '../functions/support/http.ts'
import { childrenOf } from '../support/child-processes.ts'
import { eventually } from '../support/eventually.ts'
import type { ScriptedModel } from '../support/scripted-model/index.ts'
import { useStack } from '../support/stack.ts'
import { spawnWorker, type WorkerUnderTest } from './ingestion-support.ts'

// Q02: a run of six steps whose tools have effects outside. The function that carries it out is killed with SIGKILL, and then
// the worker that has taken it up: nothing is lost, nothing takes effect twice, the answer is the same.

const userEnv: Record<string, string> = { RUN_LEASE_SECONDS: '2' }
let model: ScriptedModel
let endpoint: Endpoint
useModelAndEndpoint(userEnv, (both) => void ({ model, endpoint } = both))
const stack = useStack({ userEnv, functions: 'on-demand', denoBin: process.env['DENO_BIN'] })

const call = (name: string, item: string) => ({
  toolCalls: [{ name, arguments: { item } }],
  text: [`Step ${item}, `, 'counted. '],
})
const TURNS = [
  call('count_apples', 'one'),
  call('count_pears', 'two'),
  call('count_apples', 'three'),
  call('count_pears', 'four'),
  call('count_apples', 'five'),
  { text: ['All five ', 'are ', 'counted.'] },
]
const CALLS = 5

let member: FunctionsCaller
let agentId = ''
/** What took effect, by run: the endpoint does nothing for a key that it has seen. */
let effects: string[] = []
const workers: WorkerUnderTest[] = []
const startWorker = async () => {
  const worker = await spawnWorker(stack, { WORKER_RUN_SECONDS: '0.3' })
  workers.push(worker)
  return worker
}

beforeAll(async () => {
  member = await userCaller(stack, 'member@harbor.example')
  const admin = await userCaller(stack, 'admin@harbor.example')
  agentId = (await admin.json(201, 'POST', '/api/agents', { json: { name: 'Counter' } }))['id']
  for (const name of ['count_apples', 'count_pears']) {
    const tool = await admin.json(201, 'POST', '/api/tools', {
      json: {
        name,
        description: 'Counts an item.',
        type: 'http',
        input_schema: { type: 'object', properties: { item: { type: 'string' } }, required: ['item'] },
        config: { endpoint: `${endpoint.url}/count`, method: 'POST', session_token: false, retry_safe: true },
      },
    })
    await admin.json(201, 'POST', `/api/agents/${agentId}/tools`, {
      json: { tool_type: 'custom', tool_name: name, tool_id: tool['id'], config_override: { untrusted: 'allow' } },
    })
  }
  endpoint.answerWith(({ headers }) => {
    const key = String(headers['idempotency-key'])
    if (!effects.includes(key)) effects.push(key)
    return { json: { counted: effects.length } }
  })
  model.play(bySteps(TURNS))
})
afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.kill()))
})

/** The process that serves the function `api`. */
const apiProcess = (): number | undefined =>
  childrenOf(process.pid).find((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('functions/api/index.ts')
    } catch {
      return false // it has ended
    }
  })

/** A function that has ended often is started again after up to 30 seconds, and may take as long to listen. */
const RESTART_MS = 75_000
/** Starts a run, once the function answers again after the kill before. */
const beginRun = () => eventually(() => begin(member, agentId, { message: 'Count all five.' }), RESTART_MS)

const eventsOf = async (id: string): Promise<Json[]> =>
  (
    await stack.db.query<{ seq: number; payload: Json }>(
      'select seq, payload from ai.run_events where run_id = $1 order by seq',
      [id],
    )
  ).map(({ seq, payload }) => ({ ...payload, seq }))

async function expectOnce(runId: string): Promise<void> {
  const { id, ...run } = await eventually(async () => {
    const standing = await standingOf(stack, runId)
    expect(['completed', 'failed', 'cancelled']).toContain(standing['status'])
    return standing
  }, 30_000)
  expect(run).toMatchObject({ status: 'completed', error_code: null })
  const events = await eventsOf(id as string)
  expectWhole(events)
  expect(textOf(events)).toBe(run['content'])
  expect(run['content']).toBe(
    'Step one, counted. \n\nStep two, counted. \n\nStep three, counted. \n\nStep four, counted. \n\nStep five, counted. \n\nAll five are counted.',
  )
  for (const kind of ['tool_call', 'tool_result']) {
    const ids = events.filter(({ event }) => event === kind).map((event) => event['call_id'] as string)
    expect(new Set(ids).size, kind).toBe(CALLS)
    expect(ids, kind).toHaveLength(CALLS)
  }
  expect(effects.filter((key) => key.startsWith(runId))).toHaveLength(CALLS)
}

const EVERY = process.env['RUN_KILL_POINTS'] === 'all'
/** Events of such a run. */
const LAST = 35
const points = (few: number[]) => (EVERY ? Array.from({ length: LAST }, (_, at) => at + 1) : few)
if (!EVERY) console.log('Left out: most points at which a process is killed. Set RUN_KILL_POINTS=all to run them.')

/** Longer than all that a test waits for, each of which says what was missing. */
const LIMIT = { timeout: 240_000 }

describe.skipIf(process.platform !== 'linux')('Q02 killed with SIGKILL', () => {
  test.each(points([1, 28]))('the function, when event %i has been seen: the worker goes on', LIMIT, async (seq) => {
    effects = []
    await startWorker()
    const stream = await beginRun()
    const first = await stream.next()
    for (let event = first; event !== null && event['seq'] < seq; event = await stream.next());
    process.kill(apiProcess()!, 'SIGKILL')
    await stream.rest().catch(() => []) // it was cut
    await expectOnce(first!['run_id'])
  })

  test.each(points([20]))('the worker, when event %i is stored: another goes on', LIMIT, async (seq) => {
    effects = []
    const worker = await startWorker()
    const stream = await beginRun()
    const { run_id: runId } = (await stream.next())!
    process.kill(apiProcess()!, 'SIGKILL')
    await stream.rest().catch(() => [])
    await eventually(async () => {
      const standing = await standingOf(stack, runId)
      expect(standing['attempts']).toBeGreaterThan(0)
      expect((await eventsOf(standing['id'] as string)).length).toBeGreaterThanOrEqual(seq)
    }, 30_000)
    await worker.kill()
    await startWorker()
    await expectOnce(runId)
  })
})
if (process.platform !== 'linux') console.log('Left out: killing processes, which are found through /proc on Linux.')
