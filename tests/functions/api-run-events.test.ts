import { beforeAll, describe, expect, it } from 'vitest'
import { runDepsFromEnv } from '../../worker/run-deps.ts'
import { script } from '../support/scripted-model/index.ts'
import type { ModelInput, ScriptedModel } from '../support/scripted-model/index.ts'
import type { Turn } from '../support/scripted-model/turns.ts'
import { useStack } from '../support/stack.ts'
import { startApi } from './support/api-app.ts'
import { begin, carryOn, expectWhole, follow, textOf } from './support/durable-run.ts'
import { useModelAndEndpoint } from './support/model-and-endpoint.ts'
import type { Endpoint } from './support/endpoint.ts'
import { HARBOR, serviceCaller, userCaller } from './support/http.ts'
import type { FunctionsCaller, Json } from './support/http.ts'

// The rarer events of a run, as a client meets them: their names, their order and their fields, and
// that whoever reads the run later reads the same.

const WINDOW = 16_000
const userEnv: Record<string, string> = { CHAT_CONTEXT_WINDOW: String(WINDOW) }
let model: ScriptedModel
let endpoint: Endpoint
useModelAndEndpoint(userEnv, (both) => void ({ model, endpoint } = both))
const stack = useStack({ userEnv })

const LONG = `long ${'x'.repeat(6000)}`
let person: FunctionsCaller
let admin: FunctionsCaller
let backend: FunctionsCaller
beforeAll(async () => {
  const api = startApi(stack)
  backend = api.as(serviceCaller(stack, { 'x-tenant-id': HARBOR }))
  person = api.as(await userCaller(stack, 'member@harbor.example'))
  admin = api.as(await userCaller(stack, 'admin@harbor.example'))
  const { error } = await (await stack.signIn('member@harbor.example'))
    .from('memories')
    .insert({ tenant_id: HARBOR, body: LONG })
  expect(error).toBeNull()
})

/** What the catalogue of the agent API says an event of a kind has, beside `event`, `type`, `seq` and `ts`. */
const FIELDS: Record<string, string[]> = {
  start: ['run_id', 'session_id', 'context_handler_id', 'reasoning_requested'],
  step_started: ['step', 'step_number', 'is_last_step'],
  content_delta: ['delta'],
  reasoning_delta: ['step', 'source', 'delta'],
  reasoning: ['step', 'content', 'text'],
  tool_call: ['step', 'tool_name', 'arguments', 'call_id'],
  tool_result: ['step', 'tool_name', 'call_id', 'result', 'result_preview', 'duration_ms'],
  step_completed: ['step', 'step_number', 'finish_reason', 'has_tool_calls'],
  hook_result: ['hook_id', 'position', 'hook_event', 'status', 'modified', 'blocked', 'latency_ms', 'message'],
  on_run_complete: ['status', 'steps'],
  proactive_compact: ['step', 'tokens_before', 'tokens_after', 'succeeded'],
  compaction: ['step', 'message_count'],
  reactive_compact: ['step'],
  reactive_truncate: ['step', 'before', 'after'],
  step_reset: ['step', 'reason', 'off'],
  model_fallback: ['step', 'from', 'to'],
  reasoning_dropped_at_provider_switch: ['step', 'from_provider', 'to_provider'],
  output_recovery: ['step', 'attempt'],
  chunk: ['content'],
  error: ['error', 'message', 'code'],
  complete: ['run_id', 'session_id', 'content', 'status', 'steps', 'tool_calls', 'usage', 'error', 'model'],
}
/** Of an error: within a step it names that, else the run. */
const errorFields = (event: Json): string[] =>
  'step' in event ? ['step', 'step_number'] : ['run_id', 'context_handler_id']
/** The frame of a run, and the pieces of what it keeps as a whole. */
const NOT_KEPT = ['start', 'content_delta', 'reasoning_delta', 'chunk', 'complete']
const isKept = (event: Json) => !NOT_KEPT.includes(event['event']) && (event['event'] !== 'error' || 'step' in event)

/** An agent of the backend's that reads memories. */
async function agentWith(settings: object = {}): Promise<string> {
  const { id } = await backend.json(201, 'POST', '/api/agents', { json: { name: 'Reader', settings } })
  await backend.json(201, 'POST', `/api/agents/${id}/tools`, {
    json: { tool_name: 'database_query', config_override: { schemas: { public: ['memories'] } } },
  })
  return id as string
}

/** An agent of the backend's without tools. */
async function bare(settings: object = {}): Promise<string> {
  return (await backend.json(201, 'POST', '/api/agents', { json: { name: 'Bare', settings } }))['id'] as string
}

