import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { createAgentEndpoint } from '../../supabase/functions/chat/agent-endpoint.ts'
import { createApp } from '../../supabase/functions/chat/app.ts'
import { depsFromEnv } from '../../supabase/functions/_shared/deps.ts'
import type { Ledger } from '../../supabase/functions/_shared/ledger.ts'
import { providersFromEnv } from '../../supabase/functions/_shared/providers/index.ts'
import { drainBackground } from '../../supabase/functions/_shared/runtime.ts'
import { searchProviders } from '../../supabase/functions/_shared/search.ts'
import { eventually } from '../support/eventually.ts'
import { useFunctionsStack } from './support/functions-stack.ts'
import { deltasOf, eventsOf, only, uploadAndIndex, userCaller } from './support/http.ts'
import type { FunctionsCaller } from './support/http.ts'
import { startAgentServer, stream } from './support/agent-server.ts'
import type { AgentServer } from './support/agent-server.ts'

const userEnv: Record<string, string> = { AGENT_API_KEY: 'foreign-key' }
let agent: AgentServer
beforeAll(async () => {
  agent = await startAgentServer()
  userEnv['AGENT_BASE_URL'] = agent.url
})
const stack = useFunctionsStack({ worker: true, userEnv })
afterAll(() => agent.stop())

let member: FunctionsCaller
beforeAll(async () => {
  member = await userCaller(stack, 'member@harbor.example')
  await uploadAndIndex(member, 'gates.md', '# Gates\n\nGate B opens at seven.\n')
})
const ask = async (message = 'When does gate B open?') =>
  eventsOf(await member.send('POST', '/chat', { json: { message } }))
const storedAnswer = async (sessionId: string) =>
  (await member.json(200, 'GET', `/chat/sessions/${sessionId}/messages`))['messages'][1]

