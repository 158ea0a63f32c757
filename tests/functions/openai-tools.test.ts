import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ChatEvent, ChatRequest, ToolCall } from '../../supabase/functions/_shared/providers/index.ts'
import { createToolCallAssembler } from '../../supabase/functions/_shared/providers/openai-tool-calls.ts'
import { createOpenAiChat } from '../../supabase/functions/_shared/providers/openai.ts'
import { script, startScriptedModel } from '../support/scripted-model/index.ts'
import type { ScriptedModel, Turn } from '../support/scripted-model/index.ts'
import { createRandom } from './support/random.ts'

let model: ScriptedModel
beforeAll(async () => {
  model = await startScriptedModel()
})
afterAll(() => model.stop())

const REQUEST: ChatRequest = {
  system: 'Be brief.',
  messages: [{ role: 'user', content: 'Hi' }],
  context: [],
  citations: false,
}
const LOOK = {
  name: 'look',
  description: 'Looks.',
  inputSchema: { type: 'object', properties: { q: { type: 'string' } } },
}

async function ask(turn: Turn, request: Partial<ChatRequest> = {}): Promise<ChatEvent[]> {
  model.play(script([turn]))
  const events: ChatEvent[] = []
  const chat = createOpenAiChat(model.env, { maxRetries: 0 })
  for await (const event of chat.stream({ ...REQUEST, ...request }, new AbortController().signal)) events.push(event)
  return events
}
const bodySent = () => model.chats().at(-1)?.body ?? {}
const callsOf = (events: ChatEvent[]) => events.flatMap((event) => (event.type === 'tool_call' ? [event.call] : []))
const doneOf = (events: ChatEvent[]) => events.find((event) => event.type === 'done')

describe('what is sent', () => {
  it('holds the settings that were asked for, and no others', async () => {
    await ask({ text: 'x' })
    expect(Object.keys(bodySent()).sort()).toEqual(['messages', 'model', 'stream', 'stream_options'])
    const responseFormat = { type: 'json_schema', json_schema: { name: 'n', schema: { type: 'object' } } }
    await ask({ text: 'x' }, { tools: [LOOK], reasoningEffort: 'low', responseFormat, temperature: 0, maxTokens: 9 })
    expect(bodySent()).toMatchObject({
      tools: [{ type: 'function', function: { name: 'look', description: 'Looks.', parameters: LOOK.inputSchema } }],
      reasoning_effort: 'low',
      response_format: responseFormat,
      temperature: 0,
      max_tokens: 9,
    })
    await ask({ text: 'x' }, { tools: [] })
    expect(bodySent()).not.toHaveProperty('tools')
  })

  it('tells calls and results as the endpoint wants them, also those a model has got wrong', async () => {
    const toolCalls: ToolCall[] = [
      { id: 'a', name: 'look', arguments: '{"q": 1}' },
      { id: 'b', name: 'no such tool!', arguments: '{"cut' },
      { id: 'c', name: '', arguments: '[1]' },
    ]
    await ask(
      { text: 'x' },
      {
        messages: [
          { role: 'user', content: 'Hi' },
          { role: 'assistant', content: '', toolCalls },
          { role: 'tool', toolCallId: 'a', name: 'look', content: 'seen' },
          { role: 'assistant', content: 'So.', toolCalls: toolCalls.slice(0, 1) },
          { role: 'assistant', content: 'Done.', toolCalls: [] },
        ],
      },
    )
    const call = (id: string, name: string, args: string) => ({
      id,
      type: 'function',
      function: { name, arguments: args },
    })
    const first = call('a', 'look', '{"q": 1}')
    expect(bodySent()['messages'].slice(2)).toEqual([
      { role: 'assistant', content: null, tool_calls: [first, call('b', 'no_such_tool_', '{}'), call('c', '_', '{}')] },
      { role: 'tool', tool_call_id: 'a', content: 'seen' },
      { role: 'assistant', content: 'So.', tool_calls: [first] },
      { role: 'assistant', content: 'Done.' },
    ])
  })
})

