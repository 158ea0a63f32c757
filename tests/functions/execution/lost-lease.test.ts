import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { eventually } from '../../support/eventually.ts'
import { script } from '../../support/scripted-model/index.ts'
import type { ScriptedModel } from '../../support/scripted-model/index.ts'
import { useStack } from '../../support/stack.ts'
import { startApi } from '../support/api-app.ts'
import type { ApiApp } from '../support/api-app.ts'
import { begin, bySteps, carryOn, expectWhole, expireLease, follow, standingOf } from '../support/durable-run.ts'
import { useModelAndEndpoint } from '../support/model-and-endpoint.ts'
import type { Endpoint } from '../support/endpoint.ts'
import { userCaller } from '../support/http.ts'
import type { FunctionsCaller, Json } from '../support/http.ts'

// An executor that lives and has lost its lease all the same, in the middle of a long call of a tool; and clocks that are set.

const userEnv: Record<string, string> = {}
let model: ScriptedModel
let endpoint: Endpoint
useModelAndEndpoint(userEnv, (both) => void ({ model, endpoint } = both))
const stack = useStack({ userEnv })

let api: ApiApp
let person: FunctionsCaller
let plainAgent = ''
const agents: Record<string, string> = {}
beforeAll(async () => {
  api = startApi(stack)
  person = api.as(await userCaller(stack, 'member@harbor.example'))
  plainAgent = (await person.json(201, 'POST', '/api/agents', { json: { name: 'Plain' } }))['id']
  const admin = api.as(await userCaller(stack, 'admin@harbor.example'))
  for (const [name, config] of Object.entries({ count_safely: { retry_safe: true }, count_once: {} })) {
    const tool = await admin.json(201, 'POST', '/api/tools', {
      json: {
        name,
        description: 'Counts an item.',
        type: 'http',
        input_schema: { type: 'object', properties: { item: { type: 'string' } } },
        config: { endpoint: `${endpoint.url}/count`, method: 'POST', session_token: false, ...config },
      },
    })
    const agent = await admin.json(201, 'POST', '/api/agents', { json: { name } })
    await admin.json(201, 'POST', `/api/agents/${agent['id']}/tools`, {
      json: { tool_type: 'custom', tool_name: name, tool_id: tool['id'], config_override: { untrusted: 'allow' } },
    })
    agents[name] = agent['id']
  }
})

const ofKind = (events: Json[], kind: string) => events.filter(({ event }) => event === kind)

describe('a lease that is lost during a long call of a tool', () => {
  let answerFirst = () => {}
  beforeEach(() => {
    endpoint.received.length = 0
    const told = new Promise<void>((resolve) => (answerFirst = resolve))
    endpoint.answerWith(async () => {
      const place = endpoint.received.length
      if (place === 1) await told
      return { json: { answered: place } }
    })
  })
  afterEach(() => answerFirst())

  /** Begins a run whose call hangs, and lets another executor be quicker than the heartbeat of the first. */
  async function takenOver(name: string, end: string) {
    model.play(bySteps([{ toolCalls: [{ name, arguments: { item: 'one' } }] }, { text: 'Counted.' }]))
    const stream = await begin(person, agents[name]!, { message: 'Count.' })
    const start = (await stream.next())!
    await eventually(() => expect(endpoint.received).toHaveLength(1))
    const { id } = await standingOf(stack, start['run_id'])
    await eventually(async () => {
      await expireLease(stack, start['run_id'])
      expect(await carryOn(startApi(stack).deps, id)).toBe(end)
    })
    return { stream, start, id, runId: start['run_id'] as string }
  }

  it('that may be repeated: it is made again under the same key, and what the first brings back is not written', async () => {
    const { stream, start, runId } = await takenOver('count_safely', 'ended')
    answerFirst()
    const seen = [start, ...(await stream.rest())]
    expectWhole(seen)
    expect(seen.at(-1)).toMatchObject({ status: 'completed', content: 'Counted.' })
    const keys = endpoint.received.map(({ headers }) => String(headers['idempotency-key']))
    expect(keys).toHaveLength(2)
    expect(new Set(keys).size).toBe(1)
    const results = ofKind(seen, 'tool_result')
    expect(results).toHaveLength(1)
    expect(results[0]!['result']).toContain('"answered":2')
    expect(await (await follow(person, runId)).rest()).toEqual(seen)
  })

  it('that may not be repeated: a person is asked, and what the first brings back decides nothing', async () => {
    const { stream, start, id, runId } = await takenOver('count_once', 'waiting')
    answerFirst()
    const seen = [start, ...(await stream.rest(({ event }) => event === 'call_interrupted'))]
    expect(ofKind(seen, 'tool_result')).toEqual([])
    const call = seen.at(-1)!['call_id']
    expect(await standingOf(stack, runId)).toMatchObject({ status: 'waiting', wait_reason: 'unsafe_call' })
    await person.json(200, 'POST', `/api/agents/runs/${runId}/calls/${call}/decide`, { json: { decision: 'skip' } })
    await carryOn(api.deps, id)
    await stream.rest()
    const replay = await (await follow(person, runId)).rest()
    expectWhole(replay)
    expect(replay.at(-1)).toMatchObject({ status: 'completed', content: 'Counted.' })
    expect(JSON.stringify(replay)).not.toContain('answered')
    expect(endpoint.received).toHaveLength(1)
  })
})

