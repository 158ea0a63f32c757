import { beforeAll, describe, expect, it } from 'vitest'
import { eventually } from '../support/eventually.ts'
import { script } from '../support/scripted-model/index.ts'
import { useModel } from '../support/scripted-model/use-model.ts'
import { useStack } from '../support/stack.ts'
import { startApi } from './support/api-app.ts'
import type { ApiApp, ApiChanges } from './support/api-app.ts'
import { begin, bySteps, carryOn, expectWhole, expireLease, follow, standingOf } from './support/durable-run.ts'
import type { OpenStream } from './support/durable-run.ts'
import { HARBOR, serviceCaller, userCaller } from './support/http.ts'
import type { FunctionsCaller, Json } from './support/http.ts'

const userEnv: Record<string, string> = {}
const model = useModel(userEnv)
const stack = useStack({ userEnv })

let api: ApiApp
let member: FunctionsCaller
let person: FunctionsCaller
let admin: FunctionsCaller
let agentId = ''
let toolAgentId = ''
beforeAll(async () => {
  api = startApi(stack)
  member = await userCaller(stack, 'member@harbor.example')
  person = api.as(member)
  admin = api.as(await userCaller(stack, 'admin@harbor.example'))
  agentId = (await person.json(201, 'POST', '/api/agents', { json: { name: 'Plain' } }))['id']
  toolAgentId = (await person.json(201, 'POST', '/api/agents', { json: { name: 'Reader' } }))['id']
  await person.json(201, 'POST', `/api/agents/${toolAgentId}/tools`, {
    json: { tool_name: 'database_query', config_override: { schemas: { public: ['memories'] } } },
  })
})

const READING = [
  { text: 'Looking. ', toolCalls: [{ name: 'database_query', arguments: { query: 'select 1 as n from memories' } }] },
  { text: 'There is nothing.' },
]
const kinds = (events: Json[]) => events.map(({ event }) => event as string)
const isKind = (kind: string) => (event: Json) => event['event'] === kind
const streamOf = (caller: FunctionsCaller, runId: string, query = '', headers = {}) =>
  caller.send('GET', `/api/agents/runs/${runId}/stream${query}`, { headers })

/** A model that begins to speak and does not go on before it is told to. */
function stalling(...texts: string[]) {
  let goOn = () => {}
  const told = new Promise<void>((resolve) => (goOn = resolve))
  let pieces = 0
  model.play(script([{ text: texts, between: () => (pieces++ < 2 ? Promise.resolve() : told) }, { text: 'Next.' }]))
  return () => goOn()
}

/** Asserts that a stream ends by an `error` and a `complete` that are no part of the log, numbered after what came before. */
function expectFarewell(rest: Json[], code: string, end: object): void {
  expect(kinds(rest).filter((kind) => kind === 'complete' || kind === 'error')).toEqual(['error', 'complete'])
  const [error, complete] = rest.slice(-2)
  expect(error).toMatchObject({ event: 'error', code, error: expect.any(String), message: error!['error'] })
  expect(complete).toMatchObject({ event: 'complete', code, error: error!['error'], ...end })
  // Of no log: whoever reads on another time, after the last number they have, misses nothing.
  expect([error, complete]).toEqual([
    expect.not.objectContaining({ seq: expect.anything() }),
    expect.not.objectContaining({ seq: expect.anything() }),
  ])
}

/** Begins a run whose model does not go on by itself. */
async function stalled(
  json: object = {},
  caller = person,
): Promise<{ stream: OpenStream; runId: string; goOn: () => void }> {
  const goOn = stalling('Once ', 'upon ', 'a time.')
  const stream = await begin(caller, agentId, { message: 'Tell.', ...json })
  const seen = await stream.rest(isKind('content_delta'))
  return { stream, runId: seen[0]!['run_id'], goOn }
}

