import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { startApi } from '../functions/support/api-app.ts'
import type { ApiApp } from '../functions/support/api-app.ts'
import { begin, bySteps, expectWhole, follow, standingOf } from '../functions/support/durable-run.ts'
import { userCaller } from '../functions/support/http.ts'
import type { FunctionsCaller, Json } from '../functions/support/http.ts'
import { eventually } from '../support/eventually.ts'
import { script } from '../support/scripted-model/index.ts'
import { useModel } from '../support/scripted-model/use-model.ts'
import { useStack } from '../support/stack.ts'
import { startRunExecutor } from '../../worker/run-executor.ts'
import { spawnWorker, type WorkerUnderTest } from './ingestion-support.ts'

const userEnv: Record<string, string> = { RUN_LEASE_SECONDS: '1', WORKER_RUN_SECONDS: '0.3' }
const model = useModel(userEnv)
const stack = useStack({ userEnv })

let api: ApiApp
let person: FunctionsCaller
let agentId = ''
let toolAgentId = ''
beforeAll(async () => {
  api = startApi(stack)
  person = api.as(await userCaller(stack, 'member@harbor.example'))
  agentId = (await person.json(201, 'POST', '/api/agents', { json: { name: 'Plain' } }))['id']
  toolAgentId = (await person.json(201, 'POST', '/api/agents', { json: { name: 'Reader' } }))['id']
  await person.json(201, 'POST', `/api/agents/${toolAgentId}/tools`, {
    json: { tool_name: 'database_query', config_override: { schemas: { public: ['memories'] } } },
  })
})

const inBackground = async (message = 'x'): Promise<string> =>
  (await person.json(202, 'POST', `/api/agents/${agentId}/run`, { json: { message, background: true } }))['run_id']
const logOf = async (runId: string): Promise<Json[]> => (await follow(person, runId)).rest()
const quiet = { info: () => {}, error: () => {} }
const executor = (places: number, lookMs = 100) => startRunExecutor({ deps: api.deps, places, lookMs, log: quiet })

