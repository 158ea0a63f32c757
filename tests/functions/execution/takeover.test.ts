import { beforeAll, describe, expect, it } from 'vitest'
import { takeUp } from '../../../supabase/functions/_shared/execution/drive.ts'
import { executeRun } from '../../../supabase/functions/_shared/execution/execution.ts'
import type { RunNote } from '../../../supabase/functions/_shared/run-ledger.ts'
import { eventually } from '../../support/eventually.ts'
import { script } from '../../support/scripted-model/index.ts'
import type { ScriptedModel } from '../../support/scripted-model/index.ts'
import { useStack } from '../../support/stack.ts'
import { startApi } from '../support/api-app.ts'
import type { ApiApp, ApiChanges } from '../support/api-app.ts'
import {
  begin,
  bySteps,
  carryOn,
  dyingLedger,
  expectWhole,
  expireLease,
  follow,
  standingOf,
  textOf,
} from '../support/durable-run.ts'
import { useModelAndEndpoint } from '../support/model-and-endpoint.ts'
import type { Endpoint } from '../support/endpoint.ts'
import { userCaller } from '../support/http.ts'
import type { FunctionsCaller, Json } from '../support/http.ts'

const userEnv: Record<string, string> = {}
let model: ScriptedModel
let endpoint: Endpoint
useModelAndEndpoint(userEnv, (both) => void ({ model, endpoint } = both))
const stack = useStack({ userEnv })

let healthy: ApiApp
let member: FunctionsCaller
let person: FunctionsCaller
let safeAgent = ''
let unsafeAgent = ''
/** Effects of the endpoint: a call with a key that it has seen before has none. */
let effects: string[] = []

const CALLS = [
  { toolCalls: [{ name: 'count_safely', arguments: { item: 'one' } }], text: 'First. ' },
  { toolCalls: [{ name: 'count_safely', arguments: { item: 'two' } }], text: 'Second. ' },
  { text: 'Both are counted.' },
]

beforeAll(async () => {
  healthy = startApi(stack)
  member = await userCaller(stack, 'member@harbor.example')
  person = healthy.as(member)
  const admin = healthy.as(await userCaller(stack, 'admin@harbor.example'))
  const agentWith = async (name: string, config: object) => {
    const input_schema = { type: 'object', properties: { item: { type: 'string' } }, required: ['item'] }
    const tool = await admin.json(201, 'POST', '/api/tools', {
      json: {
        name,
        description: 'Counts an item.',
        type: 'http',
        input_schema,
        config: { endpoint: `${endpoint.url}/count`, method: 'POST', session_token: false, ...config },
      },
    })
    const agent = await admin.json(201, 'POST', '/api/agents', { json: { name } })
    await admin.json(201, 'POST', `/api/agents/${agent['id']}/tools`, {
      json: { tool_type: 'custom', tool_name: name, tool_id: tool['id'], config_override: { untrusted: 'allow' } },
    })
    return agent['id'] as string
  }
  safeAgent = await agentWith('count_safely', { retry_safe: true })
  unsafeAgent = await agentWith('count_once', {})
  endpoint.answerWith(async ({ headers, path }) => {
    if (path === '/over') await new Promise((resolve) => setTimeout(resolve, 300))
    const key = String(headers['idempotency-key'])
    if (!effects.includes(key)) effects.push(key)
    return { json: { counted: effects.length } }
  })
})

/** The function in another process, and what it did not live to do. */
const another = (changes: ApiChanges = {}) => startApi(stack, changes)

const callIds = (events: Json[], kind: string) =>
  events.filter(({ event }) => event === kind).map((event) => event['call_id'] as string)