/** A call that is not the same as another one. */
const reading = (n: number, where = "body like 'long%'") => ({
  name: 'database_query',
  arguments: { query: `select body from memories where ${where} limit ${n}` },
})
const isSummary = ({ messages }: ModelInput) => String(messages[0]?.content).startsWith('Summarise')
const kinds = (events: Json[]) => events.map(({ event }) => event as string).filter((kind) => !kind.endsWith('_delta'))
const only = (events: Json[], kind: string) => events.filter(({ event }) => event === kind)

/** Runs an agent, and reads the run again. @returns its events, which were the same both times. */
async function run(agentId: string, json: object = {}): Promise<{ events: Json[]; complete: Json }> {
  const events = await (await begin(person, agentId, { message: 'What is there?', ...json })).rest()
  expectWhole(events)
  for (const event of events) {
    const { event: kind, type, ts } = event as { event: string; type: string; ts: string }
    expect(FIELDS, `an event ${kind}`).toHaveProperty(kind)
    expect(type).toBe(kind)
    expect(ts).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/)
    const fields = [...(FIELDS[kind] ?? []), ...(kind === 'error' ? errorFields(event) : [])]
    for (const field of fields) expect(event, kind).toHaveProperty(field)
  }
  const { run_id } = events[0]!
  expect(await (await follow(person, run_id, 0)).rest()).toEqual(events)
  const stored = await person.json(200, 'GET', `/api/agents/runs/${run_id}`)
  expect(kinds(stored['events'])).toEqual(kinds(events.filter(isKept)))
  const complete = events.at(-1)!
  // The text as its pieces say, those of steps that were taken back left out, is the answer.
  expect(textOf(events)).toBe(complete['content'])
  expect(only(events, 'chunk')).toMatchObject([{ content: complete['content'] }])
  expect(only(events, 'tool_result').map(({ call_id }) => call_id)).toEqual(
    only(events, 'tool_call').map(({ call_id }) => call_id),
  )
  return { events, complete }
}

describe('a prompt that grows too long', () => {
  it('loses old results before the call of the model: proactive_compact', async () => {
    let calls = 0
    model.play(() => (calls < 5 ? { toolCalls: [reading(++calls)] } : { text: 'Done.' }))
    const { events, complete } = await run(await agentWith())
    expect(complete).toMatchObject({ status: 'completed', content: 'Done.', steps: 6 })
    const [first] = only(events, 'proactive_compact')
    expect(first).toMatchObject({ succeeded: true, step_number: first!['step'] })
    expect(first!['tokens_after']).toBeLessThan(first!['tokens_before'])
    // Between the beginning of its step and what the model then says.
    const at = events.indexOf(first!)
    expect(events[at - 1]).toMatchObject({ event: 'step_started', step: first!['step'] })
    expect(events[at + 1]!['event']).not.toBe('step_started')
    expect(only(events, 'compaction')).toEqual([])
  })

  it('is summarised where that is not enough: compaction', async () => {
    let calls = 0
    model.play((input): Turn => {
      if (isSummary(input)) return { text: 'So far: 7.' }
      return calls < 5
        ? { text: ['y'.repeat(6000)], toolCalls: [reading(++calls, "body = 'none'")] }
        : { text: 'Done.' }
    })
    const { events, complete } = await run(await agentWith())
    expect(complete).toMatchObject({ status: 'completed', steps: 6 })
    const [compaction] = only(events, 'compaction')
    expect(compaction!['message_count']).toBeGreaterThan(0)
    const after = events[events.indexOf(compaction!) + 1]
    expect(after).toMatchObject({ event: 'proactive_compact', step: compaction!['step'], succeeded: true })
    // The summary itself is nothing for the reader.
    expect(JSON.stringify(events)).not.toContain('So far: 7.')
    expect(JSON.stringify(model.chats().at(-1)!.body)).toContain('So far: 7.')
  })

  it('and is refused is shortened, first with a model, then without: reactive_compact, reactive_truncate', async () => {
    const refused: Turn = { status: 400, error: { code: 'context_length_exceeded', message: 'too long' } }
    const turns: Turn[] = [
      { toolCalls: [reading(1)] },
      { toolCalls: [reading(2)] },
      refused,
      refused,
      { text: 'Short.' },
    ]
    model.play((input) => (isSummary(input) ? { text: 'Summed up.' } : turns.shift()!))
    const { events, complete } = await run(await agentWith())
    expect(complete).toMatchObject({ status: 'completed', content: 'Short.', steps: 3 })
    expect(kinds(events).slice(kinds(events).lastIndexOf('step_started'))).toEqual([
      'step_started',
      'step_reset',
      'compaction',
      'reactive_compact',
      'step_reset',
      'reactive_truncate',
      'step_completed',
      'chunk',
      'complete',
    ])
    for (const reset of only(events, 'step_reset')) {
      expect(reset).toMatchObject({ step: 3, step_number: 3, reason: 'prompt_too_long', off: 0 })
    }
    const [truncated] = only(events, 'reactive_truncate')
    expect(truncated!['after']).toBeLessThan(truncated!['before'])
  })
})

