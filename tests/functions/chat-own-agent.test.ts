import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createAgentEndpoint } from '../../supabase/functions/chat/agent-endpoint.ts'
import { createApp } from '../../supabase/functions/chat/app.ts'
import { depsFromEnv } from '../../supabase/functions/_shared/deps.ts'
import type { Embedder } from '../../supabase/functions/_shared/providers/index.ts'
import { providersFromEnv } from '../../supabase/functions/_shared/providers/index.ts'
import { createOfflineEmbedder } from '../../supabase/functions/_shared/providers/offline-embedder.ts'
import { drainBackground } from '../../supabase/functions/_shared/runtime.ts'
import { searchProviders } from '../../supabase/functions/_shared/search.ts'
import { AppError } from '../../supabase/functions/_shared/errors.ts'
import { useStack } from '../support/stack.ts'
import { startAgentServer, stream } from './support/agent-server.ts'
import type { AgentServer } from './support/agent-server.ts'
import { eventsOf, only, tokenOf } from './support/http.ts'

const stack = useStack()
let api: AgentServer
let token = ''
beforeAll(async () => {
  api = await startAgentServer()
  token = await tokenOf(await stack.signIn('member@harbor.example'))
})
afterAll(async () => {
  await drainBackground()
  await api.stop()
})

/** The function in this process, with a stand-in for our own api behind it. */
function chatApp(embedder: Embedder = createOfflineEmbedder(), onLogged: (event: string) => void = () => {}) {
  const agentEndpoint = createAgentEndpoint({
    baseUrl: api.url,
    apiKey: null,
    publishableKey: stack.keys.publishable,
    stallTimeoutMs: 300,
  })
  const deps = { ...depsFromEnv(stack.stack.env, 'chat'), log: { info: onLogged, error: onLogged } }
  const app = createApp({
    ...deps,
    search: searchProviders({ ...providersFromEnv({}), embedderFor: () => embedder, reranker: null }, deps),
    agentEndpoint,
  })
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  return {
    answer: () => app.request('/chat', { method: 'POST', headers, body: JSON.stringify({ message: 'When?' }) }),
    messages: async (sessionId: string) =>
      (await (await app.request(`/chat/sessions/${sessionId}/messages`, { headers })).json()).messages,
  }
}

async function ask(...given: Parameters<typeof chatApp>) {
  const app = chatApp(...given)
  const events = await eventsOf(await app.answer())
  const complete = events.find(({ event }) => event === 'complete') ?? {}
  const messages = () => app.messages(events[0]!['session_id'])
  return { events, complete, messages, answer: (await messages())[1] }
}

const CUT = Buffer.from('data: {"event":"content_delta","delta":"漢"}\n\n')

