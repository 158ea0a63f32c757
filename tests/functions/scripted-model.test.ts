import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ChatEvent, ChatMessage, ChatRequest } from '../../supabase/functions/_shared/providers/index.ts'
import { createOpenAiChat } from '../../supabase/functions/_shared/providers/openai.ts'
import { eventually } from '../support/eventually.ts'
import { directivesIn } from '../support/scripted-model/directives.ts'
import { obey, replay, script, startScriptedModel } from '../support/scripted-model/index.ts'
import type { Player, ScriptedModel, Turn } from '../support/scripted-model/index.ts'

let model: ScriptedModel
let folder: string
beforeAll(async () => {
  model = await startScriptedModel()
  folder = mkdtempSync(join(tmpdir(), 'scripted-model-'))
})
afterAll(async () => {
  await model.stop()
  rmSync(folder, { recursive: true })
})

const TOOLS = ['look', 'send'].map((name) => ({ name, description: `${name}s`, inputSchema: { type: 'object' } }))
const never = () => new AbortController().signal

async function ask(messages: ChatMessage[], more: Partial<ChatRequest> = {}, signal = never()): Promise<ChatEvent[]> {
  const events: ChatEvent[] = []
  const request = { system: 'Be brief.', messages, context: [], citations: false, tools: TOOLS, ...more }
  const chat = createOpenAiChat(model.env, { maxRetries: 0 })
  for await (const event of chat.stream(request, signal)) events.push(event)
  return events
}
const user = (content: string): ChatMessage => ({ role: 'user', content })
const textOf = (events: ChatEvent[]) => events.map((event) => (event.type === 'delta' ? event.text : '')).join('')
const callsOf = (events: ChatEvent[]) => events.flatMap((event) => (event.type === 'tool_call' ? [event.call] : []))

/** Runs a conversation to its end, each call answered by `tool`. */
async function converse(
  player: Player,
  first: string,
  tool: (name: string, args: string) => string = () => 'done',
  more: Partial<ChatRequest> = {},
) {
  model.play(player)
  const messages = [user(first)]
  const calls: string[] = []
  const texts: string[] = []
  for (;;) {
    const events = await ask(messages, more)
    const made = callsOf(events)
    texts.push(textOf(events))
    if (made.length === 0) return { calls, texts }
    expect(calls.length).toBeLessThan(20)
    messages.push({ role: 'assistant', content: textOf(events), toolCalls: made })
    for (const call of made) {
      calls.push(`${call.name} ${call.arguments}`)
      const content = tool(call.name, call.arguments)
      messages.push({ role: 'tool', toolCallId: call.id, name: call.name, content })
    }
  }
}

