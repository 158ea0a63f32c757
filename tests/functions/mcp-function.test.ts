import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { depsFromEnv } from '../../supabase/functions/_shared/deps.ts'
import { providersFromEnv } from '../../supabase/functions/_shared/providers/index.ts'
import { searchProviders } from '../../supabase/functions/_shared/search.ts'
import { createToolTokens } from '../../supabase/functions/_shared/tool-tokens.ts'
import { createAgentApi } from '../../supabase/functions/mcp/agent-api.ts'
import type { AgentApi } from '../../supabase/functions/mcp/agent-api.ts'
import { createApp } from '../../supabase/functions/mcp/app.ts'
import { useFunctionsStack } from './support/functions-stack.ts'
import { ABSENT, HARBOR, MERIDIAN, caller, serviceCaller, uploadAndIndex, userCaller } from './support/http.ts'
import type { FunctionsCaller, Json } from './support/http.ts'

const stack = useFunctionsStack({ worker: true, userEnv: { BULKHEAD_CORS_ORIGINS: 'https://app.example' } })
const HARBOR_CANARY = 'harbor-canary-41f7'
const MERIDIAN_CANARY = 'meridian-canary-9c02'
type App = ReturnType<typeof createApp>
const open: Client[] = []
let harbor: FunctionsCaller
let meridian: FunctionsCaller
let harborSource: Json
let meridianSource: Json

/** A client of the official SDK that speaks to the function with these headers. */
async function clientOf(user: FunctionsCaller, app?: App): Promise<Client> {
  const client = new Client({ name: 'test', version: '1' })
  const transport = new StreamableHTTPClientTransport(new URL(`${stack.url}/functions/v1/mcp`), {
    requestInit: { headers: user.headers },
    ...(app ? { fetch: async (_url: unknown, init?: RequestInit) => app.request('/mcp', init) } : {}),
  })
  // The class has optional members where the interface, read exactly, has none.
  await client.connect(transport as Parameters<Client['connect']>[0])
  open.push(client)
  return client
}

type Answer = { text: string; more: string[]; isError: boolean }
async function use(client: Client, name: string, args: Record<string, unknown> = {}): Promise<Answer> {
  const result = await client.callTool({ name, arguments: args })
  const texts = (result.content as { type: string; text: string }[]).map((block) => {
    expect(block.type).toBe('text')
    return block.text
  })
  return { text: texts[0] ?? '', more: texts.slice(1), isError: result.isError === true }
}
async function newAgent(name: string): Promise<{ id: string }> {
  const client = await stack.signIn('member@harbor.example')
  const { data, error } = await client.schema('ai').from('agents').insert({ name }).select('id').single()
  expect(error).toBeNull()
  return { id: data?.id }
}
async function defaultKnowledgeBase(email: string): Promise<string> {
  const client = await stack.signIn(email)
  const { data } = await client.schema('ai').from('knowledge_bases').select('id').eq('is_default', true).single()
  return data?.id
}
const post = (user: FunctionsCaller, json: unknown, headers: Record<string, string> = {}) =>
  user.send('POST', '/mcp', { json, headers: { accept: 'application/json, text/event-stream', ...headers } })
const listRequest = { jsonrpc: '2.0', id: 1, method: 'tools/list' }

beforeAll(async () => {
  harbor = await userCaller(stack, 'member@harbor.example')
  meridian = await userCaller(stack, 'member@meridian.example')
  const filler = Array.from(
    { length: 12 },
    (_, index) => `Paragraph ${index + 1}. ${'Ropes are coiled by hand. '.repeat(200)}`,
  )
  harborSource = await uploadAndIndex(
    harbor,
    'cranes.md',
    `# Cranes\n\nThe word is ${HARBOR_CANARY}.\n\n${filler.join('\n\n')}\n`,
  )
  meridianSource = await uploadAndIndex(meridian, 'cranes.md', `# Cranes\n\nThe word is ${MERIDIAN_CANARY}.\n`)
})
afterAll(async () => {
  await Promise.all(open.map((client) => client.close()))
})

