import { describe, expect, it } from 'vitest'
import { createAnswerFilter } from '../../../supabase/functions/_shared/answer-filter.ts'
import { AppError } from '../../../supabase/functions/_shared/errors.ts'
import {
  assertWellFormed,
  call,
  done,
  fakeTool,
  only,
  runScript,
  say,
  scriptedModel,
  shownText,
  think,
} from './support/loop-fakes.ts'

describe('runLoop', () => {
  it('answers in one step when the model calls nothing', async () => {
    const model = scriptedModel([[say('Hi '), say('there.')]])
    const { result, events } = await runScript(model)
    expect(events).toEqual([
      { event: 'step_started', step: 1, step_number: 1, is_last_step: false },
      { event: 'content_delta', delta: 'Hi ' },
      { event: 'content_delta', delta: 'there.' },
      { event: 'step_completed', step: 1, step_number: 1, finish_reason: 'stop', has_tool_calls: false },
    ])
    expect(result).toMatchObject({
      status: 'completed',
      content: 'Hi there.',
      error: null,
      errorCode: null,
      toolCalls: [],
    })
    expect(model.requests[0]).not.toHaveProperty('tools')
  })

  it('carries out a call, gives the model its result and sends the events of the agent API in order', async () => {
    const lookup = fakeTool('lookup', 'blue', {
      inputSchema: { type: 'object', properties: { q: { type: 'string' } } },
    })
    const model = scriptedModel([
      [think('hm'), say('Let me look.'), call('lookup', { q: 'sky' }, 'call_a')],
      [say('It is blue.')],
    ])
    const { result, events } = await runScript(model, [lookup])
    const step = { step: 1, step_number: 1 }
    expect(events.slice(0, 7)).toEqual([
      { event: 'step_started', ...step, is_last_step: false },
      { event: 'reasoning_delta', ...step, source: 'thinking', delta: 'hm' },
      { event: 'content_delta', delta: 'Let me look.' },
      { event: 'reasoning', ...step, source: 'thinking', content: 'hm', text: 'hm' },
      { event: 'tool_call', ...step, tool_name: 'lookup', arguments: { q: 'sky' }, call_id: 'call_a' },
      {
        event: 'tool_result',
        ...step,
        tool_name: 'lookup',
        call_id: 'call_a',
        result: 'blue',
        result_preview: 'blue',
        result_meta: { result_type: 'text', char_count: 4 },
        is_error: false,
        duration_ms: expect.any(Number),
      },
      { event: 'step_completed', ...step, finish_reason: 'tool_calls', has_tool_calls: true },
    ])
    expect(model.requests[0]?.tools).toEqual([
      { name: 'lookup', description: 'The tool lookup.', inputSchema: lookup.inputSchema },
    ])
    expect(model.requests[1]?.messages).toEqual([
      { role: 'user', content: 'Hello?' },
      {
        role: 'assistant',
        content: 'Let me look.',
        toolCalls: [{ id: 'call_a', name: 'lookup', arguments: '{"q":"sky"}' }],
      },
      { role: 'tool', toolCallId: 'call_a', name: 'lookup', content: 'blue' },
    ])
    expect(result.content).toBe('Let me look.\n\nIt is blue.')
    expect(shownText(events)).toBe(result.content)
    expect(result.reasoning).toEqual([{ step: 1, content: 'hm', duration_ms: expect.any(Number) }])
    expect(result.toolCalls).toEqual([
      {
        step: 1,
        call_id: 'call_a',
        tool_name: 'lookup',
        arguments: { q: 'sky' },
        result: 'blue',
        is_error: false,
        duration_ms: expect.any(Number),
      },
    ])
  })

  it('counts tokens per step and in all', async () => {
    const { result } = await runScript(scriptedModel([[call('t')], [say('x')]]), [fakeTool('t')])
    expect(result.steps).toMatchObject([
      { step: 1, model: 'model-a', finish_reason: 'tool_calls', has_tool_calls: true, usage: { total_tokens: 13 } },
      { step: 2, model: 'model-a', finish_reason: 'stop', has_tool_calls: false, usage: { total_tokens: 13 } },
    ])
    expect(result.usage).toEqual({
      prompt_tokens: 20,
      completion_tokens: 6,
      total_tokens: 26,
      reasoning_tokens: 2,
      cached_tokens: 4,
    })
  })

  it('offers no tools in the last step', async () => {
    const model = scriptedModel((_request, at) => (at < 2 ? [call('t', { at })] : [say('Enough.')]))
    const { result, events } = await runScript(model, [fakeTool('t')], { maxSteps: 3 })
    expect(model.requests.map((request) => request.tools?.length ?? 0)).toEqual([1, 1, 0])
    expect(only(events, 'step_started').map((event) => event['is_last_step'])).toEqual([false, false, true])
    expect(result).toMatchObject({ status: 'completed', content: 'Enough.' })
  })

  it('carries out no call of a step without tools, whatever the model does', async () => {
    const tool = fakeTool('t')
    const model = scriptedModel((_request, at) => [call('t', { at })])
    const { result, events } = await runScript(model, [tool], { maxSteps: 2 })
    expect(tool.received).toEqual([{ at: 0 }])
    expect(only(events, 'tool_result').map((event) => event['is_error'])).toEqual([false, true])
    assertWellFormed(events)
    expect(result).toMatchObject({ status: 'failed', errorCode: 'upstream_failed' })
    expect(model.requests).toHaveLength(2)
  })

  it('names the known tools when the model invents one', async () => {
    const model = scriptedModel([[call('lookpu', { q: 1 })], [say('Sorry.')]])
    const { result, events } = await runScript(model, [fakeTool('lookup'), fakeTool('other')])
    expect(only(events, 'tool_result')[0]).toMatchObject({
      tool_name: 'lookpu',
      result: 'Error: There is no tool of this name. The tools are: lookup, other.',
      is_error: true,
    })
    expect(only(events, 'tool_result')[0]).not.toHaveProperty('result_meta')
    expect(model.requests[1]?.messages.at(-1)?.content).toContain('lookup, other')
    expect(result.status).toBe('completed')
  })

  it('cuts a long result, says so, and leaves alone what has no limit', async () => {
    const tools = [
      fakeTool('short', 'x'.repeat(99) + '🦆' + 'y'.repeat(50), { maxResultChars: 100 }),
      fakeTool('long', 'z'.repeat(60_000), { maxResultChars: null }),
    ]
    const model = scriptedModel([[call('short'), call('long')], [say('ok')]])
    const { result, events } = await runScript(model, tools)
    const [short, long] = model.requests[1]?.messages.slice(-2) ?? []
    expect(short?.content).toContain('[Cut off: these are the first 100 of 151 characters.]')
    expect(short?.content.isWellFormed()).toBe(true)
    expect(long?.content).toBe('z'.repeat(60_000))
    expect(result.toolCalls[1]?.result).toHaveLength(60_000)
    // The stream of events keeps its own limit.
    expect(String(only(events, 'tool_result')[1]?.['result']).length).toBeLessThan(50_100)
    expect(only(events, 'tool_result')[1]?.['result_preview']).toHaveLength(200)
  })

  it('makes texts of failures, without what only the log may hold', async () => {
    const tools = [
      fakeTool('app', () => Promise.reject(new AppError('forbidden', 'You may not.', { hint: 'Ask an admin.' }))),
      fakeTool('bug', () => Promise.reject(new Error('secret detail'))),
      fakeTool('says', { text: 'HTTP 401', isError: true }),
    ]
    const model = scriptedModel([[call('app'), call('bug'), call('says')], [say('ok')]])
    const { result, logged } = await runScript(model, tools)
    expect(result.toolCalls.map((record) => [record.result, record.is_error])).toEqual([
      ['Error: You may not. Ask an admin.', true],
      ['Error: Something went wrong.', true],
      ['HTTP 401', true],
    ])
    expect(JSON.stringify(model.requests)).not.toContain('secret detail')
    expect(logged).toContain('secret detail')
    expect(result.status).toBe('completed')
  })

  it('numbers nothing twice: passages of tools are kept once per number', async () => {
    const item = (key: number, text: string) => ({ key, text, meta: {} })
    const search = fakeTool('search', { text: '[2]', contextItems: [item(2, 'new'), item(1, 'taken')] })
    const { result, events } = await runScript(scriptedModel([[call('search')], [say('x')]]), [search], {
      request: { system: '', messages: [{ role: 'user', content: 'q' }], context: [item(1, 'given')], citations: true },
    })
    expect(result.contextItems).toEqual([item(2, 'new')])
    assertWellFormed(events)
  })

  it('reports a stored retrieval before the result', async () => {
    const search = fakeTool('search', { text: 'found', contextHandler: { id: 'handler', query: 'sky' } })
    const { events } = await runScript(scriptedModel([[call('search', {}, 'c1')], [say('x')]]), [search])
    const at = events.findIndex(({ event }) => event === 'context_handler_created')
    expect(events[at]).toMatchObject({
      context_handler_id: 'handler',
      tool_name: 'search',
      query: 'sky',
      call_id: 'c1',
    })
    expect(events[at + 1]?.event).toBe('tool_result')
  })

  it('gives every call an id of its own when the provider repeats or garbles them', async () => {
    const tool = fakeTool('t')
    const turn = [call('t', { n: 1 }, 'same'), call('t', { n: 2 }, 'same'), call('t', { n: 3 }, '../x')]
    const { events } = await runScript(scriptedModel([turn, [call('t', { n: 4 }, 'same')], [say('x')]]), [tool])
    expect(new Set(tool.callIds).size).toBe(4)
    expect(tool.callIds.every((id) => /^[A-Za-z0-9_-]{1,64}$/.test(id))).toBe(true)
    assertWellFormed(events)
  })
})