describe('when our own api', () => {
  it.each([
    [
      'is cut off inside a character',
      (response: any) =>
        void (response.write(CUT.subarray(0, CUT.indexOf(0xe6) + 1)), setTimeout(() => response.destroy(), 50)),
      'upstream_failed',
      'The answer was cut off.',
    ],
    ['ends between two events', (response: any) => void response.end(), 'upstream_failed', 'The answer was cut off.'],
    ['stalls', () => {}, 'upstream_timeout', 'The agent stopped answering.'],
  ])('%s, there is a clear error and a stored failed message', async (_name, end, code, message) => {
    api.answer(
      stream(
        [
          { event: 'start', run_id: 'run_000000000000' },
          { event: 'content_delta', delta: 'Half' },
        ],
        end,
      ),
    )
    const { events, complete, answer } = await ask()
    expect(only(events, 'error')).toMatchObject({ code, message, error: message })
    expect(events.at(-1)).toBe(only(events, 'complete'))
    expect(complete).toMatchObject({ status: 'failed', content: 'Half', error: message, code, message_id: answer.id })
    expect(answer).toMatchObject({
      role: 'assistant',
      status: 'failed',
      content: 'Half',
      error: message,
      code,
      citations: [],
    })
  })

  it('reports a failure, it is told once and stored', async () => {
    const failed = { error: 'The model provider stopped sending.', code: 'upstream_timeout' }
    api.answer(
      stream([
        { event: 'start' },
        { event: 'error', ...failed },
        { event: 'complete', content: '', status: 'failed', ...failed, seq: 3 },
        { event: 'late' },
      ]),
    )
    const { events, complete, answer } = await ask()
    expect(events.map((event) => event['event'])).toEqual(['session', 'start', 'error', 'complete'])
    expect(complete).toMatchObject({ status: 'failed', ...failed })
    expect(answer).toMatchObject({ status: 'failed', ...failed })
  })

  it('says that its viewer is no member any more, the last word is a complete, and nothing is said twice', async () => {
    const failed = { error: 'The run was stopped: its user is no longer a member.', code: 'membership_lost' }
    api.answer(
      stream([
        { event: 'start', run_id: 'run_000000000000', session_id: 'sess_x', seq: 1 },
        { event: 'content_delta', delta: 'Half', off: 0, seq: 2 },
        { event: 'error', ...failed },
        { event: 'complete', content: '', status: 'failed', ...failed, tool_calls: [] },
      ]),
    )
    const { events, answer } = await ask()
    expect(events.map(({ event }) => event)).toEqual(['session', 'start', 'content_delta', 'error', 'complete'])
    expect(events.at(-1)).toMatchObject({ status: 'failed', ...failed, session_id: events[0]!['session_id'] })
    expect(answer).toMatchObject({ status: 'failed', ...failed })
  })

  it('fails in a way nobody expects, the stream ends with error and complete all the same', async () => {
    api.answer((response) => void response.writeHead(404).end('{"error":"Agent not found","code":"agent_not_found"}'))
    const { events } = await ask(createOfflineEmbedder(), (event) => {
      if (event === 'turn_failed') throw new Error('The disk is full: /var/canary.')
    })
    expect(events.map(({ event }) => event)).toEqual(['session', 'error', 'complete'])
    const failed = { error: 'Something went wrong.', code: 'internal' }
    expect(events[1]).toMatchObject({ ...failed, message: failed.error })
    expect(events[2]).toMatchObject({ status: 'failed', content: '', message_id: null, usage: {}, tool_calls: [] })
    expect(events[2]).toMatchObject({ ...failed, session_id: events[0]!['session_id'] })
  })

  it('refuses, its reason is passed on', async () => {
    api.answer((response) => void response.writeHead(404).end('{"error":"Agent not found","code":"agent_not_found"}'))
    expect((await ask()).answer).toMatchObject({ status: 'failed', code: 'agent_not_found' })
  })
})

type BegunRun = { id: string; run_id: string; lease_token: string }

/** Stores the answer that the run ends with. */
const finish = (run: BegunRun, content: string) =>
  stack.db.query(`select ai.finish_run($1, $2, 'completed', $3, first_seq => 1, events => $4::jsonb)`, [
    run.id,
    run.lease_token,
    content,
    JSON.stringify([{ event: 'complete', type: 'complete', status: 'completed', content }]),
  ])