describe('a refusal', () => {
  it('is not tried again here when tools are offered: the loop that offers them does that', async () => {
    for (const [tools, attempts] of [
      [[LOOK], 1],
      [[], 2],
    ] as const) {
      const before = model.chats().length
      model.play(() => ({ status: 429 }))
      const stream = createOpenAiChat(model.env, { maxRetries: 1 }).stream(
        { ...REQUEST, tools: [...tools] },
        new AbortController().signal,
      )
      await expect(stream[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: 'rate_limited' })
      expect(model.chats().length - before).toBe(attempts)
    }
  })
})

describe('calls in a stream', () => {
  it('come whole, in their order, after the text and before the end', async () => {
    const events = await ask({
      text: 'Wait.',
      toolCalls: [
        { id: 'a', name: 'look', arguments: '{"q": "a long enough text for several pieces"}' },
        { id: 'b', name: 'send', arguments: ['{"to"', ':', '"x"}'] },
        { id: 'c', name: 'look' },
      ],
      interleaved: true,
    })
    expect(events.map((event) => event.type)).toEqual(['delta', 'tool_call', 'tool_call', 'tool_call', 'done'])
    expect(callsOf(events)).toEqual([
      { id: 'a', name: 'look', arguments: '{"q": "a long enough text for several pieces"}' },
      { id: 'b', name: 'send', arguments: '{"to":"x"}' },
      { id: 'c', name: 'look', arguments: '{}' },
    ])
    expect(doneOf(events)).toMatchObject({ finishReason: 'tool_calls' })
  })

  it('are not given out when the stream breaks off', async () => {
    const seen: ChatEvent[] = []
    model.play(script([{ toolCalls: [{ name: 'look', arguments: '{}' }], cutAfter: 3 }]))
    const reading = (async () => {
      const stream = createOpenAiChat(model.env, { maxRetries: 0 }).stream(REQUEST, new AbortController().signal)
      for await (const event of stream) seen.push(event)
    })()
    await expect(reading).rejects.toMatchObject({ code: 'upstream_failed' })
    expect(seen).toEqual([])
  })

  it.each(['length', 'content_filter'])('that %s has cut off are left out', async (finishReason) => {
    const events = await ask({
      toolCalls: [{ name: 'look', arguments: '{"q":1}' }, { name: 'look', arguments: '{"q' }, { name: 'look' }],
      finishReason,
    })
    expect(callsOf(events).map((call) => call.arguments)).toEqual(['{"q":1}'])
    expect(doneOf(events)).toMatchObject({ finishReason })
  })

  it('keep what is no JSON as it was written', async () => {
    const events = await ask({ toolCalls: [{ id: 'a', name: 'look', arguments: '{"q": "\u0000", }' }] })
    expect(callsOf(events)).toEqual([{ id: 'a', name: 'look', arguments: '{"q": "\u0000", }' }])
  })

  it('never have an id twice, not even one of an earlier call', async () => {
    const messages: ChatRequest['messages'] = [
      ...REQUEST.messages,
      { role: 'assistant', content: '', toolCalls: [{ id: 'call_0', name: 'look', arguments: '{}' }] },
      { role: 'tool', toolCallId: 'call_0', name: 'look', content: '' },
    ]
    const toolCalls = ['call_0', 'same', 'same', null, 'with space', 'x'.repeat(201)].map((id) => ({
      id,
      name: 'look',
    }))
    const ids = callsOf(await ask({ toolCalls }, { messages })).map((call) => call.id)
    expect(new Set([...ids, 'call_0']).size).toBe(7)
    expect(ids[1]).toBe('same')
    for (const id of ids) expect(id).toMatch(/^(same|call_[0-9a-f]{32})$/)
  })

  const one = (...pieces: object[]) => pieces.map((piece) => ({ tool_calls: [piece] }))
  it.each<[string, object[], string[]]>([
    [
      'names in pieces',
      one({ index: 0, id: 'a', function: { name: 'lo' } }, { index: 0, function: { name: 'ok', arguments: '{}' } }),
      ['look {}'],
    ],
    [
      'names repeated with every piece',
      one(
        { index: 0, id: 'a', function: { name: 'look', arguments: '{"q"' } },
        { index: 0, id: 'a', function: { name: 'look', arguments: ':1}' } },
        { index: 0, id: 'a', function: { name: 'look', arguments: '' } },
      ),
      ['look {"q":1}'],
    ],
    [
      'every call at index 0',
      one(
        { index: 0, id: 'a', function: { name: 'look', arguments: '{"q":1}' } },
        { index: 0, id: 'b', function: { name: 'look', arguments: '{"q":2}' } },
      ),
      ['look {"q":1}', 'look {"q":2}'],
    ],
    [
      'no ids and every call at index 0',
      one(
        { index: 0, function: { name: 'look', arguments: '{"q":1}' } },
        { index: 0, function: { name: 'look', arguments: '{"q":2}' } },
        { index: 0, function: { name: 'send', arguments: '{}' } },
      ),
      ['look {"q":1}', 'look {"q":2}', 'send {}'],
    ],
    [
      'every call at index 0, and no arguments',
      one({ index: 0, id: 'a', function: { name: 'look' } }, { index: 0, id: 'b', function: { name: 'look' } }),
      ['look {}', 'look {}'],
    ],
    [
      'no ids, and a call without arguments after another',
      one({ index: 0, function: { name: 'look', arguments: '{}' } }, { index: 0, function: { name: 'send' } }),
      ['look {}', 'send {}'],
    ],
    [
      'no ids, and the name once more at the end',
      one(
        { index: 0, function: { name: 'look', arguments: '{}' } },
        { index: 0, function: { name: 'look', arguments: '' } },
        { index: 0, function: { name: 'look' } },
      ),
      ['look {}'],
    ],
    [
      'no indexes',
      one(
        { id: 'a', function: { name: 'look', arguments: '{"q"' } },
        { function: { arguments: ':1}' } },
        { id: 'b', function: { name: 'send', arguments: '{' } },
        { id: 'a', function: { arguments: ' ' } },
        { id: 'b', function: { arguments: '}' } },
      ),
      ['look {"q":1} ', 'send {}'],
    ],
    [
      'another id in every piece',
      one(
        { index: 0, id: 'a', function: { name: 'look', arguments: '{' } },
        { index: 0, id: 'b', function: { arguments: '}' } },
      ),
      ['look {}'],
    ],
    [
      'arguments as an object',
      one({ index: 0, id: 'a', function: { name: 'look', arguments: { q: [1] } } }),
      ['look {"q":[1]}'],
    ],
    ['arguments as null', one({ index: 0, id: 'a', function: { name: 'look', arguments: null } }), ['look {}']],
    [
      'calls of which nothing is right',
      [{ tool_calls: [null, 7, 'x', { function: 1 }] }, { tool_calls: 'x' }],
      [' {}'],
    ],
    [
      'the one call of the first API',
      [{ function_call: { name: 'look', arguments: '{"q"' } }, { function_call: { arguments: ':1}' } }],
      ['look {"q":1}'],
    ],
  ])('are understood from servers that send %s', async (_name, deltas, expected) => {
    const events = await ask({ deltas: deltas as Record<string, unknown>[], finishReason: 'function_call' })
    expect(callsOf(events).map((call) => `${call.name} ${call.arguments}`)).toEqual(expected)
    expect(doneOf(events)).toMatchObject({ finishReason: 'tool_calls' })
  })

  it('do not depend on how they were cut and mixed', () => {
    const next = createRandom(7)
    for (let round = 0; round < 200; round++) {
      const calls = Array.from({ length: 1 + Math.floor(next() * 4) }, (_, i) => ({
        id: `id${i}`,
        name: `tool_${i}`,
        arguments: JSON.stringify({ text: '🚢"\\\n{}'.repeat(Math.floor(next() * 5)), i }),
      }))
      const queues = calls.map((call, index) => {
        const pieces: object[] = [{ index, id: call.id, function: { name: call.name } }]
        for (let at = 0; at < call.arguments.length; ) {
          const size = 1 + Math.floor(next() * 6)
          pieces.push({ index, function: { arguments: call.arguments.slice(at, at + size) } })
          at += size
        }
        return pieces
      })
      const assembler = createToolCallAssembler([])
      // Calls begin in order; after that any of them may go on.
      for (const queue of queues) assembler.push({ tool_calls: queue.splice(0, 1) })
      for (let left = queues.filter((queue) => queue.length > 0); left.length > 0; ) {
        assembler.push({ tool_calls: left[Math.floor(next() * left.length)]?.splice(0, 1) })
        left = queues.filter((queue) => queue.length > 0)
      }
      expect(assembler.finish(false)).toEqual(calls)
    }
  })

  it('end the answer when there are too many, or one is too large, or all together are', async () => {
    const pushed = (deltas: object[]) => () => {
      const assembler = createToolCallAssembler([])
      for (const delta of deltas) assembler.push(delta)
    }
    const many = Array.from({ length: 129 }, (_, index) => ({ index, function: { name: 'look' } }))
    expect(pushed([{ tool_calls: many.slice(0, 128) }])).not.toThrow()
    expect(pushed([{ tool_calls: many }])).toThrow(expect.objectContaining({ code: 'upstream_failed' }))
    const part = { tool_calls: [{ index: 0, function: { arguments: 'x'.repeat(300_000) } }] }
    expect(pushed([part, part, part])).not.toThrow()
    expect(pushed([part, part, part, part])).toThrow(expect.objectContaining({ code: 'upstream_failed' }))
    const several = Array.from({ length: 7 }, (_, index) => ({
      tool_calls: [{ index, function: { name: 'look', arguments: 'x'.repeat(300_000) } }],
    }))
    expect(pushed(several.slice(0, 6))).not.toThrow()
    expect(pushed(several)).toThrow(expect.objectContaining({ code: 'upstream_failed' }))
  })
})