describe('the executor of runs', () => {
  it('takes up what is due, no more than it has places, and all of it', async () => {
    let now = 0
    let most = 0
    let goOn = () => {}
    const told = new Promise<void>((resolve) => (goOn = resolve))
    model.play(async () => {
      most = Math.max(most, ++now)
      await told
      now--
      return { text: 'Done.' }
    })
    const runs = [await inBackground(), await inBackground(), await inBackground()]
    const running = executor(2)
    await eventually(() => expect(now).toBe(2))
    goOn()
    for (const run of runs) expect((await logOf(run)).at(-1)).toMatchObject({ status: 'completed', content: 'Done.' })
    expect(most).toBe(2)
    await running.stop(1000)
  })

  it('takes up what it is offered at once where its tenant has no run and a place is free', async () => {
    let goOn = () => {}
    const told = new Promise<void>((resolve) => (goOn = resolve))
    model.play(async () => {
      await told
      return { text: 'Done.' }
    })
    // Nothing is found by looking.
    const ledger = { ...api.deps.ledger, dueRuns: () => Promise.resolve([]) }
    const deps = { ...api.deps, ledger }
    const running = startRunExecutor({ deps, places: 1, hasSpare: true, lookMs: 60_000, log: quiet })
    const ids = async (runId: string) => {
      const rows = await stack.db.query<{ id: string; tenant_id: string }>(
        'select id, tenant_id from ai.agent_runs where run_id = $1',
        [runId],
      )
      return rows[0]!
    }
    const [first, second] = [await inBackground(), await inBackground()]
    running.offer(await ids(first))
    await eventually(async () => expect(await standingOf(stack, first)).toMatchObject({ status: 'running' }))
    running.offer(await ids(second)) // there is a place, but only for others
    const offered = await person.json(202, 'POST', `/api/agents/${agentId}/run`, {
      json: { message: 'x', background: true },
    })
    // Of another tenant, as far as the queue says. What runs already is not taken again.
    running.offer({ id: (await ids(first)).id, tenant_id: agentId })
    running.offer({ id: (await ids(offered['run_id'])).id, tenant_id: agentId })
    await eventually(async () =>
      expect(await standingOf(stack, offered['run_id'])).toMatchObject({ status: 'running' }),
    )
    expect(await standingOf(stack, second)).toMatchObject({ status: 'pending' })
    goOn()
    for (const run of [first, offered['run_id']])
      expect((await logOf(run)).at(-1)).toMatchObject({ status: 'completed', content: 'Done.' })
    running.offer(await ids(second))
    expect((await logOf(second)).at(-1)).toMatchObject({ status: 'completed', content: 'Done.' })
    await running.stop(1000)
  })

  it('that stops hands its runs over between two steps', async () => {
    let goOn = () => {}
    const told = new Promise<void>((resolve) => (goOn = resolve))
    const turns = [
      { toolCalls: [{ name: 'database_query', arguments: { query: 'select 1 as n from memories' } }] },
      { text: 'Read.' },
    ]
    model.play(bySteps([{ ...turns[0]!, before: () => told }, turns[1]!]))
    const stream = await begin(person, toolAgentId, { message: 'x' })
    const { run_id } = (await stream.next())!
    const { id } = await standingOf(stack, run_id)
    // Taken from the function that began it.
    await stack.db.query(
      `update ai.agent_runs set lease_token = gen_random_uuid(), lease_expires_at = now() where id = $1`,
      [id],
    )
    const first = executor(1)
    await eventually(async () =>
      expect(await standingOf(stack, run_id)).toMatchObject({ status: 'running', attempts: 2 }),
    )
    const stopped = first.stop(10_000)
    goOn()
    await stopped
    expect(await standingOf(stack, run_id)).toMatchObject({ status: 'pending' })
    const second = executor(1)
    const seen = await logOf(run_id)
    expectWhole(seen)
    expect(seen.at(-1)).toMatchObject({ status: 'completed', content: 'Read.', steps: 2 })
    expect(seen.filter(({ event }) => event === 'tool_result')).toHaveLength(1)
    await stream.rest()
    await second.stop(1000)
  })

  it('that may not wait any longer lets go at once', async () => {
    const asked = model.chats().length
    model.play(script([{ text: 'Never.', before: () => new Promise(() => {}) }, { text: 'At last.' }]))
    const run = await inBackground()
    const first = executor(1)
    await eventually(() => expect(model.chats()).toHaveLength(asked + 1))
    await first.stop(10)
    expect(await standingOf(stack, run)).toMatchObject({ status: 'pending' })
    const second = executor(1)
    expect((await logOf(run)).at(-1)).toMatchObject({ content: 'At last.' })
    await second.stop(1000)
  })

  it('ends a run whose agent is gone, and goes on with the next', async () => {
    model.play(script([{ text: 'Next.' }]))
    const doomed = await person.json(201, 'POST', '/api/agents', { json: { name: 'Doomed' } })
    const json = { message: 'x', background: true }
    const { run_id } = await person.json(202, 'POST', `/api/agents/${doomed['id']}/run`, { json })
    await stack.db.query('update private.run_requests set request = $1 where run_id = $2', [
      { message: '' },
      (await standingOf(stack, run_id))['id'],
    ])
    const next = await inBackground()
    const running = executor(1)
    const events = await logOf(run_id)
    expectWhole(events)
    expect(events.map(({ event }) => event)).toEqual(['start', 'error', 'complete'])
    expect(events.at(-1)).toMatchObject({ status: 'failed', code: 'invalid_request' })
    expect((await logOf(next)).at(-1)).toMatchObject({ content: 'Next.' })
    await running.stop(1000)
  })
})

describe('the worker process', () => {
  const workers: WorkerUnderTest[] = []
  const start = async (env: Record<string, string> = {}) => {
    const worker = await spawnWorker(stack, env)
    workers.push(worker)
    return worker
  }
  afterEach(async () => {
    await Promise.all(workers.splice(0).map((worker) => worker.kill()))
  })

  it('carries out runs, and another one those of a worker that was killed', async () => {
    let hasBegun = false
    model.play(() => {
      if (hasBegun) return { text: 'A whole answer.' }
      hasBegun = true
      return { text: ['Half an ', 'answer'], between: () => new Promise((resolve) => setTimeout(resolve, 60_000)) }
    })
    const first = await start()
    const run = await inBackground()
    await eventually(() => expect(hasBegun).toBe(true))
    await first.kill()
    const second = await start()
    const events = await logOf(run)
    expectWhole(events)
    expect(events.at(-1)).toMatchObject({ status: 'completed', content: 'A whole answer.' })
    expect(second.lines.filter(({ event }) => event === 'run_taken_up')).toMatchObject([
      { run_id: run, is_resumed: true },
    ])
    // Its last line is written when the log has its last event already.
    await eventually(() =>
      expect(second.lines.filter(({ event }) => event === 'run_finished')).toMatchObject([{ run_id: run }]),
    )
    expect(second.output()).not.toContain('whole answer')
  })

  it('that lacks the settings for it says so, and takes none up', async () => {
    const worker = await start({ BULKHEAD_SIGNING_JWK: '' })
    expect(worker.lines.find(({ event }) => event === 'runs_not_carried_out')).toMatchObject({
      level: 'error',
      error: expect.stringContaining('BULKHEAD_SIGNING_JWK'),
    })
  })
})