describe('a prompt that is too long for an answer without tools', () => {
  /** A session of the person with so many turns, each side of them of so many characters. */
  async function sessionOf(agentId: string, turns: number, chars: number): Promise<string> {
    const { data } = await (await stack.signIn('member@harbor.example')).auth.getUser()
    const initial_messages = Array.from({ length: turns }, (_, turn) => [
      { role: 'user', content: `Question ${turn}: ${'q'.repeat(chars)}` },
      { role: 'assistant', content: `Answer ${turn}: ${'a'.repeat(chars)}` },
    ]).flat()
    const json = { initial_messages, user_id: data.user!.id }
    return (await backend.json(201, 'POST', `/api/agents/${agentId}/sessions`, { json }))['session_id']
  }
  const promptOf = (at: number) => JSON.stringify(model.chats().at(at)!.body['messages'])

  it('is summarised before the call: compaction, proactive_compact', async () => {
    model.play((input): Turn => (isSummary(input) ? { text: 'They talked of gates.' } : { text: 'Yes.' }))
    const agent = await bare()
    const { events, complete } = await run(agent, { session_id: await sessionOf(agent, 5, 4500), message: 'And now?' })
    expect(complete).toMatchObject({ status: 'completed', content: 'Yes.', tool_calls: [] })
    expect(kinds(events)).toEqual(['start', 'compaction', 'proactive_compact', 'chunk', 'complete'])
    expect(only(events, 'proactive_compact')).toMatchObject([{ step: 1, succeeded: true }])
    // What went before is there as the summary, the last turns and the question as they were.
    expect(promptOf(-1)).toContain('They talked of gates.')
    expect(promptOf(-1)).not.toContain('Question 0')
    expect(promptOf(-1)).toContain('Answer 4')
    expect(promptOf(-1)).toContain('And now?')
    expect(promptOf(-2)).toContain('Question 0')
    // Both calls of the model are paid for.
    expect(complete['usage'].prompt_tokens).toBe(
      (await person.json(200, 'GET', `/api/agents/runs/${complete['run_id']}`))['usage'].prompt_tokens,
    )
    const session_id = await sessionOf(agent, 5, 4500)
    const json = { session_id, message: 'And now?' }
    expect(await person.json(200, 'POST', `/api/agents/${agent}/run`, { json })).toMatchObject({ content: 'Yes.' })
    expect(promptOf(-1)).toContain('They talked of gates.')
  })

  const refused: Turn = { status: 400, error: { code: 'context_length_exceeded', message: 'too long' } }

  it.each<[string, Turn, Turn[], string[]]>([
    ['is summarised: reactive_compact', { text: 'Summed up.' }, [refused], ['compaction', 'reactive_compact']],
    [
      'is shortened without a model where that fails: reactive_truncate',
      { text: '' },
      [refused, refused],
      ['reactive_compact', 'reactive_truncate'],
    ],
  ])('and is refused %s', async (_how, summary, refusals, told) => {
    const turns = [...refusals]
    model.play((input) => (isSummary(input) ? summary : (turns.shift() ?? { text: 'Short.' })))
    const agent = await bare()
    const { events, complete } = await run(agent, { session_id: await sessionOf(agent, 3, 800), message: 'And now?' })
    expect(complete).toMatchObject({ status: 'completed', content: 'Short.' })
    // Nothing had been shown, so nothing is taken back.
    expect(kinds(events)).toEqual(['start', ...told, 'chunk', 'complete'])
    for (const { before, after } of only(events, 'reactive_truncate')) expect(after).toBeLessThan(before)
    expect(promptOf(-1)).not.toContain('Question 0')
    expect(promptOf(-1)).toContain('And now?')
  })

  it('and stays so is the end of the run', async () => {
    model.play(() => refused)
    const before = model.chats().length
    const events = await (await begin(person, await bare(), { message: 'x' })).rest()
    expect(kinds(events)).toEqual(['start', 'reactive_compact', 'reactive_truncate', 'error', 'complete'])
    expect(events.at(-1)).toMatchObject({ status: 'failed', code: 'context_length_exceeded', content: '' })
    expect(model.chats().length - before).toBe(3)
  })
})