describe('the MCP server', () => {
  it('shakes hands, keeps no session, and offers its tools with what they do', async () => {
    const client = await clientOf(harbor)
    expect(client.getServerVersion()).toMatchObject({ name: 'bulkhead' })
    expect(client.transport?.sessionId).toBeUndefined()
    const { tools } = await client.listTools()
    const names = tools.map(({ name }) => name)
    expect(names.slice(0, 4)).toEqual(['search', 'read_source', 'list_agents', 'ask_agent'])
    expect(names.slice(4).every((name) => /^agent_[a-z0-9_]{1,53}$/.test(name))).toBe(true)
    expect(names.length).toBeGreaterThan(4)
    expect(new Set(names).size).toBe(names.length)
    const search = tools.find(({ name }) => name === 'search')
    expect(search?.annotations).toMatchObject({ readOnlyHint: true })
    expect(search?.inputSchema).toMatchObject({ type: 'object', required: ['query'] })
    expect(Object.keys(search?.inputSchema.properties ?? {})).toEqual(['query', 'knowledge_base_ids', 'top_k'])
  })

  it('finds the caller’s own documents and no other tenant’s', async () => {
    for (const [user, own, foreign, source] of [
      [harbor, HARBOR_CANARY, MERIDIAN_CANARY, harborSource],
      [meridian, MERIDIAN_CANARY, HARBOR_CANARY, meridianSource],
    ] as const) {
      const client = await clientOf(user)
      const { text, isError } = await use(client, 'search', { query: 'What is the word about cranes?', top_k: 50 })
      expect(isError).toBe(false)
      const { results } = JSON.parse(text)
      expect(results[0]).toMatchObject({
        source_id: expect.any(String),
        text: expect.any(String),
        pages: expect.arrayContaining([1]),
      })
      expect(results.some((hit: Json) => hit['source_id'] === source['id'] && hit['text'].includes(own))).toBe(true)
      expect(text).not.toContain(foreign)
    }
  })

  it('keeps to top_k and knowledge bases, and answers another tenant’s like an unknown one', async () => {
    const client = await clientOf(harbor)
    const own = await defaultKnowledgeBase('member@harbor.example')
    const { text } = await use(client, 'search', { query: 'ropes', top_k: 2, knowledge_base_ids: [own] })
    expect(JSON.parse(text).results).toHaveLength(2)
    const foreign = await defaultKnowledgeBase('member@meridian.example')
    for (const id of [foreign, ABSENT, 'nonsense', "' or 1=1"]) {
      const answer = await use(client, 'search', { query: 'crane', knowledge_base_ids: [id] })
      expect(answer).toEqual({ text: 'Error: Knowledge base not found', more: [], isError: true })
    }
  })

  it('says which arguments of a search narrow nothing', async () => {
    const client = await clientOf(harbor)
    const { text, isError } = await use(client, 'search', { query: 'ropes', knowledge_base_id: ABSENT, top_k: 1 })
    expect(isError).toBe(false)
    expect(JSON.parse(text).warnings).toEqual(['The argument "knowledge_base_id" is not known here and was ignored.'])
    expect(JSON.parse((await use(client, 'search', { query: 'ropes', top_k: 1 })).text).warnings).toBeUndefined()
  })

  it('says that a text it found is longer than a result may be', async () => {
    const json = { name: 'Whole', indexing_config: { strategy: 'full_document' } }
    const base = await harbor.json(201, 'POST', '/api/knowledge-bases', { json })
    const rules = `# Mooring rules\n\n${'Moor with two lines and one spring. '.repeat(2_000)}\n`
    await uploadAndIndex(harbor, 'mooring.md', rules, { knowledge_base_id: base['id'] })
    const client = await clientOf(harbor)
    const asked = { query: 'How many lines to moor with?', knowledge_base_ids: [base['id']] }
    const { results, warnings } = JSON.parse((await use(client, 'search', asked)).text)
    expect(results).toHaveLength(1)
    expect(results[0].text).toHaveLength(50_000)
    expect(warnings).toEqual(['A text was cut. Use read_source to read the rest.'])
  })

  it('reads a source from a page on, capped, and says where it goes on', async () => {
    const client = await clientOf(harbor)
    const first = await use(client, 'read_source', { source_id: harborSource['id'] })
    expect(first.isError).toBe(false)
    expect(first.text).toMatch(/^Source: "cranes\.md", pages 1 to \d+ of \d+\n\n--- Page 1 ---\n/)
    expect(first.text).toContain(HARBOR_CANARY)
    expect(first.text.length).toBeLessThanOrEqual(50_000)
    const next = Number(/\[Goes on at page (\d+)\.\]$/.exec(first.text)?.[1])
    expect(next).toBeGreaterThan(1)
    const rest = await use(client, 'read_source', { source_id: harborSource['id'].toUpperCase(), page: next })
    expect(rest.text).toContain(`--- Page ${next} ---`)
    expect(rest.text).not.toContain(HARBOR_CANARY)
    const behind = await use(client, 'read_source', { source_id: harborSource['id'], page: 100_000 })
    expect(behind).toEqual({ text: 'Error: Page not found', more: [], isError: true })
  })

  it('answers the other tenant’s source, and a private one, like one that does not exist', async () => {
    const admin = await userCaller(stack, 'admin@harbor.example')
    const secret = await uploadAndIndex(admin, 'private.md', '# Private\n\nFor the admin alone.\n', {
      visibility: 'private',
    })
    const client = await clientOf(harbor)
    const answers = []
    for (const id of [ABSENT, 'nonsense', meridianSource['id'], secret['id']]) {
      answers.push(await use(client, 'read_source', { source_id: id }))
    }
    for (const answer of answers) expect(answer).toEqual({ text: 'Error: Source not found', more: [], isError: true })
    const own = await use(await clientOf(admin), 'read_source', { source_id: secret['id'] })
    expect(own.text).toContain('For the admin alone.')
  })

  it('T05: takes no identity from arguments', async () => {
    const client = await clientOf(harbor)
    const smuggled = JSON.parse(
      `{"query":"What is the word about cranes?","tenant_id":"${MERIDIAN}","user_id":"x","session_token":"y","__proto__":{"tenant_id":"${MERIDIAN}"}}`,
    )
    const { text } = await use(client, 'search', smuggled)
    expect(text).toContain(HARBOR_CANARY)
    expect(text).not.toContain(MERIDIAN_CANARY)
  })

  it('answers wrong arguments and unknown tools with errors of the tool', async () => {
    const client = await clientOf(harbor)
    for (const [name, args] of [
      ['search', {}],
      ['search', { query: '' }],
      ['search', { query: 'a', top_k: 5000 }],
      ['read_source', { source_id: 5 }],
      ['drop_table', {}],
      ['agent_nobody_000000000000', { message: 'hi' }],
    ] as const) {
      expect((await use(client, name, args)).isError).toBe(true)
    }
  })
})