describe('an executor that dies', () => {
  it('at any event of a run is replaced: nothing is lost, repeated or told twice', async () => {
    model.play(bySteps(CALLS))
    const whole = await begin(person, safeAgent, { message: 'Count.' })
    const all = await whole.rest()
    expectWhole(all)
    expect(all.at(-1)).toMatchObject({ status: 'completed', content: 'First. \n\nSecond. \n\nBoth are counted.' })

    let deaths = 0
    for (let most = 0; most < all.length; most++) {
      effects = []
      const dying = dyingLedger(healthy.deps.ledger, most)
      const [before] = await stack.db.query<{ ids: string[] }>('select array_agg(id::text) as ids from ai.agent_runs')
      const stream = await begin(another({ ledger: dying.ledger }).as(member), safeAgent, { message: 'Count.' })
      let isDead = false
      void dying.died.then(() => (isDead = true))
      const { run_id, status } = await eventually(async () => {
        // Not the latest one: as long as this one is not there that is the one before, which is over.
        const [its] = await stack.db.query<{ run_id: string; status: string }>(
          'select run_id, status from ai.agent_runs where id::text <> all ($1)',
          [before!.ids],
        )
        expect(its && (isDead || its.status === 'completed')).toBe(true)
        return its!
      }, 60_000)
      // Pieces of text that came together have made fewer events of this run than of the first.
      if (status === 'completed') {
        await stream.rest()
        continue
      }
      deaths++
      await expireLease(stack, run_id)
      const { id } = await standingOf(stack, run_id)
      expect(await carryOn(healthy.deps, id), `killed after event ${most}`).toBe('ended')

      const replay = await (await follow(person, run_id)).rest()
      expectWhole(replay)
      expect(
        effects.map((key) => key.startsWith(run_id)),
        `killed after event ${most}`,
      ).toEqual([true, true])
      expect(replay.at(-1)).toMatchObject({ status: 'completed', content: all.at(-1)!['content'], steps: 3 })
      expect(replay.at(-1)!['tool_calls']).toHaveLength(2)
      expect(textOf(replay)).toBe(all.at(-1)!['content'])
      for (const kind of ['tool_call', 'tool_result']) {
        expect(new Set(callIds(replay, kind)).size, `${kind}, killed after event ${most}`).toBe(2)
        expect(callIds(replay, kind)).toHaveLength(2)
      }
      expect(replay.filter(({ event }) => event === 'chunk')).toHaveLength(1)
      const stored = await person.json(200, 'GET', `/api/agents/runs/${run_id}`)
      expect(stored['usage']).toEqual(replay.at(-1)!['usage'])
      expect(stored['usage'].total_tokens).toBeGreaterThan(0)
      expect(stored['tool_calls']).toHaveLength(2)
      expect(stored['steps']).toHaveLength(3)

      // Whoever was watching sees the rest of the same log, and nothing twice.
      dying.bury()
      const seen = await stream.rest()
      expect(seen).toEqual(replay)
    }
    expect(deaths).toBeGreaterThan(all.length / 2)
    // Some twenty runs, each carried out twice.
  }, 240_000)

  it('during the only call of a model without tools is replaced, and the half answer taken back', async () => {
    const { id: agentId } = await person.json(201, 'POST', '/api/agents', { json: { name: 'Plain' } })
    model.play(script([{ text: ['Half an ', 'answer'] }, { text: 'A whole answer.' }]))
    const dying = dyingLedger(healthy.deps.ledger, 2)
    const stream = await begin(another({ ledger: dying.ledger }).as(member), agentId, { message: 'Say it.' })
    const start = await stream.next()
    await dying.died
    await expireLease(stack, start!['run_id'])
    expect(await carryOn(healthy.deps, (await standingOf(stack, start!['run_id']))['id'])).toBe('ended')
    const replay = await (await follow(person, start!['run_id'])).rest()
    expectWhole(replay)
    expect(textOf(replay)).toBe('A whole answer.')
    expect(replay.at(-1)).toMatchObject({ content: 'A whole answer.', status: 'completed' })
    // What the provider was asked for the half answer counts too, estimated.
    const used = await stack.db.query<{ is_estimate: boolean; total_tokens: number }>(
      `select is_estimate, usage_entries.total_tokens::int from ai.usage_entries join ai.agent_runs on agent_runs.id = usage_entries.run_id
       where agent_runs.run_id = $1 order by usage_entries.created_at`,
      [start!['run_id']],
    )
    expect(used.map(({ is_estimate }) => is_estimate)).toEqual([true, false])
    expect(used.every(({ total_tokens }) => total_tokens > 0)).toBe(true)
    expect(replay.at(-1)!['usage'].total_tokens).toBe(used[0]!.total_tokens + used[1]!.total_tokens)
    dying.bury()
    await stream.rest()
  })

  it.each([
    ['retry', 2, 'completed', 'Counted.'],
    ['skip', 1, 'completed', 'Counted.'],
    ['fail', 1, 'failed', ''],
  ])(
    'during a call that may not be repeated leaves it to a person, who says %s',
    async (decision, calls, status, content) => {
      model.play(bySteps([{ toolCalls: [{ name: 'count_once', arguments: { item: 'one' } }] }, { text: 'Counted.' }]))
      endpoint.received.length = 0
      const dying = dyingLedger(healthy.deps.ledger, 3)
      // start, step_started, tool_call: the result is what it does not live to tell.
      const stream = await begin(another({ ledger: dying.ledger }).as(member), unsafeAgent, { message: 'Count.' })
      const { run_id } = (await stream.next())!
      await dying.died
      await expireLease(stack, run_id)
      const { id } = await standingOf(stack, run_id)
      expect(await carryOn(healthy.deps, id)).toBe('waiting')
      expect(await standingOf(stack, run_id)).toMatchObject({ status: 'waiting', wait_reason: 'unsafe_call' })
      expect(await carryOn(healthy.deps, id)).toBeNull()

      const live = await follow(person, run_id)
      const [asked] = (await live.rest(({ event }) => event === 'call_interrupted')).slice(-1)
      expect(asked).toMatchObject({ tool_name: 'count_once', call_id: expect.any(String), arguments: { item: 'one' } })
      const path = `/api/agents/runs/${run_id}/calls/${asked!['call_id']}/decide`
      const stranger = healthy.as(await userCaller(stack, 'member@meridian.example'))
      await stranger.json(404, 'POST', path, { json: { decision } })
      await person.json(400, 'POST', path, { json: { decision: 'perhaps' } })
      await person.json(200, 'POST', path, { json: { decision } })
      await person.json(404, 'POST', path, { json: { decision } })
      if (decision !== 'fail') expect(await carryOn(healthy.deps, id)).toBe('ended')
      expect((await live.rest()).at(-1)).toMatchObject({ event: 'complete', status, content })
      expect(endpoint.received).toHaveLength(calls)
      expectWhole(await (await follow(person, run_id)).rest())
      dying.bury()
      await stream.rest()
    },
  )
})