describe('the order of calls', () => {
  /** A tool that notes when it begins and ends, and lets others go ahead in between. */
  const noting = (name: string, notes: string[], isConcurrencySafe: boolean) =>
    fakeTool(
      name,
      async (args) => {
        notes.push(`${args['n']} begins`)
        for (let i = 0; i < 10; i++) await Promise.resolve()
        notes.push(`${args['n']} ends`)
        return { text: String(args['n']) }
      },
      { isConcurrencySafe },
    )

  it('runs safe calls together and the rest after them, one by one', async () => {
    const notes: string[] = []
    const tools = [noting('safe', notes, true), noting('alone', notes, false)]
    const turn = [call('alone', { n: 1 }), call('safe', { n: 2 }), call('alone', { n: 3 }), call('safe', { n: 4 })]
    const model = scriptedModel([turn, [say('x')]])
    const { events } = await runScript(model, tools)
    expect(notes).toEqual(['2 begins', '4 begins', '2 ends', '4 ends', '1 begins', '1 ends', '3 begins', '3 ends'])
    const order = events.filter(({ event }) => event.startsWith('tool_')).map(({ event }) => event)
    expect(order.slice(0, 4)).toEqual(['tool_call', 'tool_call', 'tool_result', 'tool_result'])
    expect(order.slice(4)).toEqual(['tool_call', 'tool_result', 'tool_call', 'tool_result'])
    // The model gets the results in the order of its calls.
    expect(model.requests[1]?.messages.slice(-4).map((message) => message.content)).toEqual(['1', '2', '3', '4'])
  })

  it('sends results of parallel calls as they come', async () => {
    let release = () => {}
    const slow = new Promise<void>((resolve) => (release = resolve))
    const tool = fakeTool(
      't',
      async (args) => {
        if (args['n'] === 1) await slow
        else setTimeout(release)
        return { text: String(args['n']) }
      },
      { isConcurrencySafe: true },
    )
    const { events } = await runScript(scriptedModel([[call('t', { n: 1 }), call('t', { n: 2 })], [say('x')]]), [tool])
    expect(only(events, 'tool_result').map((event) => event['result'])).toEqual(['2', '1'])
  })

  it('makes at most 32 calls of a step', async () => {
    const tool = fakeTool('t', 'ok', { isConcurrencySafe: true })
    const turn = Array.from({ length: 40 }, (_, n) => call('t', { n }))
    const { events, result } = await runScript(scriptedModel([turn, [say('x')]]), [tool])
    expect(tool.received).toHaveLength(32)
    expect(result.toolCalls.filter((record) => record.is_error)).toHaveLength(8)
    assertWellFormed(events)
  })
})