describe('a clock that is set', () => {
  const HOUR = 3_600_000
  /** A run whose model has begun to speak, and what lets it go on. */
  async function speaking(session_id: string) {
    let goOn = () => {}
    const told = new Promise<void>((resolve) => (goOn = resolve))
    let pieces = 0
    model.play(
      script([
        { text: ['Once ', 'upon ', 'a time.'], between: () => (pieces++ < 2 ? Promise.resolve() : told) },
        { text: 'Next.' },
      ]),
    )
    const stream = await begin(person, plainAgent, { message: 'Tell.', session_id })
    const seen = await stream.rest(({ event }) => event === 'content_delta')
    const runId = seen[0]!['run_id'] as string
    return { stream, seen, runId, goOn: () => goOn() }
  }

  it.each([
    ['forward', HOUR],
    ['back', -HOUR],
  ])('%s by an hour where a run is carried out: the run ends once, and no event is lost', async (name, ms) => {
    const { stream, seen, runId, goOn } = await speaking(`executor-${name}`)
    const real = Date.now.bind(Date)
    const clock = vi.spyOn(Date, 'now').mockImplementation(() => real() + ms)
    try {
      goOn()
      seen.push(...(await stream.rest()))
    } finally {
      clock.mockRestore()
    }
    const { id, status } = await standingOf(stack, runId)
    // One that was put down before its time goes on elsewhere.
    if (status === 'pending') expect(await carryOn(api.deps, id)).toBe('ended')
    const replay = await (await follow(person, runId)).rest()
    expectWhole(replay)
    expect(replay.at(-1)).toMatchObject({ status: 'completed', content: 'Once upon a time.' })
    const numbered = seen.filter(({ seq }) => seq !== undefined)
    expect(numbered).toEqual(replay.slice(0, numbered.length))
  })

  it('back again and again where a stream is read: it ends after as long as was said', async () => {
    const { stream, seen, runId, goOn } = await speaking('reader')
    const reader = startApi(stack, { runs: { streamLimitMs: 1000 } }).as(
      await userCaller(stack, 'member@harbor.example'),
    )
    const reading = await follow(reader, runId)
    // By so little that tokens stay valid.
    const now = Date.now()
    const clock = vi.spyOn(Date, 'now').mockImplementation(() => now)
    try {
      expect((await reading.rest()).at(-1)).toMatchObject({ event: 'stream_end', reason: 'time_limit' })
    } finally {
      clock.mockRestore()
      goOn()
    }
    expect([...seen, ...(await stream.rest())].at(-1)).toMatchObject({ event: 'complete' })
  })

  it('forward by an hour in the database: whoever is quicker has the run, and the other writes nothing', async () => {
    const { stream, seen, runId, goOn } = await speaking('database-forward')
    const { id } = await standingOf(stack, runId)
    await eventually(async () => {
      await stack.db.query(
        `update ai.agent_runs set lease_expires_at = now() - interval '1 hour' where id = $1 and status = 'running'`,
        [id],
      )
      expect(await carryOn(startApi(stack).deps, id)).toBe('ended')
    })
    goOn()
    const replay = await (await follow(person, runId)).rest()
    expectWhole(replay)
    expect([...seen, ...(await stream.rest())]).toEqual(replay)
    expect(replay.at(-1)).toMatchObject({ status: 'completed', content: 'Next.' })
  })

  it('back by an hour in the database: the run goes on, and the next of its session comes after it', async () => {
    const { stream, seen, runId, goOn } = await speaking('database-back')
    // As if all that is known of it had been written an hour from now.
    await stack.db.query(
      `update ai.agent_runs
       set lease_expires_at = lease_expires_at + interval '1 hour', created_at = created_at + interval '1 hour', started_at = started_at + interval '1 hour'
       where run_id = $1`,
      [runId],
    )
    await stack.db.query(
      `update ai.run_events set created_at = created_at + interval '1 hour' where run_id = (select id from ai.agent_runs where agent_runs.run_id = $1)`,
      [runId],
    )
    const second = await begin(person, plainAgent, { message: 'And?', session_id: 'database-back' })
    await eventually(async () => {
      const rows = await stack.db.query<Json>(
        `select status from ai.agent_runs where session_id = (select id from ai.agent_sessions where session_id = 'database-back') order by created_at`,
      )
      expect(rows.map(({ status }) => status)).toEqual(['running', 'pending'])
    })
    goOn()
    seen.push(...(await stream.rest()))
    expectWhole(seen)
    expect(seen.at(-1)).toMatchObject({ status: 'completed', content: 'Once upon a time.' })
    const events = await second.rest()
    expectWhole(events)
    expect(events.at(-1)).toMatchObject({ status: 'completed', content: 'Next.' })
    expect(JSON.stringify(model.chats().at(-1)!.body['messages'])).toContain('Once upon a time.')
  })
})