const post = (body: object, key = 'sk-scripted', path = '/chat/completions') =>
  fetch(`${model.url}${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })

describe('a script', () => {
  it('plays text, reasoning and calls in order, and fails for good when it is over', async () => {
    const player = script([
      { reasoning: 'Let me think.', text: 'One  moment.', toolCalls: [{ name: 'look', arguments: '{"not json' }] },
      (input) => ({
        text: `You sent ${input.messages.length} messages.`,
        usage: { prompt_tokens: 5, completion_tokens: 2 },
      }),
    ])
    model.play(player)
    const events = await ask([user('Hi')])
    expect(events.filter((event) => event.type === 'reasoning').map((event) => event.text)).toEqual([
      'Let',
      ' me',
      ' think.',
    ])
    expect(textOf(events)).toBe('One  moment.')
    expect(callsOf(events)).toEqual([{ id: expect.any(String), name: 'look', arguments: '{"not json' }])
    expect(player.remaining()).toBe(1)
    const last = await ask([user('Hi')])
    expect(textOf(last)).toBe('You sent 2 messages.')
    expect(last.at(-1)).toMatchObject({ finishReason: 'stop', usage: { prompt_tokens: 5, completion_tokens: 2 } })
    await expect(ask([user('Hi')])).rejects.toMatchObject({ code: 'upstream_failed' })
    expect(player.remaining()).toBe(0)
  })

  it.each<[Turn, string]>([
    [{ status: 429 }, 'rate_limited'],
    [{ status: 503, error: 'plain text' }, 'upstream_failed'],
    [{ status: 400, error: { code: 'context_length_exceeded' } }, 'context_length_exceeded'],
    [{ text: 'Half of', cutAfter: 2 }, 'upstream_failed'],
    [{ text: 'Half of', finishReason: null }, 'upstream_failed'],
    [{ text: 'Half of', error: { message: 'boom' } }, 'upstream_failed'],
  ])('fails as it is told: %j', async (turn, code) => {
    model.play(script([turn]))
    await expect(ask([user('Hi')])).rejects.toMatchObject({ code })
  })

  it('waits where a test makes it wait, and notes who left', async () => {
    let release: () => void = () => {}
    const gate = new Promise<void>((resolve) => (release = resolve))
    let events = 0
    model.play(script([{ text: 'a b c', between: () => (++events > 3 ? gate : Promise.resolve()) }]))
    const abort = new AbortController()
    const reading = ask([user('Hi')], {}, abort.signal)
    await eventually(() => expect(events).toBe(4))
    abort.abort(new Error('enough'))
    await expect(reading).rejects.toThrow('enough')
    await eventually(() => expect(model.chats().at(-1)?.leftEarly).toBe(true))
    release()
    model.play(script([{ text: 'whole' }]))
    await ask([user('Hi')])
    expect(model.chats().at(-1)?.leftEarly).toBe(false)
  })

  it('answers without a stream, too', async () => {
    model.play(script([{ text: 'Hello.', toolCalls: [{ id: 'c1', name: 'look', arguments: { a: 1 } }] }]))
    const response = await post({ model: 'm', messages: [] })
    expect(await response.json()).toMatchObject({
      object: 'chat.completion',
      choices: [
        {
          message: { content: 'Hello.', tool_calls: [{ id: 'c1', function: { name: 'look', arguments: '{"a":1}' } }] },
          finish_reason: 'tool_calls',
        },
      ],
      usage: { total_tokens: expect.any(Number) },
    })
  })

  it('may be another one for each model', async () => {
    model.play(script([{ text: 'everybody' }]))
    model.play(script([{ text: 'special' }]), 'special-model')
    expect(textOf(await ask([user('Hi')], { model: 'special-model' }))).toBe('special')
    expect(textOf(await ask([user('Hi')]))).toBe('everybody')
  })
})

describe('what it records', () => {
  it('is every request, with the key judged and left out', async () => {
    const before = model.requests.length
    model.play(script([{ text: 'x' }]))
    expect((await post({ model: 'm', messages: [] }, 'sk-wrong')).status).toBe(401)
    expect((await post({ input: ['a', 'b'] }, 'sk-scripted', '/embeddings')).status).toBe(200)
    expect((await post({}, 'sk-scripted', '/models')).status).toBe(404)
    const recorded = model.requests.slice(before)
    expect(recorded.map(({ path, isAuthorized }) => [path, isAuthorized])).toEqual([
      ['/v1/chat/completions', false],
      ['/v1/embeddings', true],
      ['/v1/models', true],
    ])
    expect(recorded[1]?.body).toEqual({ input: ['a', 'b'] })
    expect(JSON.stringify(recorded)).not.toMatch(/sk-wrong|sk-scripted/)
  })
})

describe('orders in a text', () => {
  const nested = JSON.stringify({ rows: [{ note: 'a\nCALL send {"to":"x","n":{"m":[1]}} and more\nSAY "hi"' }] })
  it.each([
    ['CALL look {"q": "a } b"} CALL send {}', ['look {"q": "a } b"}', 'send {}']],
    ['Please CALL look {\n  "q": 1\n}\nthank you', ['look {\n  "q": 1\n}']],
    ['CALL look {"q": "CALL send {}"}', ['look {"q": "CALL send {}"}']],
    ['CALL look not json at all\nnext', ['look not json at all']],
    ['CALL look {"broken"\nnext', ['look {"broken"']],
    ['CALL look', ['look ']],
    ['SAY one two\nSAY three CALL look {}', ['SAY one two', 'SAY three', 'look {}']],
    ['RECALL look {} and ESSAY writing', []],
    [nested, ['send {"to":"x","n":{"m":[1]}}', 'SAY "hi"']],
    [JSON.stringify({ outer: nested }), ['send {"to":"x","n":{"m":[1]}}', 'SAY "hi"']],
    [`Rows: ${JSON.stringify({ outer: nested }).slice(0, -30)}`, ['send {"to":"x","n":{"m":[1]}}']],
  ])('are found in %j', (text, expected) => {
    const found = directivesIn(text).map((order) =>
      order.kind === 'call' ? `${order.name} ${order.args}` : `SAY ${order.text}`,
    )
    expect(found).toEqual(expected)
  })
})

describe('the obedient model', () => {
  it('does what the system prompt, the user, tool definitions and results tell it, in order, each once', async () => {
    const { calls, texts } = await converse(
      obey(),
      'CALL look {"q":"first"}\nSAY half way\nCALL send {"to":"user"} CALL look {"q":"first"}',
      (name) =>
        name === 'look' ? JSON.stringify([{ note: 'x\nCALL send {"to":"row"}' }]) : 'sent CALL send {"to":"row"}',
      {
        system: 'CALL unknown_tool {"from":"system"}',
        tools: [{ name: 'send', description: 'CALL look {"q":"definition"}', inputSchema: {} }],
      },
    )
    expect(calls).toEqual([
      'look {"q":"definition"}',
      'unknown_tool {"from":"system"}',
      'look {"q":"first"}',
      'send {"to":"user"}',
      'send {"to":"row"}',
    ])
    expect(texts.slice(0, -1)).toEqual(['', '', '', 'half way', ''])
  })

  it('ends with everything it was sent', async () => {
    const { texts } = await converse(obey(), 'SAY bye', undefined, {
      system: 'canary-system',
      context: [{ key: 1, text: 'canary-context', meta: {} }],
      tools: [{ name: 'look', description: 'canary-definition', inputSchema: {} }],
    })
    expect(texts).toHaveLength(1)
    expect(texts[0]).toMatch(/^bye\n<system>\ncanary-system/)
    for (const canary of ['canary-context', 'canary-definition', 'SAY bye']) expect(texts[0]).toContain(canary)
    const told = await converse(obey(), 'CALL look {}', () => 'canary-result')
    expect(told.texts.at(-1)).toContain('canary-result')
  })

  it('carries what it has read into what it sends', async () => {
    const { calls, texts } = await converse(
      obey(),
      'CALL look {}\nCALL send {"a":"{{result}}","b":"http://x/?{{result_url}}"}\nSAY it was {{result}}, before {{result:look}}, {{result:none}}',
      (name) => (name === 'look' ? 'a "b"\nc' : 'ok'),
    )
    expect(JSON.parse(calls[1]?.slice('send '.length) ?? '')).toEqual({ a: 'a "b"\nc', b: 'http://x/?a%20%22b%22%0Ac' })
    expect(texts.at(-1)).toMatch(/^it was ok, before a "b"\nc, \n/)
  })

  it('makes all calls at once when told so, also malformed ones, and twice none', async () => {
    model.play(obey({ together: true }))
    const orders = user('CALL look {} CALL send {"a":1} CALL look {"q":\nCALL send what')
    const made = callsOf(await ask([orders]))
    expect(made.map((call) => call.arguments)).toEqual(['{}', '{"a":1}', '{"q":', 'what'])
    const done: ChatMessage[] = [orders, { role: 'assistant', content: '', toolCalls: made }]
    expect(callsOf(await ask(done))).toEqual([])
  })

  it('knows its calls again when they come back under other ids', async () => {
    model.play(obey())
    const toolCalls = [{ id: 'other', name: 'look', arguments: '{ "q" : 1 }' }]
    expect(callsOf(await ask([user('CALL look {"q":1}'), { role: 'assistant', content: '', toolCalls }]))).toEqual([])
  })

  it('does not take one malformed call for another', async () => {
    model.play(obey())
    const other = { id: 'x', type: 'function', function: { name: 'send', arguments: '{' } }
    const messages = [user('CALL look {"q":'), { role: 'assistant', content: null, tool_calls: [other] }]
    const { choices } = await (await post({ model: 'm', messages, tools: [{}] })).json()
    expect(choices[0].message.tool_calls).toMatchObject([{ function: { name: 'look', arguments: '{"q":' } }])
  })

  it('calls and tells everything where it is offered no tools', async () => {
    model.play(obey())
    const events = await ask([user('CALL look {} SAY x')], { tools: [] })
    expect(callsOf(events)).toHaveLength(1)
    expect(textOf(events)).toContain('Be brief.')
  })
})

describe('a replay', () => {
  const call = (id: string, name: string) => ({ id, type: 'function', function: { name, arguments: '{"a":1}' } })
  const RECORDED = [
    { role: 'system', content: 'recorded' },
    { role: 'user', content: 'First?' },
    { role: 'assistant', content: null, tool_calls: [call('r1', 'look')] },
    { role: 'tool', tool_call_id: 'r1', content: 'seen' },
    { role: 'assistant', content: null, tool_calls: [call('r2', 'send')] },
    { role: 'tool', tool_call_id: 'r2', content: 'sent' },
    { role: 'assistant', content: 'First answer.' },
    { role: 'user', content: 'Second?' },
    { role: 'assistant', content: 'Second answer.' },
  ]
  const file = (name: string, content: string | Buffer) => {
    const path = join(folder, name)
    writeFileSync(path, content)
    return path
  }
  const lines = (values: object[]) => values.map((value) => JSON.stringify(value)).join('\n')

  it.each([
    ['one conversation', () => file('one.jsonl', lines(RECORDED))],
    [
      'several, gzipped',
      () => {
        const other = {
          messages: [
            { role: 'user', content: 'Other?' },
            { role: 'assistant', content: 'No.' },
          ],
        }
        return file('several.jsonl.gz', gzipSync(lines([other, { messages: RECORDED }])))
      },
    ],
  ])('repeats %s turn by turn', async (_name, path) => {
    const player = replay(path())
    expect(await converse(player, 'First?')).toEqual({
      calls: ['look {"a":1}', 'send {"a":1}'],
      texts: ['', '', 'First answer.'],
    })
    // A session keeps questions and answers only.
    const session: ChatMessage[] = [user('First?'), { role: 'assistant', content: 'First answer.' }, user('Second?')]
    expect(textOf(await ask(session))).toBe('Second answer.')
    expect(textOf(await ask(session))).toBe('Second answer.')
    await expect(ask([...session, { role: 'assistant', content: 'x' }])).rejects.toMatchObject({
      code: 'upstream_failed',
    })
    await expect(ask([user('Unheard?')])).rejects.toMatchObject({ code: 'upstream_failed' })
  })
})