describe('the stream of a run', () => {
  it('can be cut after any event and read on: live or later, it is the same', async () => {
    model.play(bySteps(READING))
    const live = await (await begin(person, toolAgentId, { message: 'What is there?' })).rest()
    expectWhole(live)
    expect(kinds(live)).toContain('tool_result')
    const runId = live[0]!['run_id']
    for (let after = 0; after <= live.length; after++) {
      const later = await (await follow(person, runId, after)).rest()
      expect([...live.slice(0, after), ...later]).toEqual(live)
    }
    const withoutDeltas = (events: Json[]) => kinds(events).filter((kind) => !kind.endsWith('_delta'))
    const cutAfter = async (cut: number) => {
      const stream = await begin(person, toolAgentId, { message: 'What is there?' })
      const seen: Json[] = []
      while (seen.length < cut) seen.push((await stream.next())!)
      await stream.leave()
      const { run_id } = seen[0]!
      const joined = [...seen, ...(await (await follow(person, run_id, cut)).rest())]
      expectWhole(joined)
      expect(joined).toEqual(await (await follow(person, run_id)).rest())
      expect(withoutDeltas(joined)).toEqual(withoutDeltas(live))
    }
    await Promise.all(live.slice(1).map((_, at) => cutAfter(at + 1)))
  })

  it('numbers its events for browsers, which say where they were in a header', async () => {
    model.play(script([{ text: 'Yes.' }]))
    const posted = await begin(person, agentId, { message: 'x' })
    const live = await posted.rest()
    expect(posted.raw()).not.toMatch(/^(id|retry):/m)
    const response = await streamOf(person, live[0]!['run_id'])
    expect(response.headers.get('cache-control')).toContain('no-cache')
    const text = await response.text()
    expect(text.startsWith('retry: 1000\n\nid: 1\ndata: {')).toBe(true)
    expect([...text.matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id))).toEqual(live.map(({ seq }) => seq))
    const resumed = await streamOf(person, live[0]!['run_id'], '', { 'last-event-id': String(live.length - 1) })
    expect((await resumed.text()).match(/^data: /gm)).toHaveLength(1)
    const both = await streamOf(person, live[0]!['run_id'], `?after=${live.length}`, { 'last-event-id': '0' })
    expect(await both.text()).not.toContain('data: ')
    // A client that reconnects by itself repeats its address and says how far it has come.
    const again = await streamOf(person, live[0]!['run_id'], '?after=1', { 'last-event-id': String(live.length - 1) })
    expect((await again.text()).match(/^data: /gm)).toHaveLength(1)
  })

  it('is there for those who may read the run, and nobody else', async () => {
    model.play(script([{ text: 'Mine.' }]))
    const [start] = await (await begin(person, agentId, { message: 'x' })).rest()
    const path = `/api/agents/runs/${start!['run_id']}/stream`
    const stranger = api.as(await userCaller(stack, 'member@meridian.example'))
    for (const other of [admin, stranger]) {
      expect(await other.json(404, 'GET', path)).toMatchObject({ error: 'Run not found' })
      await other.json(404, 'POST', path.replace('/stream', '/cancel'))
    }
    await person.json(404, 'GET', '/api/agents/runs/run_000000000000/stream')
    await person.json(404, 'GET', '/api/agents/runs/nonsense/stream')
    for (const after of ['-1', 'x', '1.5']) await person.json(400, 'GET', `${path}?after=${after}`)
    expect((await streamOf(api.as(serviceCaller(stack)), start!['run_id'])).status).toBe(200)
  })

  it('shows a device that joins late what was and what comes', async () => {
    const { stream, runId, goOn } = await stalled()
    const second = await follow(person, runId)
    const seen = await second.rest(isKind('content_delta'))
    expect(kinds(seen)).toEqual(['start', 'content_delta'])
    goOn()
    const [first, rest] = await Promise.all([stream.rest(), second.rest()])
    expect(rest).toEqual(first)
    expectWhole([...seen, ...rest])
  })

  it('ends itself in time and says where to go on; the run goes on without it', async () => {
    const quick = startApi(stack, { runs: { streamLimitMs: 1000 } }).as(member)
    const { stream, runId, goOn } = await stalled({}, quick)
    const reading = await follow(quick, runId)
    const [posted, read] = await Promise.all([stream.rest(), reading.rest()])
    const end = {
      event: 'stream_end',
      type: 'stream_end',
      run_id: runId,
      after: expect.any(Number),
      reason: 'time_limit',
    }
    expect([posted.at(-1), read.at(-1)]).toEqual([end, end])
    expect(posted.at(-1)).not.toHaveProperty('seq')
    goOn()
    const rest = await (await follow(person, runId, posted.at(-1)!['after'])).rest()
    expect(rest.at(-1)).toMatchObject({ event: 'complete', status: 'completed', content: 'Once upon a time.' })
  })

  it('near its end hands the run over between two steps, and another executor goes on', async () => {
    const quick = startApi(stack, { runs: { streamLimitMs: 1200 } }).as(member)
    let slowly = () => new Promise<void>((resolve) => setTimeout(resolve, 1000))
    model.play(bySteps([{ ...READING[0], before: () => slowly() }, READING[1]!]))
    const stream = await begin(quick, toolAgentId, { message: 'What is there?' })
    const { run_id } = (await stream.next())!
    await eventually(async () => expect(await standingOf(stack, run_id)).toMatchObject({ status: 'pending' }))
    slowly = () => Promise.resolve()
    expect(await carryOn(api.deps, (await standingOf(stack, run_id))['id'])).toBe('ended')
    await stream.rest()
    const replay = await (await follow(person, run_id)).rest()
    expectWhole(replay)
    expect(replay.filter(isKind('step_started')).map(({ step }) => step)).toEqual([1, 2])
    expect(replay.at(-1)).toMatchObject({ status: 'completed', content: 'Looking. \n\nThere is nothing.' })
  })
})