describe('a model that fails', () => {
  it('gives way to the fallback model at once, and what it said is taken back: step_reset, model_fallback', async () => {
    const text = ['Half an ', 'answer']
    model.play(script([{ text, cutAfter: 3 }, { text, toolCalls: [reading(1)] }, { text: 'Whole.' }]))
    const { events, complete } = await run(await agentWith({ fallback_model: 'spare-model' }))
    expect(complete).toMatchObject({ status: 'completed', content: 'Half an answer\n\nWhole.' })
    expect(kinds(events)).toEqual([
      ...['start', 'step_started', 'step_reset', 'model_fallback'],
      ...['tool_call', 'tool_result', 'step_completed', 'step_started', 'step_completed', 'chunk', 'complete'],
    ])
    expect(only(events, 'step_reset')).toMatchObject([{ step: 1, reason: 'model_error', off: 0 }])
    expect(only(events, 'model_fallback')).toMatchObject([{ step: 1, from: model.env.CHAT_MODEL, to: 'spare-model' }])
    // Something had been shown before it was taken back.
    const reset = events.findIndex(({ event }) => event === 'step_reset')
    expect(events.slice(0, reset).map(({ event }) => event)).toContain('content_delta')
    expect(model.chats().at(-1)!.body['model']).toBe('spare-model')
  })

  it('is asked again where there is no other: step_reset by rate_limit, and no model_fallback', async () => {
    model.play(script([{ text: 'One.', toolCalls: [reading(1)] }, { status: 429 }, { text: 'Two.' }]))
    const { events, complete } = await run(await agentWith())
    expect(complete).toMatchObject({ status: 'completed', content: 'One.\n\nTwo.' })
    expect(only(events, 'step_reset')).toMatchObject([{ step: 2, reason: 'rate_limit', off: 'One.'.length }])
    expect(only(events, 'model_fallback')).toEqual([])
  })

  it('is not given what was reasoned so far when another takes its place: reasoning_dropped_at_provider_switch', async () => {
    model.play(script([{ reasoning: 'Hm.', text: 'Half an answer', cutAfter: 3 }, { text: 'Whole.' }]))
    const { events, complete } = await run(
      await agentWith({ fallback_model: 'vendor/spare-model', reasoning_effort: 'low' }),
    )
    expect(complete).toMatchObject({ status: 'completed', content: 'Whole.' })
    expect(kinds(events)).toEqual([
      ...['start', 'step_started', 'step_reset', 'model_fallback', 'reasoning_dropped_at_provider_switch'],
      ...['step_completed', 'chunk', 'complete'],
    ])
    expect(only(events, 'reasoning_dropped_at_provider_switch')).toMatchObject([
      { step: 1, step_number: 1, from_provider: 'openai', to_provider: 'vendor' },
    ])
  })

  it('is named nowhere as the one that answered: the run, its calls and what was used name the fallback model', async () => {
    const named = model.env.CHAT_MODEL
    model.play(
      script([
        { toolCalls: [reading(1)] },
        { status: 503 },
        { text: 'Two.', toolCalls: [reading(2)] },
        { text: 'Done.' },
      ]),
    )
    const { complete } = await run(await agentWith({ fallback_model: 'spare-model' }))
    expect(complete).toMatchObject({ status: 'completed', steps: 3, model: 'spare-model' })
    const models = [named, 'spare-model', 'spare-model']
    const stored = await person.json(200, 'GET', `/api/agents/runs/${complete['run_id']}`)
    expect(stored['model']).toBe('spare-model')
    expect((stored['steps'] as Json[]).map((step) => step['model'])).toEqual(models)
    const { runs } = await person.json(200, 'GET', `/api/sessions/${complete['session_id']}/runs`)
    expect(runs).toMatchObject([{ model: 'spare-model' }])
    const rows = (table: string, id: string, order: string) =>
      stack.db.query<Json>(
        `select model from ai.${table} where ${id} = (select id from ai.agent_runs where run_id = $1) order by ${order}`,
        [complete['run_id']],
      )
    const calls = await rows('tool_call_events', 'agent_run_id', 'step')
    expect(calls.map((row) => row['model'])).toEqual([named, 'spare-model'])
    // The call that failed counts for the model that failed.
    const used = await rows('usage_entries', 'run_id', 'step, created_at')
    expect(used.map((row) => row['model'])).toEqual([named, named, 'spare-model', 'spare-model'])
  })

  it('and was to answer without tools is asked again, and gives way, before it has said anything: model_fallback', async () => {
    model.play(script([{ status: 503 }, { status: 429 }, { text: 'Whole.' }]))
    const { events, complete } = await run(await bare({ fallback_model: 'spare-model' }))
    expect(complete).toMatchObject({ status: 'completed', content: 'Whole.', model: 'spare-model' })
    // No steps are told of here, and so none is begun again.
    expect(kinds(events)).toEqual(['start', 'model_fallback', 'chunk', 'complete'])
    const named = model.env.CHAT_MODEL
    expect(only(events, 'model_fallback')).toMatchObject([{ from: named, to: 'spare-model' }])
    const stored = await person.json(200, 'GET', `/api/agents/runs/${complete['run_id']}`)
    expect(stored).toMatchObject({ model: 'spare-model', usage: complete['usage'] })
    expect(stored['steps']).toMatchObject([{ step: 1, model: 'spare-model', finish_reason: 'stop' }])
    const used = await stack.db.query<Json>(
      'select model from ai.usage_entries where run_id = (select id from ai.agent_runs where run_id = $1) order by created_at',
      [complete['run_id']],
    )
    expect(used.map((row) => row['model'])).toEqual([named, 'spare-model', 'spare-model'])
  })

  it('and had begun to answer without tools is not asked again, nor one that refused', async () => {
    const id = await bare({ fallback_model: 'spare-model' })
    const failures: [Turn, string][] = [
      [{ text: ['Half an ', 'answer'], cutAfter: 3 }, 'Half an answer'],
      [{ status: 400 }, ''],
    ]
    for (const [failure, content] of failures) {
      const before = model.chats().length
      model.play(() => failure)
      const answer = await person.json(200, 'POST', `/api/agents/${id}/run`, { json: { message: 'x' } })
      expect(answer).toMatchObject({ status: 'failed', code: 'upstream_failed', model: model.env.CHAT_MODEL, content })
      expect(model.chats().length - before).toBe(1)
    }
  })

  it('for good ends the run: an error within the step, then error and complete say the same', async () => {
    model.play(script([{ text: 'One.', toolCalls: [reading(1)] }, { status: 401 }]))
    const { events, complete } = await run(await agentWith())
    expect(kinds(events).slice(-6)).toEqual(['step_started', 'error', 'step_completed', 'chunk', 'error', 'complete'])
    const [inner, error] = only(events, 'error')
    expect(inner).toMatchObject({ step: 2, step_number: 2, error: error!['error'], code: error!['code'] })
    expect(error).not.toHaveProperty('step')
    expect(complete).toMatchObject({ status: 'failed', content: 'One.', error: error!['error'], code: error!['code'] })
    expect(error).toMatchObject({ message: error!['error'], run_id: complete['run_id'], code: 'upstream_failed' })
  })
})