describe('agents as tools', () => {
  it('are those the caller can see, and answer as the caller may', async () => {
    const agent = await newAgent('Quay “four” Ünit!')
    const client = await clientOf(harbor)
    const { agents } = JSON.parse((await use(client, 'list_agents')).text)
    const named = agents.find((entry: Json) => entry['id'] === agent['id'])
    expect(named).toEqual({
      id: agent['id'],
      name: 'Quay “four” Ünit!',
      tool: `agent_quay_four_u_nit_${agent['id'].replaceAll('-', '').slice(0, 12)}`,
    })
    expect((await client.listTools()).tools.map(({ name }) => name)).toContain(named.tool)
    const answer = await use(client, named.tool, { message: 'Hello?' })
    expect(answer).toMatchObject({ isError: false, text: expect.stringMatching(/\S/) })
    const { session_id, run_id } = JSON.parse(answer.more[0] ?? '')
    const run = await harbor.json(200, 'GET', `/api/agents/runs/${run_id}`)
    expect(run['content']).toBe(answer.text)
    const again = await use(client, 'ask_agent', { agent_id: agent['id'], message: 'And now?', session_id })
    expect(again.isError).toBe(false)
    expect(JSON.parse(again.more[0] ?? '').session_id).toBe(session_id)
  })

  it('have names of their own, also when their ids begin alike', async () => {
    const ids = ['00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000002']
    for (const id of ids)
      await stack.db.query(`insert into ai.agents (id, tenant_id, name) values ($1, $2, 'Twin')`, [id, HARBOR])
    const client = await clientOf(harbor)
    const names = (await client.listTools()).tools.filter(({ title }) => title === 'Twin').map(({ name }) => name)
    expect(names.toSorted()).toEqual(ids.map((id) => `agent_${id.replaceAll('-', '')}`))
    const { agents } = JSON.parse((await use(client, 'list_agents')).text)
    expect(agents.filter(({ name }: Json) => name === 'Twin').map(({ tool }: Json) => tool)).toEqual(names)
    expect((await use(client, names[0] ?? '', { message: 'Hello?' })).isError).toBe(false)
    await stack.db.query(`delete from ai.agents where id = any ($1)`, [ids])
  })

  it('are only those that may be run', async () => {
    const agent = await newAgent('Draft')
    const client = await clientOf(harbor)
    const named = async () => {
      const { tools } = await client.listTools()
      return [tools.some(({ title }) => title === 'Draft'), (await use(client, 'list_agents')).text.includes(agent.id)]
    }
    expect(await named()).toEqual([true, true])
    await harbor.json(200, 'PATCH', `/api/agents/${agent.id}`, { json: { published: false } })
    expect(await named()).toEqual([false, false])
    const { text, isError } = await use(client, 'ask_agent', { agent_id: agent.id, message: 'Hello?' })
    expect([text, isError]).toEqual(['Error: This agent is not published.', true])
  })

  it('of another tenant are not there', async () => {
    const agent = await newAgent('Hidden from Meridian')
    const client = await clientOf(meridian)
    const { tools } = await client.listTools()
    expect(JSON.stringify(tools)).not.toContain('Hidden from Meridian')
    expect((await use(client, 'list_agents')).text).not.toContain(agent['id'])
    const answers = []
    for (const id of [agent['id'], ABSENT, 'nonsense', '../../sources']) {
      answers.push(await use(client, 'ask_agent', { agent_id: id, message: 'Hello?' }))
    }
    for (const answer of answers) expect(answer).toEqual({ text: 'Error: Agent not found', more: [], isError: true })
    const tool = (await (await clientOf(harbor)).listTools()).tools.find(
      ({ title }) => title === 'Hidden from Meridian',
    )
    expect((await use(client, tool?.name ?? '', { message: 'Hello?' })).isError).toBe(true)
  })
})