describe('a stream that ends before its run', () => {
  /** The function with a viewer's token that can be made to expire. */
  function expiring() {
    const app = startApi(stack)
    const { clientFor } = app.deps
    let hasExpired = false
    app.deps.clientFor = (caller) =>
      clientFor({
        ...caller,
        get token() {
          return hasExpired ? 'an.expired.token' : caller.token
        },
      })
    return { as: app.as(member), expire: () => (hasExpired = true) }
  }

  it('because the token has expired says so, and can be read on with another one', async () => {
    const { as: leaving, expire } = expiring()
    const { stream, runId, goOn } = await stalled({ session_id: 'expiring' })
    const reading = await follow(leaving, runId)
    const { seq } = (await reading.rest(isKind('content_delta'))).at(-1)!
    const waiting = await begin(leaving, agentId, { message: 'And?', session_id: 'expiring' })
    expire()
    const [read, posted] = await Promise.all([reading.rest(), waiting.rest()])
    const end = { event: 'stream_end', type: 'stream_end', reason: 'token_expired' }
    expect(read).toEqual([{ ...end, run_id: runId, after: seq }])
    expect(posted).toEqual([{ ...end, run_id: expect.any(String), after: 0 }])
    goOn()
    await stream.rest()
    const rest = await (await follow(person, runId, seq)).rest()
    expect(rest.at(-1)).toMatchObject({ event: 'complete', content: 'Once upon a time.' })
    await carryOn(api.deps, (await standingOf(stack, posted[0]!['run_id']))['id'])
    const next = await (await follow(person, posted[0]!['run_id'])).rest()
    expectWhole(next)
  })

  it('because of a failure that nobody expects ends with error and complete; the run does not', async () => {
    model.play(bySteps([{ text: 'Said.' }]))
    const broken = startApi(stack, { ledger: { finishRun: () => Promise.resolve(false) } })
    broken.deps.log.info = (event) => {
      if (event === 'run_let_go') throw new Error('The disk is full: /var/canary.')
    }
    const stream = await begin(broken.as(member), agentId, { message: 'x' })
    const events = await stream.rest()
    const { run_id, session_id } = events[0]!
    expectFarewell(events, 'internal', { run_id, session_id, status: 'failed', content: '' })
    expect(stream.raw()).not.toContain('canary')
    expect(broken.logged.filter((line) => line.includes('run_crashed'))).toHaveLength(1)
    // Asked without a stream it is the envelope of an error, with the run.
    const refusal = await broken.as(member).json(500, 'POST', `/api/agents/${agentId}/run`, { json: { message: 'x' } })
    expect(refusal).toEqual({
      error: 'Something went wrong.',
      code: 'internal',
      run_id: expect.stringMatching(/^run_[0-9a-f]{12}$/),
      session_id: expect.any(String),
      request_id: expect.any(String),
    })
    for (const id of [run_id, refusal['run_id']]) {
      await expireLease(stack, id)
      expect(await carryOn(api.deps, (await standingOf(stack, id))['id'])).toBe('ended')
      expect(await standingOf(stack, id)).toMatchObject({ status: 'completed', content: 'Said.' })
    }
  })

  it('and is not begun once more by the same request, sent again', async () => {
    model.play(bySteps([{ text: 'Said.' }]))
    const broken = startApi(stack, { ledger: { finishRun: () => Promise.resolve(false) } })
    broken.deps.log.info = (event) => {
      if (event === 'run_let_go') throw new Error('The disk is full.')
    }
    const request = { json: { message: 'x' }, headers: { 'idempotency-key': crypto.randomUUID() } }
    const { run_id, session_id } = await broken.as(member).json(500, 'POST', `/api/agents/${agentId}/run`, request)
    const again = await person.json(202, 'POST', `/api/agents/${agentId}/run`, request)
    expect(again).toEqual({ run_id, session_id, status: 'running' })
    await expireLease(stack, run_id)
    expect(await carryOn(api.deps, (await standingOf(stack, run_id))['id'])).toBe('ended')
  })

  it('has its complete already where the failure comes after it', async () => {
    model.play(bySteps([{ text: 'Said.' }]))
    const broken = startApi(stack)
    broken.deps.log.info = (event) => {
      if (event === 'run_finished') throw new Error('The disk is full.')
    }
    const events = await (await begin(broken.as(member), agentId, { message: 'x' })).rest()
    expectWhole(events)
    const answer = await broken.as(member).json(200, 'POST', `/api/agents/${agentId}/run`, { json: { message: 'x' } })
    expect(answer).toMatchObject({ status: 'completed', content: 'Said.' })
    expect(broken.logged.filter((line) => line.includes('run_crashed'))).toHaveLength(2)
  })

  it('does not do so because the run cannot be taken up at once', async () => {
    const { stream, goOn } = await stalled({ session_id: 'away' })
    let failures = 0
    const { claimRun } = api.deps.ledger
    const shaky = startApi(stack, {
      ledger: {
        claimRun: (...claim) =>
          failures++ < 2 ? Promise.reject(new Error('The database is away.')) : claimRun(...claim),
      },
    })
    const waiting = await begin(shaky.as(member), agentId, { message: 'And?', session_id: 'away' })
    goOn()
    await stream.rest()
    const events = await waiting.rest()
    expect(failures).toBeGreaterThan(2)
    expectWhole(events)
    expect(events.at(-1)).toMatchObject({ status: 'completed', content: 'Next.' })
  })

  it('ends with complete also where the log is gone: what the run itself has kept', async () => {
    model.play(bySteps(READING))
    const live = await (await begin(person, toolAgentId, { message: 'What is there?' })).rest()
    const { run_id } = live[0]!
    const whole = live.at(-1)!
    await stack.db.query(
      'delete from ai.run_events where run_id = (select id from ai.agent_runs where agent_runs.run_id = $1)',
      [run_id],
    )
    const rest = await (await follow(person, run_id, 3)).rest()
    expect(rest).toHaveLength(1)
    const { event, status, content, session_id, usage, steps, error, seq } = whole
    expect(rest[0]).toMatchObject({ event, run_id, status, content, session_id, usage, steps, error, seq, from_seq: 4 })
    expect(rest[0]!['tool_calls']).toMatchObject([{ tool_name: 'database_query', result: expect.any(String) }])
    expect(await (await follow(person, run_id, seq)).rest()).toEqual([])
  })
})