it('a provider that breaks off in the midst of its last try leaves what it had said, and an error after that', async () => {
  model.play(() => ({ reasoning: 'Hm.', text: 'Half an answer', cutAfter: 3 }))
  const { events, complete } = await run(await agentWith({ reasoning_effort: 'low' }))
  expect(complete).toMatchObject({ status: 'failed', code: 'upstream_failed' })
  expect(complete['content']).not.toBe('')
  const last = kinds(events).slice(kinds(events).lastIndexOf('step_reset'))
  expect(last).toEqual(['step_reset', 'reasoning', 'error', 'step_completed', 'chunk', 'error', 'complete'])
  // Each try before it is told by its reset only.
  expect(only(events, 'step_reset')).toHaveLength(3)
  expect(only(events, 'error').map((event) => event['step'])).toEqual([1, undefined])
})

describe('an answer', () => {
  it('that is cut off is continued: output_recovery', async () => {
    const cut = (text: string): Turn => ({ text, finishReason: 'length' })
    model.play(script([cut('One, '), cut('two, '), { text: 'three.' }]))
    const { events, complete } = await run(await agentWith())
    expect(complete).toMatchObject({ status: 'completed', content: 'One, two, three.', steps: 1 })
    expect(kinds(events)).toEqual([
      ...['start', 'step_started', 'output_recovery', 'output_recovery', 'step_completed', 'chunk', 'complete'],
    ])
    expect(only(events, 'output_recovery')).toMatchObject([
      { step: 1, step_number: 1, attempt: 1 },
      { step: 1, step_number: 1, attempt: 2 },
    ])
  })

  it('without tools that is cut off is continued, three times at most, and counts whole', async () => {
    const cut = (text: string): Turn => ({ text, finishReason: 'length' })
    const id = await bare()
    const ask = (message: string) => person.json(200, 'POST', `/api/agents/${id}/run`, { json: { message } })
    model.play(script([{ text: 'One.' }, cut('One, '), { text: 'two.' }]))
    const { usage: one } = await ask('x')
    const continued = await ask('x')
    expect(continued).toMatchObject({ status: 'completed', content: 'One, two.' })
    expect(continued['usage'].completion_tokens).toBeGreaterThan(one.completion_tokens)
    expect(model.chats().at(-1)!.body['messages'].slice(-3)).toMatchObject([
      { role: 'user', content: 'x' },
      { role: 'assistant', content: 'One, ' },
      { role: 'user', content: expect.stringContaining('Continue') },
    ])
    model.play(() => cut('more '))
    const before = model.chats().length
    const { events, complete } = await run(id)
    expect(complete).toMatchObject({ status: 'completed', content: 'more more more more ' })
    expect(kinds(events)).toEqual(['start', ...Array(3).fill('output_recovery'), 'chunk', 'complete'])
    expect(model.chats().length - before).toBe(4)
  })

  it('that is thought about tells so, step by step, and the session after it: reasoning', async () => {
    model.play(
      script([
        { reasoning: ['Hm', ', look.'], toolCalls: [reading(1)] },
        { reasoning: 'I see.', text: 'There.' },
      ]),
    )
    const { events, complete } = await run(await agentWith({ reasoning_effort: 'low' }))
    expect(events[0]).toMatchObject({ event: 'start', reasoning_requested: true })
    expect(only(events, 'reasoning')).toMatchObject([
      { step: 1, source: 'thinking', content: 'Hm, look.', text: 'Hm, look.' },
      { step: 2, source: 'thinking', content: 'I see.', text: 'I see.' },
    ])
    for (const delta of only(events, 'reasoning_delta')) expect(delta['source']).toBe('thinking')
    const { messages } = await person.json(200, 'GET', `/api/sessions/${complete['session_id']}/messages`)
    const answer = messages.at(-1)
    expect(answer).toMatchObject({ reasoning: 'Hm, look.\n\nI see.', reasoning_requested: true })
    expect(Number.isInteger(answer['reasoning_duration_ms'])).toBe(true)
    const { reasoning_steps: stored } = await person.json(200, 'GET', `/api/agents/runs/${complete['run_id']}`)
    const times = (stored as Json[]).map(({ duration_ms }) => duration_ms as number)
    expect(times.reduce((sum, ms) => sum + ms, 0)).toBe(answer['reasoning_duration_ms'])
    expect(stored).toHaveLength(2)
  })

  it('that never comes, for the model calls the same again and again, fails the run', async () => {
    model.play(() => ({ text: 'Again. ', toolCalls: [reading(1)] }))
    const { events, complete } = await run(await agentWith())
    const error = 'Doom loop detected: 3 identical tool calls in a row'
    expect(complete).toMatchObject({ status: 'failed', error, code: 'doom_loop', steps: 3 })
    expect(kinds(events)).toEqual([
      'start',
      ...Array.from({ length: 3 }, () => ['step_started', 'tool_call', 'tool_result', 'step_completed']).flat(),
      ...['chunk', 'error', 'complete'],
    ])
    const results = only(events, 'tool_result')
    expect(results.map(({ is_error }) => is_error)).toEqual([false, false, true])
    expect(results[2]!['result']).toContain(error)
  })
})