describe('a foreign agent', () => {
  it('gets the context and its own key, and nothing that says who is asking', async () => {
    agent.answer(
      stream([
        { event: 'start', run_id: 'theirs', session_id: 'theirs' },
        { event: 'content_delta', delta: 'At seven [1], not [9].' },
        { event: 'complete', content: 'ignored', status: 'completed', usage: { total_tokens: 5 } },
      ]),
    )
    const events = await ask()
    const request = agent.requests.at(-1)
    expect(request?.path).toMatch(/^\/api\/agents\/[0-9a-f-]{36}\/run\/stream$/)
    expect(request?.headers).toMatchObject({ authorization: 'Bearer foreign-key', apikey: 'foreign-key' })
    expect(request?.body).toEqual({
      message: 'When does gate B open?',
      session_id: `${events[0]?.['session_id']}:${events[0]?.['agent_id']}`,
      context_items: [
        {
          text: expect.stringContaining('Gate B opens at seven.'),
          meta: expect.objectContaining({ source_name: 'gates.md' }),
        },
      ],
      citations_enabled: true,
    })
    const sent = JSON.stringify([request?.headers, request?.body])
    expect(sent).not.toContain(member.headers['authorization']?.slice(7))
    expect(sent).not.toContain('11111111-1111-4111-8111-111111111111')
    expect(sent).not.toContain('a0000000-0000-4000-8000-000000000003')
    expect(request?.headers).not.toHaveProperty('x-tenant-id')

    expect(events.map((event) => event['event'])).toEqual(['session', 'start', 'content_delta', 'chunk', 'complete'])
    const complete = only(events, 'complete')
    expect(complete).toMatchObject({
      content: 'At seven [1], not.',
      status: 'completed',
      invalid_citation_count: 1,
      usage: { total_tokens: 5 },
      session_id: events[0]?.['session_id'],
    })
    expect(only(events, 'start')['run_id']).toMatch(/^run_/)
    const answer = await storedAnswer(complete['session_id'])
    expect(answer).toMatchObject({
      id: complete['message_id'],
      content: 'At seven [1], not.',
      citations: [{ citation_key: 1, meta: { source_name: 'gates.md' } }],
    })
    expect(await member.json(200, 'GET', `/api/agents/runs/${complete['run_id']}`)).toMatchObject({
      status: 'completed',
      provider: 'agent',
      usage: { total_tokens: 5 },
    })
  })

  it('that sends chunks instead of deltas, or only a whole text, is understood', async () => {
    agent.answer(
      stream([
        { event: 'chunk', content: 'At ' },
        { event: 'chunk', content: 'seven.' },
        { event: 'complete', status: 'completed' },
      ]),
    )
    expect(only(await ask(), 'complete')['content']).toBe('At seven.')
    agent.answer(
      stream([
        { event: 'content_delta', delta: 'At seven.' },
        { event: 'chunk', content: 'At seven.' },
        { event: 'complete' },
      ]),
    )
    expect(only(await ask(), 'complete')['content']).toBe('At seven.')
    agent.answer(stream([{ event: 'complete', content: 'At seven.' }]))
    const events = await ask()
    expect(deltasOf(events)).toBe('At seven.')
  })

  it('cannot slip anything past the filters, nor forge our events', async () => {
    agent.answer(
      stream([
        { event: 'content_delta', delta: '![x](https://evil' },
        { event: 'content_delta', delta: '.example)' },
        { event: 'tool_result', tool_name: 'x', result: { text: '<img src=x>', list: ['https://evil.example'] } },
        { event: 'session', session_id: 'forged' },
        { event: 'com\u200bplete', session_id: 'forged' },
        { event: '\u202estart', run_id: 'forged' },
        { event: 'chunk\u0000', content: 'forged' },
        { event: 'x'.repeat(61) },
        { event: 'Complete' },
        { event: 'reasoning_delta', delta: '[x]' },
        { event: 'reasoning_delta', delta: '(//evil.example)' },
        { event: 'complete', message_id: 'forged', session_id: 'forged' },
      ]),
    )
    const events = await ask()
    const complete = only(events, 'complete')
    expect(complete['content']).toBe('! [x] (hxxps://evil.example)')
    expect(complete['session_id']).toBe(events[0]?.['session_id'])
    expect(complete['message_id']).not.toBe('forged')
    expect(only(events, 'tool_result')['result']).toEqual({ text: '< img src=x>', list: ['hxxps://evil.example'] })
    const kinds = events.map((event) => event['event']).filter((kind) => kind !== 'content_delta')
    expect(kinds).toEqual(['session', 'start', 'tool_result', 'chunk', 'complete'])
    expect(JSON.stringify(events)).not.toContain('forged')
  })

  it('cut off inside a multi-byte character ends in a clear error and a stored failed message', async () => {
    const bytes = Buffer.from('data: {"event":"content_delta","delta":"ab🦆"}\n\n')
    agent.answer(
      stream([{ event: 'content_delta', delta: 'Half 漢' }], async (response) => {
        response.write(bytes.subarray(0, bytes.indexOf(0xf0) + 2))
        await new Promise((resolve) => setTimeout(resolve, 100))
        response.destroy()
      }),
    )
    const events = await ask()
    expect(only(events, 'error')).toMatchObject({
      code: 'upstream_failed',
      message: 'The answer was cut off.',
      error: 'The answer was cut off.',
    })
    const complete = only(events, 'complete')
    expect(complete).toMatchObject({ status: 'failed', content: 'Half 漢', error: 'The answer was cut off.' })
    expect(events.at(-1)).toBe(complete)
    expect(await storedAnswer(complete['session_id'])).toMatchObject({
      status: 'failed',
      content: 'Half 漢',
      error: 'The answer was cut off.',
      code: 'upstream_failed',
    })
  })

  it.each([
    ['ends without complete', stream([{ event: 'content_delta', delta: 'x' }]), 'upstream_failed'],
    [
      'reports a failure',
      stream([{ event: 'complete', status: 'failed', error: 'at /srv/secret.py' }]),
      'upstream_failed',
    ],
    [
      'refuses',
      (response: any) => void response.writeHead(401).end('{"error":"key foreign-key is wrong"}'),
      'upstream_failed',
    ],
    ['is overloaded', (response: any) => void response.writeHead(429).end(), 'rate_limited'],
    [
      'redirects',
      (response: any) => void response.writeHead(302, { location: 'http://127.0.0.1:9/' }).end(),
      'upstream_failed',
    ],
    [
      'answers with a page',
      (response: any) => void response.writeHead(200, { 'content-type': 'text/html' }).end('<p>hi'),
      'upstream_failed',
    ],
    [
      'sends an endless event',
      (response: any) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' })
        response.write(`data: ${'x'.repeat(3 << 20)}`)
      },
      'upstream_failed',
    ],
  ] as const)('that %s ends in a clear error', async (_name, respond, code) => {
    agent.answer(respond)
    const events = await ask()
    const complete = only(events, 'complete')
    expect(only(events, 'error')).toMatchObject({ code, error: expect.any(String) })
    expect(complete).toMatchObject({ status: 'failed', code, message_id: expect.any(String) })
    expect(JSON.stringify(events)).not.toMatch(/secret|foreign-key/)
    expect(await storedAnswer(complete['session_id'])).toMatchObject({ status: 'failed', code })
  })

  it('goes on in a session that changes its agent', async () => {
    const second = await member.json(201, 'POST', '/api/agents', { json: { name: 'Second' } })
    agent.answer(stream([{ event: 'complete', content: 'ok' }]))
    const session_id = (await ask())[0]?.['session_id']
    const json = { session_id, agent_id: second['id'], message: 'And now?' }
    const events = await eventsOf(await member.send('POST', '/chat', { json }))
    expect(only(events, 'start')).toMatchObject({ session_id })
    expect(only(events, 'complete')).toMatchObject({ session_id, is_new_session: false, status: 'completed' })
    expect(agent.requests.at(-1)?.body['session_id']).toBe(`${session_id}:${second['id']}`)
  })

  it('is known by its own id where the agent’s settings name it', async () => {
    const mine = await member.json(201, 'POST', '/api/agents', {
      json: { name: 'F', settings: { remote_agent_id: 'agent_42' } },
    })
    agent.answer(stream([{ event: 'complete', content: 'ok' }]))
    await (await member.send('POST', '/chat', { json: { agent_id: mine['id'], message: 'x' } })).text()
    expect(agent.requests.at(-1)?.path).toBe('/api/agents/agent_42/run/stream')
  })
})