describe('a run', () => {
  it('that is cancelled reaches the provider and ends as cancelled', async () => {
    const { stream, runId } = await stalled()
    const path = `/api/agents/runs/${runId}/cancel`
    expect(await person.json(200, 'POST', path)).toEqual({ run_id: runId, status: 'running' })
    const rest = await stream.rest()
    expect(kinds(rest).filter((kind) => kind === 'error')).toEqual([])
    expect(rest.at(-1)).toMatchObject({ event: 'complete', status: 'cancelled', error: null })
    expect(rest.at(-1)!['content']).toContain('Once')
    await eventually(() => expect(model.chats().at(-1)!.leftEarly).toBe(true))
    expect(await person.json(409, 'POST', path)).toMatchObject({ code: 'run_not_active' })
    expect(await person.json(200, 'GET', `/api/agents/runs/${runId}`)).toMatchObject({ status: 'cancelled' })
  })

  it('of somebody who is no longer a member stops with that reason, and their streams close', async () => {
    const email = 'viewer@harbor.example'
    const leaving = api.as(await userCaller(stack, email))
    const { stream, runId } = await stalled({}, leaving)
    const reading = await follow(leaving, runId)
    await reading.rest(isKind('content_delta'))
    const [row] = await stack.db.query<Json>(
      'delete from public.memberships where tenant_id = $1 and user_id = (select id from auth.users where email = $2) returning *',
      [HARBOR, email],
    )
    try {
      const [posted, read] = await Promise.all([stream.rest(), reading.rest()])
      const nothing = { content: '', status: 'failed', tool_calls: [], steps: 0, usage: { total_tokens: 0 } }
      expectFarewell(posted, 'membership_lost', { ...nothing, run_id: runId })
      expectFarewell(read, 'not_found', { ...nothing, run_id: runId, session_id: posted.at(-1)!['session_id'] })
      // Not even what had been said when they left, and no number that the log of the run gives to another event of theirs.
      expect(JSON.stringify([posted, read])).not.toContain('time.')
      await eventually(async () =>
        expect(await standingOf(stack, runId)).toMatchObject({ status: 'failed', error_code: 'membership_lost' }),
      )
      await leaving.json(404, 'GET', `/api/agents/runs/${runId}/stream`)
    } finally {
      await stack.db.query('insert into public.memberships (tenant_id, user_id, role) values ($1, $2, $3)', [
        HARBOR,
        row!['user_id'],
        row!['role'],
      ])
    }
  })

  it('of an agent that is unpublished stops, and none begins before it is published again', async () => {
    const { stream, runId } = await stalled()
    expect(await person.json(200, 'PATCH', `/api/agents/${agentId}`, { json: { published: false } })).toMatchObject({
      published: false,
    })
    const rest = await stream.rest()
    expect(rest.at(-1)).toMatchObject({ event: 'complete', status: 'failed', code: 'agent_unpublished' })
    expect(await standingOf(stack, runId)).toMatchObject({ error_code: 'agent_unpublished' })
    const refusal = await person.json(409, 'POST', `/api/agents/${agentId}/run`, { json: { message: 'x' } })
    expect(refusal).toMatchObject({ code: 'agent_unpublished' })
    await person.json(200, 'PATCH', `/api/agents/${agentId}`, { json: { published: true } })
    model.play(script([{ text: 'Again.' }]))
    expect(await person.json(200, 'POST', `/api/agents/${agentId}/run`, { json: { message: 'x' } })).toMatchObject({
      content: 'Again.',
    })
  })

  it('in the background is accepted at once and carried out by another process', async () => {
    model.play(script([{ text: 'Done later.' }]))
    const json = { message: 'x', background: true }
    const accepted = await person.json(202, 'POST', `/api/agents/${agentId}/run`, { json })
    expect(accepted).toEqual({ run_id: expect.any(String), session_id: expect.any(String), status: 'pending' })
    const { id, status } = await standingOf(stack, accepted['run_id'])
    expect(status).toBe('pending')
    expect((await api.deps.ledger.dueRuns(50)).map((due) => due.id)).toContain(id)
    expect(await carryOn(api.deps, id)).toBe('ended')
    const events = await (await follow(person, accepted['run_id'])).rest()
    expectWhole(events)
    expect(events.at(-1)).toMatchObject({ content: 'Done later.', session_id: accepted['session_id'] })
    await person.json(400, 'POST', `/api/agents/${agentId}/run/stream`, { json })
  })

  it('whose model meets an end of its budget of time still tells its whole story', async () => {
    const { stream } = await stalled({ timeout_seconds: 1 })
    expect((await stream.rest()).at(-1)).toMatchObject({ status: 'failed', code: 'upstream_timeout' })
  })
})