describe('the way to `api`', () => {
  const answer = { run_id: 'run_1', session_id: 'sess_1', content: 'Fine.', error: null }
  type Sent = { url: string; headers: Headers; body: Json }
  /** Asks an agent while `api` answers so. */
  async function asked(user: FunctionsCaller, respond: () => Response | Promise<Response>): Promise<[Answer, Sent]> {
    const sent: Sent[] = []
    const fetchWith: typeof fetch = async (input, init) => {
      const request = new Request(input, init)
      sent.push({ url: request.url, headers: request.headers, body: await request.json() })
      return respond()
    }
    const client = await clientOf(user, inProcess(createAgentApi('http://project.example', 'publishable', fetchWith)))
    const given = await use(client, 'ask_agent', { agent_id: ABSENT, message: 'Hello?', session_id: 'sess_1' })
    expect(sent).toHaveLength(1)
    return [given, sent[0] as Sent]
  }

  it('carries the caller’s own token and tenant', async () => {
    const user = await userCaller(stack, 'member@harbor.example', { 'x-tenant-id': HARBOR })
    const [given, { url, headers, body }] = await asked(user, () => Response.json(answer))
    expect(given).toEqual({ text: 'Fine.', more: ['{"session_id":"sess_1","run_id":"run_1"}'], isError: false })
    expect(url).toBe(`http://project.example/functions/v1/api/agents/${ABSENT}/run`)
    expect(headers.get('authorization')).toBe(user.headers['authorization'])
    expect(headers.get('x-tenant-id')).toBe(HARBOR)
    expect(headers.get('apikey')).toBe('publishable')
    expect(body).toEqual({ message: 'Hello?', session_id: 'sess_1' })
  })

  it('carries a token of the backend’s tenant and never the secret key', async () => {
    const backend = serviceCaller(stack, { 'x-tenant-id': HARBOR })
    const [, { headers }] = await asked(backend, () => Response.json(answer))
    const token = headers.get('authorization') ?? ''
    const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString())
    expect(claims).toMatchObject({ role: 'authenticated', tenant_id: HARBOR, act: { sub: 'service_key' } })
    expect(JSON.stringify([...headers])).not.toContain(stack.keys.secret)
  })

  it.each([
    [
      'an unknown agent',
      () => Response.json({ error: 'Agent not found', code: 'agent_not_found' }, { status: 404 }),
      'Agent not found',
    ],
    ['a refusal', () => Response.json({ error: 'message is required' }, { status: 400 }), 'message is required'],
    ['a failure', () => Response.json({ error: 'stack trace' }, { status: 500 }), 'The agent could not be run.'],
    ['no JSON', () => new Response('<html>'), 'The agent could not be run.'],
    ['another shape', () => Response.json({ content: 5 }), 'The agent could not be run.'],
    ['no connection', () => Promise.reject(new TypeError('fetch failed')), 'The agent could not be run.'],
    [
      'no answer in time',
      () => Promise.reject(new DOMException('timed out', 'TimeoutError')),
      'The agent is not done yet. Its answer will be in the conversation.',
    ],
  ])('answers %s with an error of the tool', async (_what, respond, message) => {
    expect((await asked(harbor, respond))[0]).toEqual({ text: `Error: ${message}`, more: [], isError: true })
  })

  it('says of a run that goes on where its answer will be', async () => {
    const running = { run_id: 'run_1', session_id: 'sess_2', status: 'running' }
    const [given] = await asked(harbor, () => Response.json(running, { status: 202 }))
    expect(given).toEqual({
      text: 'Error: The agent is not done yet. Its answer will be in the conversation.',
      more: ['{"session_id":"sess_2","run_id":"run_1"}'],
      isError: true,
    })
  })

  it('tells of a run that failed', async () => {
    const failed = { ...answer, content: '', error: 'The model failed.' }
    const [given] = await asked(harbor, () => Response.json(failed))
    expect(given).toMatchObject({ text: 'Error: The model failed.', isError: true })
    const [broken] = await asked(harbor, () => Response.json({ ...failed, content: 'As far as it got' }))
    expect(broken).toMatchObject({
      text: 'As far as it got',
      more: ['Error: The model failed.', expect.stringContaining('sess_1')],
      isError: true,
    })
  })
})