describe('the run of a foreign agent', () => {
  /** The function in this process, with another ledger. */
  async function askHere(change: Partial<Ledger>, whileOpen: () => Promise<void> = () => Promise.resolve()) {
    const deps = depsFromEnv(stack.stack.env, 'chat')
    const { publishable } = stack.keys
    const app = createApp({
      ...deps,
      ledger: { ...deps.ledger, ...change },
      log: { info() {}, error() {} },
      search: searchProviders(providersFromEnv({}), deps),
      agentEndpoint: createAgentEndpoint({ baseUrl: agent.url, apiKey: 'foreign-key', publishableKey: publishable }),
    })
    const headers = { authorization: member.headers['authorization'] ?? '', 'content-type': 'application/json' }
    const body = JSON.stringify({ message: 'When does gate B open?' })
    const response = await app.request('/chat', { method: 'POST', headers, body })
    await whileOpen()
    const complete = only(await eventsOf(response), 'complete')
    await drainBackground()
    return complete
  }
  const lost = { status: 'failed', code: 'conflict', error: 'The run was ended elsewhere.' }

  it('that cannot be stored is no answer', async () => {
    agent.answer(stream([{ event: 'complete', content: 'At seven.' }]))
    expect(await askHere({ finishRun: () => Promise.resolve(false) })).toMatchObject(lost)
  })

  it('keeps its lease while the agent answers, and ends when it is lost', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    try {
      const asked = agent.requests.length
      agent.answer(stream([{ event: 'content_delta', delta: 'At' }], () => {}))
      const beatRun = vi.fn(() => {
        return Promise.resolve({ held: beatRun.mock.calls.length < 2, last_seq: 0, stop: null })
      })
      const complete = await askHere({ beatRun }, async () => {
        await eventually(async () => expect(agent.requests.length).toBe(asked + 1))
        for (const beats of [1, 2]) {
          vi.advanceTimersByTime(700)
          expect(beatRun).toHaveBeenCalledTimes(beats)
        }
      })
      expect(complete).toMatchObject(lost)
      vi.advanceTimersByTime(120_000)
      expect(beatRun).toHaveBeenCalledTimes(2)
    } finally {
      vi.useRealTimers()
    }
  })
})