describe('how an answer ends', () => {
  it.each([
    ['stop', 'stop'],
    ['length', 'length'],
    ['MAX_TOKENS', 'length'],
    ['content_filter', 'content_filter'],
    ['SAFETY', 'content_filter'],
    ['eos', 'stop'],
    ['tool_calls', 'stop'],
    ['function_call', 'stop'],
    ['something_else', 'something_else'],
    ['__proto__', '__proto__'],
    ['<b>\ndata: x', 'unknown'],
  ])('is said in one language: %j without calls is %j', async (finishReason, expected) => {
    expect(doneOf(await ask({ text: 'x', finishReason }))).toMatchObject({ finishReason: expected })
  })

  it('is `tool_calls` whenever there are calls to make', async () => {
    for (const finishReason of ['stop', 'tool_use', 'end_turn']) {
      expect(doneOf(await ask({ toolCalls: [{ name: 'look' }], finishReason }))).toMatchObject({
        finishReason: 'tool_calls',
      })
    }
  })

  it.each([null, {}, { prompt_tokens: 'many', completion_tokens: 1 }, { prompt_tokens: -1, completion_tokens: 1 }])(
    'with usage estimated when it comes as %j, tools and calls counted',
    async (usage) => {
      const text = 'x'.repeat(40)
      const plain = doneOf(await ask({ text, usage }))
      expect(plain).toMatchObject({ usage: { completion_tokens: 10, reasoning_tokens: 0, cached_tokens: 0 } })
      const withTools = doneOf(
        await ask({ text, usage, toolCalls: [{ name: 'look', arguments: text }] }, { tools: [LOOK] }),
      )
      if (plain?.type !== 'done' || withTools?.type !== 'done') throw new Error('No end.')
      expect(withTools.usage.completion_tokens).toBe(21)
      expect(withTools.usage.prompt_tokens).toBeGreaterThan(plain.usage.prompt_tokens + 10)
      expect(plain.usage.total_tokens).toBe(plain.usage.prompt_tokens + 10)
    },
  )

  it('gives reasoning and refusals as such', async () => {
    const events = await ask({
      deltas: [{ reasoning: 'Hm.' }, { reasoning_content: 'So.' }, { content: null, refusal: 'No.' }],
    })
    expect(events.slice(0, 3)).toEqual([
      { type: 'reasoning', text: 'Hm.' },
      { type: 'reasoning', text: 'So.' },
      { type: 'delta', text: 'No.' },
    ])
  })
})