describe('when a stream ends before its run', () => {
  /** Lets the api begin a run as it would, and end its stream as told. @returns the run, once it has begun. */
  async function beginAndEnd(end: Parameters<typeof stream>[1]): Promise<() => BegunRun> {
    const member = await stack.signIn('member@harbor.example')
    let run: BegunRun | null = null
    api.answer(async (response, { path, body }) => {
      const { data, error } = await member.schema('ai').rpc('start_run', {
        agent_id: path.split('/')[3]!,
        message: body['message'],
        request: { message: body['message'] },
        chat_message_id: body['chat_message_id'],
      })
      if (error) throw new Error(error.message)
      run = data as unknown as typeof run
      const events = [
        { event: 'start', run_id: run!.run_id, seq: 1 },
        { event: 'content_delta', delta: 'Half', off: 0, seq: 2 },
      ]
      await stream(events, end)(response, { path, headers: {}, body })
    })
    return () => run!
  }

  it.each([
    ['is cut off', (response: any) => void setTimeout(() => response.destroy(), 50)],
    ['stalls', () => {}],
    [
      'says that its time is over',
      (response: any) => void response.end('data: {"event":"stream_end","run_id":"run_x","after":2}\n\n'),
    ],
    [
      'fails without the run, of which its complete says nothing and has no number',
      (response: any) =>
        void response.end('data: {"event":"complete","status":"failed","content":"","code":"internal"}\n\n'),
    ],
  ])('and %s, nothing is stored yet; the answer is when the run ends, whoever carries it out', async (_name, end) => {
    const begun = await beginAndEnd(end)
    const { events, answer, messages } = await ask()
    const run = begun()
    expect(events.map(({ event }) => event)).toEqual(['session', 'start', 'content_delta', 'stream_end'])
    expect(events.at(-1)).toEqual({
      event: 'stream_end',
      type: 'stream_end',
      run_id: run.run_id,
      after: 2,
      reason: 'time_limit',
    })
    expect(answer).toBeUndefined()
    await finish(run, 'Half past nine.')
    const [, stored, ...more] = await messages()
    expect(stored).toMatchObject({ role: 'assistant', status: 'complete', content: 'Half past nine.', citations: [] })
    expect(more).toEqual([])
  })

  it('because the asker has left, the api is left as well; the answer is stored when the run ends', async () => {
    const { promise: left, resolve: leave } = Promise.withResolvers<void>()
    // Were it read on, its silence would be a stall; it says something, so that only leaving ends it.
    const begun = await beginAndEnd((response) => {
      const talk = setInterval(() => response.write(': keepalive\n\n'), 50)
      response.on('close', () => (clearInterval(talk), leave()))
    })
    const logged: string[] = []
    const app = chatApp(undefined, (event) => void logged.push(event))
    const reader = (await app.answer()).body!.getReader()
    let text = ''
    while (!text.includes('Half')) text += new TextDecoder().decode((await reader.read()).value)
    const sessionId = JSON.parse(text.slice('data: '.length, text.indexOf('\n')))['session_id'] as string
    await reader.cancel()
    await left
    await drainBackground()
    expect(await app.messages(sessionId)).toHaveLength(1)
    await finish(begun(), 'Half past nine.')
    expect((await app.messages(sessionId))[1]).toMatchObject({ status: 'complete', content: 'Half past nine.' })
    expect(logged).toEqual([])
  })
})

it('a stream that ends because the token has expired says so, whether or not the run is found by it', async () => {
  const end = { event: 'stream_end', run_id: 'run_000000000000', after: 1, reason: 'token_expired' }
  api.answer(stream([{ event: 'start', run_id: 'run_000000000000', seq: 1 }, end]))
  const { events, answer } = await ask()
  expect(events.map(({ event }) => event)).toEqual(['session', 'start', 'stream_end'])
  expect(events.at(-1)).toEqual({ ...end, type: 'stream_end' })
  expect(answer).toBeUndefined()
})

describe('when retrieval fails', () => {
  it('the agent is not asked, because it would say that there is nothing', async () => {
    // Where nothing is embedded, no query is either.
    await stack.db.exec(`update ai.knowledge_bases set embedding_model = 'm'`)
    const before = api.requests.length
    const embed = () => Promise.reject(new AppError('upstream_failed', 'The embedding model failed.'))
    const { complete, answer } = await ask({ model: 'm', dimensions: 3, embed })
    expect(complete).toMatchObject({ status: 'failed', error: 'The embedding model failed.' })
    expect(answer).toMatchObject({ status: 'failed', code: 'upstream_failed' })
    expect(api.requests.length).toBe(before)
  })
})