describe('what an executor leaves behind', () => {
  it('has the warnings about the request', async () => {
    model.play(script([{ text: 'Done.' }]))
    const { id: agentId } = await person.json(201, 'POST', '/api/agents', { json: { name: 'Warned' } })
    const json = { message: 'Go.', background: true, colour: 'red' }
    const { run_id, warnings } = await person.json(202, 'POST', `/api/agents/${agentId}/run`, { json })
    expect(warnings).toEqual([expect.stringContaining('colour')])
    expect(await carryOn(healthy.deps, (await standingOf(stack, run_id))['id'])).toBe('ended')
    const replay = await (await follow(person, run_id)).rest()
    expect(replay.at(-1)).toMatchObject({ event: 'complete', warnings })
  })

  it('has the marks that name no passage', async () => {
    const turns = [
      { ...CALLS[0]!, text: 'The first [8] of all. ' },
      { ...CALLS[1]!, text: 'The second [9]. ' },
      { text: 'Both are counted [1].' },
    ]
    const json = { message: 'Count.', citations_enabled: true, context_items: [{ text: 'There are two of them.' }] }
    model.play(bySteps(turns))
    const whole = await (await begin(person, safeAgent, json)).rest()
    expect(whole.at(-1)).toMatchObject({ status: 'completed', invalid_citation_count: 2 })
    const secondStep = whole.findIndex(({ event, step }) => event === 'tool_call' && step === 2)
    const dying = dyingLedger(healthy.deps.ledger, secondStep)
    const stream = await begin(another({ ledger: dying.ledger }).as(member), safeAgent, json)
    const { run_id } = (await stream.next())!
    await dying.died
    await expireLease(stack, run_id)
    expect(await carryOn(healthy.deps, (await standingOf(stack, run_id))['id'])).toBe('ended')
    const replay = await (await follow(person, run_id)).rest()
    expect(replay.at(-1)).toMatchObject({ status: 'completed', invalid_citation_count: 2 })
    dying.bury()
    await stream.rest()
  })

  it('has what hooks have answered before a person approved: they are not asked again', async () => {
    const admin = healthy.as(await userCaller(stack, 'admin@harbor.example'))
    const { id: agentId } = await admin.json(201, 'POST', '/api/agents', { json: { name: 'Asked once' } })
    const { tools } = await admin.json(200, 'GET', `/api/agents/${safeAgent}/tools`)
    await admin.json(201, 'POST', `/api/agents/${agentId}/tools`, {
      json: {
        ...{ tool_type: 'custom', tool_name: tools[0].tool_name, tool_id: tools[0].tool_id },
        ...{ config_override: { untrusted: 'allow' }, permissions: { default: 'ask' } },
      },
    })
    await admin.json(201, 'POST', `/api/agents/${agentId}/hooks`, {
      json: { event: 'PreToolUse', type: 'http', config: { url: `${endpoint.url}/before` } },
    })
    model.play(bySteps([CALLS[0]!, { text: 'Counted.' }]))
    const asked = () => endpoint.received.filter(({ path }) => path === '/before').length
    const before = asked()
    const stream = await begin(person, agentId, { message: 'Count.' })
    const [{ run_id }] = (await stream.rest(({ event }) => event === 'approval_requested')) as [Json]
    await eventually(async () => expect(await standingOf(stack, run_id)).toMatchObject({ status: 'waiting' }))
    expect(asked() - before).toBe(1)
    await person.json(200, 'POST', `/api/agents/runs/${run_id}/approve`, { json: { approved: true } })
    await stream.rest()
    expect(asked() - before).toBe(1)
    const replay = await (await follow(person, run_id)).rest()
    expectWhole(replay)
    expect(replay.at(-1)).toMatchObject({ status: 'completed', content: expect.stringContaining('Counted.') })
    expect(replay.filter(({ event }) => event === 'hook_result')).toHaveLength(1)
    expect(replay.find(({ event }) => event === 'tool_result')).toMatchObject({ is_error: false })
  })
})