it('an agent with a hook of any kind tells that its run is over, one without does not: on_run_complete', async () => {
  const id = await agentWith()
  model.play(() => ({ text: 'Done.' }))
  expect(kinds((await run(id)).events)).not.toContain('on_run_complete')
  const config = { condition: "tool_input.query CONTAINS 'never'", action: 'deny' }
  await admin.json(201, 'POST', `/api/agents/${id}/hooks`, { json: { event: 'PreToolUse', type: 'rule', config } })
  expect(kinds((await run(id)).events).slice(-3)).toEqual(['chunk', 'on_run_complete', 'complete'])
})

it('what hooks have done is told, and that the run is over: hook_result, on_run_complete', async () => {
  const id = await agentWith()
  const condition = "tool_input.query CONTAINS 'limit 2'"
  const rule = { event: 'PreToolUse', type: 'rule', config: { condition, action: 'deny', message: 'One is enough.' } }
  const last = { event: 'OnRunComplete', type: 'http', config: { url: `${endpoint.url}/over` } }
  const hook = await admin.json(201, 'POST', `/api/agents/${id}/hooks`, { json: rule })
  await admin.json(201, 'POST', `/api/agents/${id}/hooks`, { json: last })
  model.play(script([{ toolCalls: [reading(1)] }, { toolCalls: [reading(2)] }, { text: 'Done.' }]))
  const { events, complete } = await run(id)
  expect(complete).toMatchObject({ status: 'completed', content: 'Done.' })
  expect(kinds(events)).toEqual([
    'start',
    ...['step_started', 'tool_call', 'hook_result', 'tool_result', 'step_completed'],
    ...['step_started', 'tool_call', 'hook_result', 'tool_result', 'step_completed'],
    ...['step_started', 'step_completed', 'chunk', 'hook_result', 'on_run_complete', 'complete'],
  ])
  const [passed, blocked] = only(events, 'hook_result')
  const told = { hook_id: hook['id'], position: 0, hook_event: 'PreToolUse', status: 'succeeded', modified: false }
  expect(passed).toMatchObject({ ...told, blocked: false, message: null })
  expect(blocked).toMatchObject({ ...told, blocked: true, message: 'One is enough.' })
  const [, refused] = only(events, 'tool_result')
  expect(refused).toMatchObject({ is_error: true, result: expect.stringContaining('One is enough.') })
  // It was not carried out, so there is nothing to say about its content.
  expect(refused).not.toHaveProperty('result_meta')
  expect(only(events, 'on_run_complete')).toMatchObject([{ status: 'completed', steps: 3 }])
  expect(endpoint.received.map(({ path }) => path)).toEqual(['/over'])
})