describe('a second run of a session', () => {
  const second = (session_id: string, multitask_strategy?: string) =>
    begin(person, agentId, { message: 'And?', session_id, ...(multitask_strategy ? { multitask_strategy } : {}) })

  it('waits for the first, with its answer in the history', async () => {
    const { stream, goOn } = await stalled({ session_id: 'queued' })
    const waiting = await second('queued')
    await eventually(async () => {
      const rows = await stack.db.query<Json>(
        `select status from ai.agent_runs where session_id = (select id from ai.agent_sessions where session_id = 'queued') order by created_at`,
      )
      expect(rows.map(({ status }) => status)).toEqual(['running', 'pending'])
    })
    goOn()
    expect((await stream.rest()).at(-1)).toMatchObject({ content: 'Once upon a time.' })
    const events = await waiting.rest()
    expectWhole(events)
    expect(events.at(-1)).toMatchObject({ content: 'Next.', is_new_session: false })
    expect(JSON.stringify(model.chats().at(-1)!.body['messages'])).toContain('Once upon a time.')
  })

  it('is refused where the caller says so', async () => {
    const { stream, goOn } = await stalled({ session_id: 'busy' })
    const json = { message: 'And?', session_id: 'busy', multitask_strategy: 'reject' }
    expect(await person.json(409, 'POST', `/api/agents/${agentId}/run`, { json })).toMatchObject({
      code: 'session_busy',
    })
    await person.json(400, 'POST', `/api/agents/${agentId}/run`, { json: { ...json, multitask_strategy: 'push' } })
    goOn()
    await stream.rest()
  })

  it.each(['interrupt', 'rollback'])('takes the place of the first: %s', async (strategy) => {
    const { stream, runId } = await stalled({ session_id: strategy })
    const next = await second(strategy, strategy)
    expect((await stream.rest()).at(-1)).toMatchObject({ status: 'cancelled' })
    expect((await next.rest()).at(-1)).toMatchObject({ status: 'completed', content: 'Next.' })
    const [row] = await stack.db.query<Json>('select rolled_back from ai.agent_runs where run_id = $1', [runId])
    expect(row!['rolled_back']).toBe(strategy === 'rollback')
  })
})

it('an answer that waits for its turn longer than a request may is accepted, not lost', async () => {
  const { stream, goOn } = await stalled({ session_id: 'long' })
  const changes: ApiChanges = { runs: { streamLimitMs: 1000 } }
  const quick = startApi(stack, changes).as(member)
  const accepted = await quick.json(202, 'POST', `/api/agents/${agentId}/run`, {
    json: { message: 'And?', session_id: 'long' },
  })
  goOn()
  await stream.rest()
  await carryOn(api.deps, (await standingOf(stack, accepted['run_id']))['id'])
  expect(await person.json(200, 'GET', `/api/agents/runs/${accepted['run_id']}`)).toMatchObject({ content: 'Next.' })
})