it('an executor that lets go of a run at its very end leaves nothing that is told twice', async () => {
  model.play(script([{ text: 'Told once.' }, { text: 'Told once.' }]))
  const admin = healthy.as(await userCaller(stack, 'admin@harbor.example'))
  const { id: agentId } = await admin.json(201, 'POST', '/api/agents', { json: { name: 'Hooked' } })
  await admin.json(201, 'POST', `/api/agents/${agentId}/hooks`, {
    json: { event: 'OnRunComplete', type: 'http', config: { url: `${endpoint.url}/over` } },
  })
  const json = { message: 'Go.', background: true }
  const { run_id } = await person.json(202, 'POST', `/api/agents/${agentId}/run`, { json })
  const { id } = await standingOf(stack, run_id)
  const asked = endpoint.received.length
  const stop = new AbortController()
  const first = executeRun(healthy.deps, (await takeUp(healthy.deps, id))!, { deliver: () => {}, signal: stop.signal })
  await eventually(() => expect(endpoint.received).toHaveLength(asked + 1))
  stop.abort()
  expect(await first).toBe('pending')
  expect(await carryOn(healthy.deps, id)).toBe('ended')
  const events = await (await follow(person, run_id)).rest()
  expectWhole(events)
  for (const kind of ['chunk', 'on_run_complete']) {
    expect(events.filter(({ event }) => event === kind)).toHaveLength(1)
  }
  expect(textOf(events)).toBe('Told once.')
})

