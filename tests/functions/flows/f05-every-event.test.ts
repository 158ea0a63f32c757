import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { useFunctionsStack } from '../support/functions-stack.ts'
import { callThenSay, say, sayAndBreak, startModelServer } from '../support/model-server.ts'
import type { ModelServer } from '../support/model-server.ts'
import { serviceCaller } from '../support/http.ts'
import { CALLERS, FLOW_ENV } from './callers.ts'

const userEnv: Record<string, string> = { ...FLOW_ENV, OPENAI_API_KEY: 'sk-test', CHAT_MODEL: 'stub' }
let model: ModelServer
beforeAll(async () => {
  model = await startModelServer()
  userEnv['OPENAI_BASE_URL'] = model.url
})
const stack = useFunctionsStack({ userEnv })
afterAll(() => model.stop())

describe.each(CALLERS)('F5 every event, %s', (_name, tenantHeaders) => {
  /** The documented client: decodes each network read alone, and switches on the key `event`. */
  async function run(body: object, agentId?: string) {
    const baseUrl = `${stack.url}/functions/v1`
    const H = {
      apikey: stack.keys.secret,
      Authorization: `Bearer ${stack.keys.secret}`,
      'Content-Type': 'application/json',
      ...tenantHeaders,
    }
    const { agents } = await (await fetch(`${baseUrl}/api/agents`, { headers: H })).json()
    const response = await fetch(`${baseUrl}/api/agents/${agentId ?? agents[0].id}/run/stream`, {
      method: 'POST',
      headers: H,
      body: JSON.stringify(body),
    })
    if (!response.ok) throw new Error((await response.json()).error)
    const seen = {
      sessionId: '',
      runId: '',
      answer: '',
      deltas: '',
      errors: [] as string[],
      order: [] as string[],
      complete: {} as Record<string, any>,
      numbers: [] as number[],
      steps: [] as [string, number, number][],
      cards: [] as object[],
      callIds: [] as string[],
    }
    const decoder = new TextDecoder()
    for await (const chunk of response.body!) {
      for (const line of decoder.decode(chunk).split('\n')) {
        if (!line.startsWith('data: ')) continue
        const event = JSON.parse(line.slice(6))
        if (event.event !== 'content_delta') seen.order.push(event.event)
        seen.numbers.push(event.seq)
        expect(Date.parse(event.ts)).not.toBeNaN()
        expect(event.type).toBe(event.event)
        switch (event.event) {
          case 'start':
            seen.sessionId = event.session_id
            seen.runId = event.run_id
            break
          case 'content_delta':
            seen.deltas += event.delta
            break
          case 'chunk':
            seen.answer += event.content
            break
          case 'step_started':
          case 'step_completed':
            seen.steps.push([event.event, event.step, event.step_number])
            break
          case 'tool_call':
            seen.cards.push({ tool_name: event.tool_name, arguments: event.arguments })
            seen.callIds.push(event.call_id)
            break
          case 'tool_result':
            seen.cards.push({ tool_name: event.tool_name, result: event.result })
            seen.callIds.push(event.call_id)
            expect(event).toMatchObject({
              result_preview: event.result.slice(0, 200),
              result_meta: { result_type: 'text', char_count: event.result.length },
              duration_ms: expect.any(Number),
            })
            break
          case 'error':
            seen.errors.push(event.message ?? event.error)
            expect(event.code).toEqual(expect.any(String))
            break
          case 'complete':
            seen.complete = event
        }
      }
    }
    return seen
  }

  it('comes in the promised order, with the answer exactly once in chunk', async () => {
    model.answer(say('Grüße ', 'from 漢', '字 🦆', ' quay.'))
    const seen = await run({ message: 'Hello?' })
    expect(seen.order).toEqual(['start', 'step_started', 'step_completed', 'chunk', 'complete'])
    expect(seen.runId).toMatch(/^run_[0-9a-f]{12}$/)
    expect(seen.sessionId).toMatch(/^sess_[0-9a-f]{12}$/)
    expect(seen.answer).toBe('Grüße from 漢字 🦆 quay.')
    expect(seen.deltas).toBe(seen.answer)
    expect(seen.numbers).toEqual(seen.numbers.map((_, index) => index + 1))
    expect(seen.complete).toMatchObject({
      run_id: seen.runId,
      session_id: seen.sessionId,
      content: seen.answer,
      status: 'completed',
      error: null,
      is_new_session: true,
      tool_calls: [],
      retrieved_items: 0,
      usage: { prompt_tokens: 11, completion_tokens: 7, total_tokens: 18, reasoning_tokens: 0, cached_tokens: 3 },
    })
  })

  it('names the steps, the tool, its arguments and its result', async () => {
    const backend = serviceCaller(stack, tenantHeaders)
    const { id } = await backend.json(201, 'POST', '/api/agents', { json: { name: 'Looks' } })
    await backend.json(201, 'POST', `/api/agents/${id}/tools`, {
      json: { tool_name: 'database_query', config_override: { schemas: { public: ['memories'] } } },
    })
    const args = { query: 'select body from memories limit 1' }
    model.answer(callThenSay('database_query', args, 'That ', 'was it.'))
    const seen = await run({ message: 'Look.' }, id as string)
    expect(seen.order).toEqual([
      'start',
      'step_started',
      'tool_call',
      'tool_result',
      'step_completed',
      'step_started',
      'step_completed',
      'chunk',
      'complete',
    ])
    expect(seen.steps).toEqual([
      ['step_started', 1, 1],
      ['step_completed', 1, 1],
      ['step_started', 2, 2],
      ['step_completed', 2, 2],
    ])
    expect(seen.cards).toEqual([
      { tool_name: 'database_query', arguments: args },
      { tool_name: 'database_query', result: expect.any(String) },
    ])
    expect(seen.callIds[0]).toEqual(expect.any(String))
    expect(seen.callIds[1]).toBe(seen.callIds[0])
    expect([seen.answer, seen.deltas]).toEqual(['That was it.', 'That was it.'])
    expect(seen.complete['tool_calls']).toMatchObject([{ step: 1, tool_name: 'database_query', arguments: args }])
    await backend.json(200, 'DELETE', `/api/agents/${id}`)
  })

  it('says in an error, before the stream, what the client shows', async () => {
    await expect(run({ message: '' })).rejects.toThrow('message is required')
  })

  it('has no steps for an agent without tools, and ends with error and complete when the model breaks off', async () => {
    const backend = serviceCaller(stack, tenantHeaders)
    const { id } = await backend.json(201, 'POST', '/api/agents', { json: { name: 'Plain' } })
    model.answer(sayAndBreak('Half an ', 'answer'))
    const seen = await run({ message: 'Hello?' }, id as string)
    expect(seen.order).toEqual(['start', 'chunk', 'error', 'complete'])
    expect(seen.answer).toBe('Half an answer')
    expect(seen.errors).toHaveLength(1)
    expect(seen.complete).toMatchObject({ status: 'failed', error: seen.errors[0], content: 'Half an answer' })
    await backend.json(200, 'DELETE', `/api/agents/${id}`)
  })
})