describe('doom loops', () => {
  const DOOM = 'Doom loop detected: 3 identical tool calls in a row'

  it('ends a run whose model repeats itself across steps, before the third call is made', async () => {
    const tool = fakeTool('t')
    const { result, events } = await runScript(
      scriptedModel(() => [call('t', { a: 1 })]),
      [tool],
    )
    expect(result).toMatchObject({ status: 'failed', error: DOOM })
    expect(tool.received).toHaveLength(2)
    expect(only(events, 'tool_call')).toHaveLength(3)
    expect(only(events, 'tool_result').at(-1)).toMatchObject({ result: `Error: ${DOOM}`, is_error: true })
    assertWellFormed(events)
  })

  it('ends it inside one step too, without any of its calls', async () => {
    const tool = fakeTool('t')
    const { result, events } = await runScript(scriptedModel([[call('t'), call('t'), call('t')]]), [tool])
    expect(result).toMatchObject({ status: 'failed', error: DOOM })
    expect(tool.received).toEqual([])
    expect(only(events, 'tool_result')).toHaveLength(3)
    assertWellFormed(events)
  })

  it('counts invalid calls and calls of tools that do not exist', async () => {
    const { result } = await runScript(scriptedModel(() => [call('nothing', 'no json')]))
    expect(result.status).toBe('failed')
    const known = await runScript(
      scriptedModel(() => [call('t', 'no json')]),
      [fakeTool('t')],
    )
    expect(known.result.error).toBe(DOOM)
  })

  it.each([
    ['other arguments between', [call('t', { a: 1 }), call('t', { a: 1 }), call('t', { a: 2 }), call('t', { a: 1 })]],
    ['another tool between', [call('t'), call('t'), call('u'), call('t'), call('t')]],
    ['only two', [call('t'), call('t')]],
  ])('lets calls pass with %s', async (_name, turn) => {
    const { result } = await runScript(scriptedModel([turn, [say('Done.')]]), [fakeTool('t'), fakeTool('u')])
    expect(result.status).toBe('completed')
  })
})