describe('two executors on one run', () => {
  it('the one without the lease stops, and its reader gets the events of the other', async () => {
    let letGo = () => {}
    const blocked = new Promise<void>((resolve) => (letGo = resolve))
    const asked = model.chats().length
    model.play(script([{ text: ['Slow ', 'words'], between: () => blocked }, { text: 'Fast words.' }]))
    const { id: agentId } = await person.json(201, 'POST', '/api/agents', { json: { name: 'Two' } })
    const stream = await begin(person, agentId, { message: 'Go.' })
    const start = (await stream.next())!
    const { id } = await standingOf(stack, start['run_id'])
    // It waits for the slow answer, and for no other.
    await eventually(() => expect(model.chats()).toHaveLength(asked + 1))
    await eventually(async () => {
      // The first one lives and renews its lease: until the other one is quicker.
      await expireLease(stack, start['run_id'])
      expect(await carryOn(another().deps, id)).toBe('ended')
    })
    letGo()
    const seen = [start, ...(await stream.rest())]
    expectWhole(seen)
    expect(seen.at(-1)).toMatchObject({ content: 'Fast words.', status: 'completed' })
    expect(seen).toEqual(await (await follow(person, start['run_id'])).rest())
  })

  it('and the second dies as well: the first, whose caller waits still, takes it up again', async () => {
    let letGo = () => {}
    const blocked = new Promise<void>((resolve) => (letGo = resolve))
    const asked = model.chats().length
    model.play(script([{ text: ['Slow ', 'words'], between: () => blocked }, { text: 'Fast words.' }]))
    const { id: agentId } = await person.json(201, 'POST', '/api/agents', { json: { name: 'Three' } })
    const quick = another({ runs: { leaseSeconds: 1 } }).as(member)
    const stream = await begin(quick, agentId, { message: 'Go.' })
    const start = (await stream.next())!
    const { id } = await standingOf(stack, start['run_id'])
    // It waits for the slow answer, and for no other.
    await eventually(() => expect(model.chats()).toHaveLength(asked + 1))
    await eventually(async () => {
      await expireLease(stack, start['run_id'])
      expect(await healthy.deps.ledger.claimRun(id, 'one that dies at once', 1)).not.toBeNull()
    })
    letGo()
    const seen = [start, ...(await stream.rest())]
    expectWhole(seen)
    expect(seen.at(-1)).toMatchObject({ content: 'Fast words.', status: 'completed' })
  })

  it('cannot both take it up', async () => {
    model.play(script([{ text: 'Once.' }]))
    const { id: agentId } = await person.json(201, 'POST', '/api/agents', { json: { name: 'Once' } })
    const { run_id } = await person.json(202, 'POST', `/api/agents/${agentId}/run`, {
      json: { message: 'Go.', background: true },
    })
    const { id } = await standingOf(stack, run_id)
    const ends = await Promise.all([carryOn(another().deps, id), carryOn(another().deps, id)])
    expect(ends.toSorted()).toEqual(['ended', null])
    expectWhole(await (await follow(person, run_id)).rest())
  })
})

