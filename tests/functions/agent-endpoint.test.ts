import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { agentEndpointFromEnv, createAgentEndpoint } from '../../supabase/functions/chat/agent-endpoint.ts'
import type { AgentCall, AgentEndpointOptions, AgentEvent } from '../../supabase/functions/chat/agent-endpoint.ts'
import { startAgentServer, stream } from './support/agent-server.ts'
import type { AgentServer } from './support/agent-server.ts'

let server: AgentServer
beforeAll(async () => {
  server = await startAgentServer()
})
afterAll(() => server.stop())

const CALL: AgentCall = {
  agentId: 'a/../b',
  message: 'Hi',
  messageId: 'm',
  sessionId: 's',
  contextItems: [{ item_id: 'c' }],
  caller: { userId: 'u', token: 'user-token', tenantId: 't' },
  requestId: 'r-1',
}
async function collect(options: Partial<AgentEndpointOptions> = {}): Promise<AgentEvent[]> {
  const endpoint = createAgentEndpoint({
    baseUrl: server.url,
    apiKey: null,
    publishableKey: 'pk',
    connectTimeoutMs: 200,
    stallTimeoutMs: 200,
    ...options,
  })
  const events: AgentEvent[] = []
  for await (const event of endpoint.stream(CALL, new AbortController().signal)) events.push(event)
  return events
}

describe('our own api', () => {
  it('is called with the token, the tenant and the request id of the caller', async () => {
    server.answer(stream([{ event: 'complete' }]))
    expect(await collect()).toEqual([{ event: 'complete' }])
    expect(server.requests.at(-1)).toMatchObject({
      path: '/api/agents/a%2F..%2Fb/run/stream',
      headers: { authorization: 'Bearer user-token', apikey: 'pk', 'x-tenant-id': 't', 'x-request-id': 'r-1' },
      body: {
        message: 'Hi',
        session_id: 's',
        context_items: [{ item_id: 'c' }],
        citations_enabled: true,
        chat_message_id: 'm',
      },
    })
  })

  it('is believed what it refuses, as far as it is our envelope', async () => {
    const refuse = (status: number, body: string) =>
      server.answer((response) => void response.writeHead(status).end(body))
    refuse(404, '{"error":"Agent not found","code":"agent_not_found"}')
    await expect(collect()).rejects.toMatchObject({ code: 'agent_not_found', message: 'Agent not found' })
    refuse(500, '{"error":"x","code":"toString"}')
    await expect(collect()).rejects.toMatchObject({ code: 'upstream_failed' })
    refuse(503, 'BOOT_ERROR')
    await expect(collect()).rejects.toMatchObject({
      code: 'upstream_failed',
      message: 'The agent refused the request (HTTP 503).',
    })
  })
})

describe('any endpoint', () => {
  it('may send lines that are no events', async () => {
    server.answer(
      stream(
        [],
        (response) =>
          void response.end('data: {\n\ndata: 7\n\ndata: null\n\ndata: {"event":1}\n\n: hi\n\ndata: {"event":"x"}\n\n'),
      ),
    )
    expect(await collect()).toEqual([{ event: 'x' }])
  })

  it('that does not answer, stalls or is not there is given up', async () => {
    server.answer(() => {})
    await expect(collect()).rejects.toMatchObject({
      code: 'upstream_timeout',
      message: 'The agent did not answer in time.',
    })
    server.answer(stream([{ event: 'start' }], () => {}))
    await expect(collect()).rejects.toMatchObject({ name: 'SseReadError', reason: 'stalled' })
    await expect(collect({ baseUrl: 'http://127.0.0.1:1' })).rejects.toMatchObject({ code: 'upstream_failed' })
  })
})

describe('agentEndpointFromEnv', () => {
  const env = { SUPABASE_URL: 'https://p.example/', SUPABASE_ANON_KEY: 'anon' }
  it('is our own api unless another server is named, which needs a key', () => {
    expect(agentEndpointFromEnv(env).isOwn).toBe(true)
    expect(
      agentEndpointFromEnv({ ...env, AGENT_BASE_URL: 'https://p.example/functions/v1/', AGENT_API_KEY: 'k' }).isOwn,
    ).toBe(true)
    expect(agentEndpointFromEnv({ ...env, AGENT_BASE_URL: 'https://other.example', AGENT_API_KEY: 'k' }).isOwn).toBe(
      false,
    )
    expect(() => agentEndpointFromEnv({ ...env, AGENT_BASE_URL: 'https://other.example' })).toThrow('AGENT_API_KEY')
  })
})