describe('who may call the MCP server', () => {
  it('nobody without a token, or with one that is not good; and how to authenticate is said', async () => {
    const good = harbor.headers['authorization'] ?? ''
    for (const [authorization, challenge] of [
      [undefined, 'Bearer realm="bulkhead"'],
      ['Bearer nonsense', 'Bearer realm="bulkhead", error="invalid_token"'],
      [`Bearer ${stack.keys.anon}`, 'Bearer realm="bulkhead", error="invalid_token"'],
      [`${good.slice(0, -4)}AAAA`, 'Bearer realm="bulkhead", error="invalid_token"'],
    ] as const) {
      const headers = authorization === undefined ? {} : { authorization }
      const response = await post(caller(stack, { apikey: stack.keys.publishable, ...headers }), listRequest)
      expect(response.status).toBe(401)
      expect(response.headers.get('www-authenticate')).toBe(challenge)
      expect(await response.json()).toMatchObject({ code: 'unauthenticated' })
    }
    const accepted = await post(harbor, listRequest)
    expect(accepted.status).toBe(200)
    expect(accepted.headers.get('content-type')).toMatch(/^text\/event-stream/)
    expect(accepted.headers.get('x-request-id')).toMatch(/\S/)
    expect(accepted.headers.get('mcp-session-id')).toBeNull()
    expect(await accepted.text()).toContain('"read_source"')
  })

  it('T08: nobody with a token that is meant for somebody else', async () => {
    const { env } = stack.stack
    const issuer = `${stack.url}/auth/v1`
    const call = { tenantId: HARBOR, userId: ABSENT, agentId: ABSENT, runId: 'run_1', callId: 'call_1', tool: 'search' }
    const tokens = createToolTokens(env['BULKHEAD_SIGNING_JWK'] ?? null, issuer)
    for (const audience of ['https://tools.example', stack.url, 'authenticated']) {
      const token = await tokens.mint({ ...call, audience, argumentsHash: 'a'.repeat(64) })
      const response = await post(caller(stack, { authorization: `Bearer ${token}` }), listRequest)
      expect(response.status).toBe(401)
      await response.body?.cancel()
    }
  })

  it('a backend, for a tenant it names', async () => {
    const client = await clientOf(serviceCaller(stack, { 'x-tenant-id': HARBOR }))
    const { text } = await use(client, 'search', { query: 'What is the word about cranes?', top_k: 50 })
    expect(text).toContain(HARBOR_CANARY)
    expect(text).not.toContain(MERIDIAN_CANARY)
    const nowhere = await post(serviceCaller(stack), listRequest)
    expect(nowhere.status).toBe(400)
    expect(await nowhere.json()).toMatchObject({ code: 'tenant_required' })
  })

  it('nobody through a page of an origin that is not listed', async () => {
    for (const origin of ['https://evil.example', 'null', 'https://app.example.evil.example', 'http://app.example']) {
      const response = await post(harbor, listRequest, { origin })
      expect(response.status).toBe(403)
      await response.body?.cancel()
    }
    const listed = await post(harbor, listRequest, { origin: 'https://app.example' })
    expect(listed.status).toBe(200)
    expect(listed.headers.get('access-control-allow-origin')).toBe('https://app.example')
    await listed.body?.cancel()
  })

  it('with a request that it calls off in the same batch, which is answered all the same', async () => {
    const calledOff = { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1 } }
    const answered = await post(harbor, [listRequest, calledOff])
    expect(answered.status).toBe(200)
    expect(await answered.text()).toContain('"read_source"')
    for (const nothing of [calledOff, [calledOff]]) expect((await post(harbor, nothing)).status).toBe(202)
  })

  it('not with streams, sessions, other bodies, or more than it takes', async () => {
    for (const method of ['GET', 'DELETE']) {
      const response = await harbor.send(method, '/mcp', { headers: { accept: 'text/event-stream' } })
      expect(response.status).toBe(405)
      expect(response.headers.get('allow')).toBe('POST')
      await response.body?.cancel()
    }
    const accept = 'application/json, text/event-stream'
    const statuses = []
    for (const [type, body] of [
      ['text/plain', '{}'],
      ['application/json', '{'],
      ['application/json', '{}'],
      ['application/json', JSON.stringify(Array.from({ length: 11 }, (_, id) => ({ ...listRequest, id })))],
      ['application/json', JSON.stringify({ ...listRequest, params: { cursor: 'x'.repeat(1_100_000) } })],
    ] as const) {
      const response = await harbor.send('POST', '/mcp', { body, headers: { accept, 'content-type': type } })
      statuses.push(response.status)
      await response.body?.cancel()
    }
    expect(statuses).toEqual([415, 400, 400, 400, 413])
    const version = await post(harbor, listRequest, { 'mcp-protocol-version': '1999-01-01' })
    expect(version.status).toBe(400)
    await version.body?.cancel()
  })
})

/** The app in this process, with another `api` behind it. */
function inProcess(agentApi: AgentApi): App {
  const { env } = stack.stack
  const deps = { ...depsFromEnv(env, 'mcp'), log: { info: () => {}, error: () => {} } }
  return createApp({
    ...deps,
    search: searchProviders(providersFromEnv(env), deps),
    agentApi,
  })
}