describe('the database', () => {
  it('failing now and then, also after it has written, is borne', async () => {
    model.play(bySteps(CALLS))
    effects = []
    let calls = 0
    const { ledger } = healthy.deps
    const shaken =
      <A extends unknown[], T>(call: (...args: A) => Promise<T>) =>
      async (...args: A): Promise<T> => {
        calls++
        if (calls % 3 === 1) throw new TypeError('fetch failed')
        const answer = await call(...args)
        if (calls % 3 === 2) throw new TypeError('fetch failed')
        return answer
      }
    const shaky: ApiChanges['ledger'] = {
      appendRunEvents: shaken(ledger.appendRunEvents),
      appendAndReserve: shaken(ledger.appendAndReserve),
    }
    const events = await (await begin(another({ ledger: shaky }).as(member), safeAgent, { message: 'Count.' })).rest()
    expectWhole(events)
    expect(events.at(-1)).toMatchObject({ status: 'completed' })
    expect(effects).toHaveLength(2)
    expect(calls).toBeGreaterThan(3)
    // Tokens of each call of the model are reserved and settled once, however often it was asked for.
    const used = await stack.db.query<{ is_estimate: boolean }>(
      'select is_estimate from ai.usage_entries where run_id = (select id from ai.agent_runs where run_id = $1)',
      [events[0]!['run_id']],
    )
    const steps = events.filter(({ event }) => event === 'step_started')
    expect(used).toEqual(steps.map(() => ({ is_estimate: false })))
    expect(events).toEqual(await (await follow(person, events[0]!['run_id'])).rest())
  })

  it('is written to twice in a step: before its call, and with the result and the tokens of the next call of the model', async () => {
    const silent = CALLS.map(({ toolCalls }) => (toolCalls ? { toolCalls } : { text: 'Both are counted.' }))
    model.play(bySteps(silent))
    const { ledger } = healthy.deps
    const writes: [string[], boolean][] = []
    const kindsOf = (write: { events: { event: string }[] }) => write.events.map(({ event }) => event)
    const watched: ApiChanges['ledger'] = {
      appendRunEvents(write) {
        writes.push([kindsOf(write), false])
        return ledger.appendRunEvents(write)
      },
      appendAndReserve(want, write) {
        writes.push([kindsOf(write), true])
        return ledger.appendAndReserve(want, write)
      },
    }
    const events = await (await begin(another({ ledger: watched }).as(member), safeAgent, { message: 'Count.' })).rest()
    expect(events.at(-1)).toMatchObject({ status: 'completed' })
    const reserving = writes.flatMap(([, reserves], at) => (reserves ? [at] : []))
    expect(reserving).toHaveLength(silent.length)
    // From the first call of the model to the last one.
    expect(writes.slice(reserving[0]! + 1, reserving.at(-1)! + 1)).toEqual([
      [['tool_call'], false],
      [['tool_result', 'step_completed', 'step_started'], true],
      [['tool_call'], false],
      [['tool_result', 'step_completed', 'step_started'], true],
    ])
  })

  it.each([
    ['before they are held: nothing is, and nothing counts', false],
    ['after that: the grant is given back, and its prompt counts', true],
  ])('hears of a stop while tokens are reserved, %s', async (_when, isHeld) => {
    model.play(bySteps(CALLS))
    const asked = model.chats().length
    const { ledger } = healthy.deps
    let reservations = 0
    let runId = ''
    const stop = async () => {
      await person.json(200, 'POST', `/api/agents/runs/${runId}/cancel`)
      const { id } = await standingOf(stack, runId)
      const [row] = await stack.db.query<{ count: number }>(
        'select count(*)::int as count from private.token_reservations where run_id = $1',
        [id],
      )
      expect(row!.count).toBe(isHeld ? 1 : 0)
    }
    const heard = Promise.withResolvers<void>()
    const given: string[] = []
    let second = ''
    const noteGiven = (journal: RunNote[]) =>
      given.push(...journal.filter(({ op }) => op === 'tokens_used').map((note) => note['reservation_id'] as string))
    const stopping: ApiChanges['ledger'] = {
      async appendAndReserve(want, write) {
        noteGiven(write.journal)
        const isNext = ++reservations === 2
        if (isNext) second = want.id
        if (isNext && !isHeld) await stop()
        const answer = await ledger.appendAndReserve(want, write)
        if (!isNext || !isHeld) return answer
        await stop()
        // The beat brings word of the stop before the grant is there.
        await heard.promise
        return answer
      },
      async beatRun(...args) {
        const answer = await ledger.beatRun(...args)
        if (answer.stop !== null) heard.resolve()
        return answer
      },
      appendRunEvents(write) {
        noteGiven(write.journal)
        return ledger.appendRunEvents(write)
      },
      finishRun(outcome) {
        noteGiven(outcome.rest?.journal ?? [])
        return ledger.finishRun(outcome)
      },
    }
    const stream = await begin(another({ ledger: stopping }).as(member), safeAgent, { message: 'Count.' })
    const start = (await stream.next())!
    runId = start['run_id'] as string
    const events = [start, ...(await stream.rest())]
    expectWhole(events)
    expect(events.at(-1)).toMatchObject({ status: 'cancelled' })
    expect(callIds(events, 'tool_result')).toHaveLength(1)
    expect(model.chats().length - asked).toBe(1)
    expect(given.includes(second)).toBe(isHeld)
    const { id } = await standingOf(stack, runId)
    expect(
      await stack.db.query('select step, is_estimate from ai.usage_entries where run_id = $1 order by step', [id]),
    ).toEqual([{ step: 1, is_estimate: false }, ...(isHeld ? [{ step: 2, is_estimate: true }] : [])])
    expect(await stack.db.query('select id from private.token_reservations where run_id = $1', [id])).toEqual([])
  })

  it('that refuses the answer ends the run without it', async () => {
    model.play(script([{ text: 'Not to be stored.' }]))
    const { ledger } = healthy.deps
    let refusals = 1
    const refusing: ApiChanges['ledger'] = {
      finishRun(outcome) {
        return ledger.finishRun(refusals-- > 0 ? { ...outcome, status: 'nonsense' as 'failed' } : outcome)
      },
    }
    const { id: agentId } = await person.json(201, 'POST', '/api/agents', { json: { name: 'Refused' } })
    const events = await (await begin(another({ ledger: refusing }).as(member), agentId, { message: 'Go.' })).rest()
    expectWhole(events)
    expect(events.at(-1)).toMatchObject({ status: 'failed', content: '', code: 'unavailable' })
  })

  it('is asked for whole tokens, whatever limit the agent has', async () => {
    model.play(script([{ text: 'Short.' }]))
    const { id: agentId } = await person.json(201, 'POST', '/api/agents', {
      json: { name: 'Fractions', settings: { max_tokens: 100.5 } },
    })
    const events = await (await begin(person, agentId, { message: 'Go.' })).rest()
    expect(events.at(-1)).toMatchObject({ status: 'completed', content: 'Short.' })
    expect(model.chats().at(-1)).toMatchObject({ body: { max_tokens: 100 } })
  })
})