it('an endpoint that does not answer a hook in time is not waited for, and the call is made: hook_result timed_out', async () => {
  const id = await agentWith()
  const config = { url: `${endpoint.url}/never`, timeout: 0.1 }
  const json = { event: 'PreToolUse', type: 'http', config }
  const { id: hookId } = await admin.json(201, 'POST', `/api/agents/${id}/hooks`, { json })
  const over = Promise.withResolvers<void>()
  endpoint.answerWith(async () => {
    await over.promise
    return { json: { action: 'deny' } }
  })
  model.play(script([{ toolCalls: [reading(1)] }, { text: 'Done.' }]))
  try {
    const { events, complete } = await run(id)
    expect(complete).toMatchObject({ status: 'completed', content: 'Done.' })
    const told = { hook_id: hookId, hook_event: 'PreToolUse', status: 'timed_out', blocked: false, message: null }
    expect(only(events, 'hook_result')).toMatchObject([told])
    expect(only(events, 'tool_result')[0]!['result']).toContain('long')
  } finally {
    over.resolve()
  }
})

it('a hook at its beginning refuses a run before the model is asked: OnRunStart', async () => {
  const id = await bare()
  const config = { condition: "message CONTAINS 'salaries'", action: 'deny', message: 'Not here.' }
  await admin.json(201, 'POST', `/api/agents/${id}/hooks`, { json: { event: 'OnRunStart', type: 'rule', config } })
  model.play(() => ({ text: 'Yes.' }))
  const ask = (message: string) => person.json(200, 'POST', `/api/agents/${id}/run`, { json: { message } })
  const before = model.chats().length
  const refused = await ask('What are the salaries?')
  expect(refused).toMatchObject({ status: 'failed', code: 'forbidden', error: 'Not here.', content: '' })
  expect(model.chats().length).toBe(before)
  expect(await ask('What are the dues?')).toMatchObject({ status: 'completed', content: 'Yes.' })
})

it('an endpoint puts its own words in the place of a tool’s and of the answer: modified_output', async () => {
  const id = await agentWith()
  for (const event of ['PostToolUse', 'PreResponse']) {
    const config = { url: `${endpoint.url}/${event}` }
    await admin.json(201, 'POST', `/api/agents/${id}/hooks`, { json: { event, type: 'http', config } })
  }
  const heard: Json[] = []
  endpoint.answerWith(({ text }) => {
    const payload = JSON.parse(text) as Json
    heard.push(payload)
    return { json: { action: 'allow', modified_output: `Said by ${payload['event']}.` } }
  })
  model.play(script([{ toolCalls: [reading(1)] }, { text: 'Done.' }]))
  const events = await (await begin(person, id, { message: 'What is there?' })).rest()
  expect(heard).toMatchObject([
    { event: 'PostToolUse', tool_name: 'database_query', output: expect.stringContaining('long') },
    { event: 'PreResponse', data: { content: 'Done.' } },
  ])
  // The model reads what the first one made of the result, the person what the second made of the answer.
  const asked = JSON.stringify(model.chats().at(-1)!.body['messages'])
  expect(asked).toContain('Said by PostToolUse.')
  expect(asked).not.toContain(LONG)
  expect(only(events, 'hook_result').map(({ modified }) => modified)).toEqual([true, true])
  expect(events.at(-1)).toMatchObject({ status: 'completed', content: 'Said by PreResponse.' })
  const stored = await person.json(200, 'GET', `/api/agents/runs/${events[0]!['run_id']}`)
  expect(stored['content']).toBe('Said by PreResponse.')
})