describe('T03: text over several steps', () => {
  it('cannot be put together to a link or an image, in the stream or in the answer', async () => {
    const pieces = ['Look: !', '[x]', '(h', 'ttps://evil.example/?d=secret)', ' and ht', 'tps://evil.example']
    const model = scriptedModel((_request, at) => [
      ...[...(pieces[at] ?? '')].map(say),
      ...(at < pieces.length - 1 ? [call('t', { at })] : []),
    ])
    const { result, events } = await runScript(model, [fakeTool('t')], {
      textFilter: () => createAnswerFilter({ keys: null, knownTexts: [] }),
    })
    expect(result.status).toBe('completed')
    expect(result.content).not.toMatch(/!\[|\]\(|https:/)
    expect(shownText(events)).toBe(result.content)
    assertWellFormed(events)
  })

  it('is filtered with what the filter holds back given out before the calls', async () => {
    const model = scriptedModel([
      [say('see ![a](https://evil.example/x'), call('t')],
      [say('end'), done('stop')],
    ])
    const { result, events } = await runScript(model, [fakeTool('t')], {
      textFilter: () => createAnswerFilter({ keys: null, knownTexts: [] }),
      reasoningFilter: () => createAnswerFilter({ keys: null, knownTexts: [] }),
    })
    expect(result.content).toContain('hxxps://evil.example/x')
    assertWellFormed(events)
  })
})