it('an agent says how many steps its runs may have, and the last one is offered no tools: settings.max_steps', async () => {
  let calls = 0
  model.play(() => (calls < 2 ? { toolCalls: [reading(++calls)] } : { text: 'Done.' }))
  const id = await agentWith({ max_steps: 3 })
  const { events, complete } = await run(id)
  expect(complete).toMatchObject({ status: 'completed', content: 'Done.', steps: 3 })
  expect(only(events, 'step_started').map(({ is_last_step }) => is_last_step)).toEqual([false, false, true])
  const offered = model
    .chats()
    .slice(-3)
    .map(({ body }) => 'tools' in body)
  expect(offered).toEqual([true, true, false])
  // Without a setting the third step is not the last.
  calls = 0
  const unbounded = await run(await agentWith())
  expect(only(unbounded.events, 'step_started').map(({ is_last_step }) => is_last_step)).toEqual([false, false, false])
})

describe('the settings of a deployment', () => {
  const defaults = { model: 'house-model', maxContextTokens: 50, searchTopK: 10, searchMaxContextTokens: 16_000 }
  const context_items = [{ text: 'a'.repeat(150) }, { text: 'b'.repeat(100) }]

  it('name the model of agents that name none, here and where another process takes their runs up', async () => {
    const house = startApi(stack, { runs: { defaults } })
    const [here, there] = [house.as(person), startApi(stack).as(person)]
    const made = await here.json(201, 'POST', '/api/agents', { json: { name: 'Nameless' } })
    expect(made).toMatchObject({ model: 'house-model' })
    expect(await there.json(200, 'GET', `/api/agents/${made['id']}`)).toMatchObject({ model: model.env.CHAT_MODEL })
    const named = await here.json(201, 'POST', '/api/agents', { json: { name: 'Named', model: 'own-model' } })
    expect(named).toMatchObject({ model: 'own-model' })
    model.play(() => ({ text: 'Yes.' }))
    const path = (id: unknown) => `/api/agents/${id}/run`
    const answer = await here.json(200, 'POST', path(made['id']), { json: { message: 'x' } })
    expect([answer['model'], model.chats().at(-1)!.body['model']]).toEqual(['house-model', 'house-model'])
    await here.json(200, 'POST', path(named['id']), { json: { message: 'x' } })
    expect(model.chats().at(-1)!.body['model']).toBe('own-model')
    const later = await here.json(202, 'POST', path(made['id']), { json: { message: 'x', background: true } })
    const { id, model: stored } = (
      await stack.db.query<Json>('select id, model from ai.agent_runs where run_id = $1', [later['run_id']])
    )[0]!
    expect(stored).toBe('house-model')
    expect(await carryOn(house.deps, id)).toBe('ended')
    expect(model.chats().at(-1)!.body['model']).toBe('house-model')
  })

  it('say how much context a run is given, unless the agent or the request does', async () => {
    const here = startApi(stack, { runs: { defaults } }).as(person)
    const agentId = await agentWith()
    model.play(() => ({ text: 'Yes.' }))
    const given = async (id: string, more: object = {}) => {
      const json = { message: 'x', context_items, ...more }
      const answer = await here.json(200, 'POST', `/api/agents/${id}/run`, { json })
      return [answer['retrieved_items'], (answer['warnings'] ?? []).join()]
    }
    expect(await given(agentId)).toEqual([1, expect.stringContaining('max_context_tokens')])
    expect(await given(agentId, { max_context_tokens: 100 })).toEqual([2, ''])
    expect(await given(await agentWith({ max_context_tokens: 100 }))).toEqual([2, ''])
  })

  it('are the same in the worker, which reads them from the same names', () => {
    const set = { AGENT_DEFAULT_MODEL: 'house-model', DEFAULT_MAX_CONTEXT_TOKENS: '50' }
    const log = { info() {}, error: (event: string) => expect(event).toBe('nothing goes wrong') }
    const worker = runDepsFromEnv({ ...stack.stack.env, ...set }, 'worker', log)
    expect(worker?.runs.defaults).toEqual(defaults)
  })
})

it('another person reads nothing of it', async () => {
  model.play(script([{ text: 'Mine.' }]))
  const { complete } = await run(await agentWith())
  const path = `/api/agents/runs/${complete['run_id']}/stream?after=0`
  expect((await person.send('GET', path)).status).toBe(200)
  expect((await admin.send('GET', path)).status).toBe(404)
})
