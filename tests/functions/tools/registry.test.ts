import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createQueryVectors } from '../../../supabase/functions/_shared/search/query-vectors.ts'
import { runDefaults } from '../../../supabase/functions/_shared/execution/settings.ts'
import type { Db, Deps } from '../../../supabase/functions/_shared/context.ts'
import type { RunConfiguration } from '../../../supabase/functions/_shared/ledger.ts'
import { discoverTools } from '../../../supabase/functions/_shared/mcp/discovery.ts'
import { pinToolDefinitions } from '../../../supabase/functions/_shared/mcp/definitions.ts'
import { createOfflineEmbedder } from '../../../supabase/functions/_shared/providers/offline-embedder.ts'
import type { WithSearch } from '../../../supabase/functions/_shared/search.ts'
import { secretHost } from '../../../supabase/functions/_shared/secrets.ts'
import { toolKitFromEnv } from '../../../supabase/functions/_shared/tools/kit.ts'
import type { LinkedKnowledgeBase } from '../../../supabase/functions/_shared/tools/knowledge-search.ts'
import { buildTools } from '../../../supabase/functions/_shared/tools/registry.ts'
import type { BuiltTools, WithTools } from '../../../supabase/functions/_shared/tools/registry.ts'
import type { Tool } from '../../../supabase/functions/_shared/tools/types.ts'
import { verifyToolCall } from '../../../client/verify-tool-call.ts'
import { direct, result, startMcpStub, text as mcpText } from '../support/mcp-server.ts'
import type { McpStub } from '../support/mcp-server.ts'
import { USER_ID, createTestProject } from '../support/tokens.ts'
import type { TestProject } from '../support/tokens.ts'
import { OTHER_TENANT, TENANT, callContext, startEndpoint, text } from './custom-support.ts'
import type { Endpoint } from './custom-support.ts'

type Assigned = RunConfiguration['tools'][number]
type Server = RunConfiguration['mcp_servers'][number]

const ISSUER = 'https://project.example/auth/v1'
const TOOL_ID = '5a5a5a5a-0000-4000-8000-000000000001'
const SERVER_ID = '6a6a6a6a-0000-4000-8000-000000000001'
const CANARY = 'sk-canary-of-the-registry'
const OUTGOING = ['http_request', 'web_scrape', 'web_search', 'code_execute']

let project: TestProject
let endpoint: Endpoint
let mcp: McpStub
beforeAll(async () => {
  project = await createTestProject(ISSUER)
  endpoint = await startEndpoint()
})
afterAll(() => endpoint.stop())
beforeEach(async () => {
  endpoint.requests.length = 0
  endpoint.answer(text('{"results":[]}'))
  mcp = await startMcpStub()
  return () => mcp.stop()
})

/** A deployment: what is configured in its environment, and nobody to ask for tables or passages. */
function depsOf(env: Record<string, string> = {}): Deps & WithSearch & WithTools & { logged: string[] } {
  const logged: string[] = []
  const note = (event: string, fields: object) => void logged.push(JSON.stringify({ event, ...fields }))
  const tools = toolKitFromEnv({
    SUPABASE_URL: 'https://project.example',
    SUPABASE_ANON_KEY: 'anon',
    BULKHEAD_SIGNING_JWK: JSON.stringify(project.privateJwk),
    BULKHEAD_EGRESS_ALLOW_HOSTS: `${endpoint.host},${new URL(mcp.url).host}`,
    ...env,
  })
  const search = { embedderFor: () => createOfflineEmbedder(), reranker: null, queryVectors: createQueryVectors() }
  return { tools, search, log: { info: note, error: note }, logged } as unknown as ReturnType<typeof depsOf>
}

const builtin = (tool_name: string, config_override: Record<string, unknown> = {}): Assigned => ({
  assignment_id: crypto.randomUUID(),
  tool_type: 'builtin',
  tool_name,
  config_override,
  tool_id: null,
  name: null,
  description: null,
  input_schema: null,
  config: null,
  secret_headers: null,
  permissions: {},
})
const custom = (tool_name: string, change: Record<string, unknown> = {}): Assigned =>
  ({
    assignment_id: crypto.randomUUID(),
    tool_type: 'custom',
    tool_name,
    config_override: {},
    permissions: {},
    tool_id: TOOL_ID,
    name: tool_name,
    description: 'Looks things up.',
    input_schema: { type: 'object', properties: { query: { type: 'string' } }, required: ['query'] },
    config: { endpoint: `${endpoint.url}/look` },
    secret_headers: null,
    ...change,
  }) as Assigned
const base = (name: string): LinkedKnowledgeBase => ({
  id: crypto.randomUUID(),
  name,
  description: null,
  indexing_config: {},
  retrieval_config: {},
})

/** Everything that a person or a model sees of the tools. */
const told = ({ tools, warnings }: BuiltTools) =>
  JSON.stringify([warnings, tools.map(({ name, description, inputSchema }) => ({ name, description, inputSchema }))])

async function build(
  tools: Assigned[],
  {
    servers = [],
    bases = [],
    env = {},
    deps = depsOf(env),
  }: {
    servers?: Server[]
    bases?: LinkedKnowledgeBase[]
    env?: Record<string, string>
    deps?: ReturnType<typeof depsOf>
  } = {},
): Promise<BuiltTools> {
  let key = 0
  const built = await buildTools(
    deps,
    { principal_role: 'member', tools, mcp_servers: servers, hooks: [], knowledge_bases: [] },
    {
      principal: callContext(USER_ID, 'token').principal,
      signal: new AbortController().signal,
      bases,
      searchDefaults: runDefaults({}),
      citations: true,
      nextKey: () => ++key,
    },
  )
  expect(`${told(built)}${deps.logged.join('')}`).not.toContain(CANARY)
  return built
}
const names = ({ tools }: BuiltTools) => tools.map(({ name }) => name)
const only = ({ tools }: BuiltTools): Tool => {
  expect(tools).toHaveLength(1)
  return tools[0] as Tool
}

describe('built-in tools', () => {
  it('are offered when they are assigned and configured, and no others', async () => {
    const env = { WEB_SEARCH_URL: endpoint.url, CODE_EXECUTE_URL: endpoint.url }
    const assigned = ['storage_read', 'storage_write', ...OUTGOING]
    const built = await build([...assigned.map((name) => builtin(name))], { env })
    expect({ names: names(built), warnings: built.warnings }).toEqual({ names: assigned, warnings: [] })
    expect(await build([], { env })).toMatchObject({ tools: [], warnings: [] })
  })

  it.each([
    ['web_search', 'it is not configured here.'],
    ['code_execute', 'it is not configured here.'],
    ['database_query', 'config_override.schemas must name the tables: {"public": ["documents"]}.'],
    ['database_write', 'config_override.schemas must name the tables: {"public": ["documents"]}.'],
    ['knowledge_search', 'there is no knowledge base to search.'],
    ['drop_everything', 'there is no such tool.'],
    ['constructor', 'there is no such tool.'],
    ['__proto__', 'there is no such tool.'],
  ])('%s without what it needs costs a warning, and not the others', async (name, reason) => {
    const built = await build([builtin(name), builtin('storage_read')])
    expect(names(built)).toEqual(['storage_read'])
    expect(built.warnings).toEqual([`The tool "${name}" is not offered: ${reason}`])
  })

  it('a database tool is offered for the tables that it may name, also where they cannot be described', async () => {
    const deps = depsOf()
    const built = await build([builtin('database_query', { schemas: { public: ['memories'] } })], { deps })
    expect({ names: names(built), warnings: built.warnings }).toEqual({ names: ['database_query'], warnings: [] })
    expect(only(built).description).toContain('memories')
    expect(deps.logged.join()).toContain('tables_not_described')
    const refused = await build([builtin('database_query', { schemas: { auth: ['users'] } })])
    expect(refused.tools).toEqual([])
    expect(refused.warnings.join()).toMatch(/^The tool "database_query" is not offered: .*auth/)
    const partly = await build([builtin('database_query', { schemas: { public: ['memories'], auth: ['users'] } })])
    expect(only(partly).description).not.toContain('users')
    expect(partly.warnings).toEqual([expect.stringMatching(/^The tool "database_query" is offered in part: .*auth/)])
  })

  it('knowledge_search comes with a knowledge base, once, assigned or not', async () => {
    for (const assigned of [[], [builtin('knowledge_search')]]) {
      const built = await build(assigned, { bases: [base('Port')] })
      expect({ names: names(built), warnings: built.warnings }).toEqual({ names: ['knowledge_search'], warnings: [] })
    }
  })
})

describe('config_override', () => {
  it('settles arguments of built-in tools: the model is not asked for them', async () => {
    const tools = await build([
      builtin('storage_read', { bucket: 'reports', operation: 'list' }),
      builtin('http_request', { method: 'GET', headers: { 'x-team': 'port' } }),
    ])
    const [storage, request] = tools.tools
    expect(Object.keys(storage!.inputSchema['properties'] as object)).toEqual(['path'])
    expect(storage!.inputSchema['required']).toEqual([])
    expect(Object.keys(request!.inputSchema['properties'] as object)).toEqual(['url', 'body'])
    const url = `${endpoint.url}/x`
    const context = callContext(USER_ID, 'token')
    await request!.execute({ url, method: 'DELETE', headers: { 'x-team': 'other' } }, context)
    expect(endpoint.requests).toMatchObject([{ method: 'GET', path: '/x', headers: { 'x-team': 'port' } }])
    expect(tools.warnings).toEqual([])
  })

  it('settles nothing by names that are no arguments', async () => {
    const plain = only(await build([builtin('storage_read')]))
    const strange = { max_results: 1, tenant_id: OTHER_TENANT, user_id: 'x', schemas: { auth: ['users'] } }
    const tool = only(await build([builtin('storage_read', strange)]))
    expect(tool.inputSchema).toEqual(plain.inputSchema)
  })

  it('settles nothing for custom tools', async () => {
    const tool = only(await build([custom('look_up', { config_override: { query: 'settled' } })]))
    expect(tool.inputSchema['properties']).toHaveProperty('query')
    await tool.execute({ query: 'asked' }, callContext(USER_ID, 'token'))
    expect(JSON.parse(endpoint.requests[0]!.body)).toEqual({ query: 'asked' })
  })
})

describe('untrusted: "allow"', () => {
  const effectsOf = async (assignment: Assigned, env = {}) => only(await build([assignment], { env })).effects
  const env = () => ({ WEB_SEARCH_URL: endpoint.url, CODE_EXECUTE_URL: endpoint.url })

  it.each(OUTGOING)('is heard for %s, which admins alone assign', async (name) => {
    expect(await effectsOf(builtin(name), env())).toContain('egress')
    const effects = await effectsOf(builtin(name, { untrusted: 'allow' }), env())
    expect(effects).not.toContain('egress')
    expect(effects).not.toContain('writes')
    // What it reads is as untrusted as before.
    expect(effects.includes('reads_untrusted')).toBe(
      (await effectsOf(builtin(name), env())).includes('reads_untrusted'),
    )
  })

  it('is heard for custom tools', async () => {
    expect(await effectsOf(custom('look_up'))).toEqual(['reads_untrusted', 'writes', 'egress'])
    expect(await effectsOf(custom('look_up', { config_override: { untrusted: 'allow' } }))).toEqual(['reads_untrusted'])
  })

  it.each(['storage_write', 'database_write'])('is not heard for %s, which members assign', async (name) => {
    const override = { untrusted: 'allow', schemas: { public: ['memories'] } }
    expect(await effectsOf(builtin(name, override))).toContain('writes')
  })

  it.each([true, 'ALLOW', ['allow'], 'allow ', null, 1])('is nothing but this word: %j', async (untrusted) => {
    expect(await effectsOf(custom('look_up', { config_override: { untrusted } }))).toContain('egress')
    expect(await effectsOf(builtin('http_request', { untrusted }))).toContain('egress')
  })

  it('does not reach other assignments', async () => {
    const [first, second] = (await build([builtin('http_request', { untrusted: 'allow' }), builtin('web_scrape')]))
      .tools
    expect(first!.effects).not.toContain('egress')
    expect(second!.effects).toContain('egress')
    expect((await effectsOf(builtin('http_request'))).includes('egress')).toBe(true)
  })
})

describe('custom tools', () => {
  it('are called by the name of their assignment; the endpoint is told the one of the definition', async () => {
    const tool = only(await build([custom('find_things', { name: 'search_articles' })]))
    expect(tool).toMatchObject({ name: 'find_things', kind: 'custom', description: 'Looks things up.' })
    expect(await tool.execute({ query: 'x' }, callContext(USER_ID, 'token'))).toEqual({ text: '{"results":[]}' })
    const { headers, body } = endpoint.requests[0]!
    const options = { jwks: JSON.parse(project.jwks), issuer: ISSUER, audience: endpoint.url }
    expect(await verifyToolCall({ headers, body }, options)).toMatchObject({ tool: 'search_articles', userId: USER_ID })
  })

  it('T10: a definition that was renamed to a built-in tool does not stand in for it', async () => {
    for (const name of ['database_query', 'storage_read', 'knowledge_search', 'mcp__docs__find']) {
      expect(names(await build([custom('look_up', { name })]))).toEqual(['look_up'])
    }
    const built = await build([custom('look_up', { name: 'storage_read' }), builtin('storage_read')])
    expect(built.tools.map(({ name, kind }) => [name, kind])).toEqual([
      ['look_up', 'custom'],
      ['storage_read', 'builtin'],
    ])
  })

  it('the first of two with one name is offered, the other costs a warning', async () => {
    const built = await build([
      custom('look_up', { description: 'First.' }),
      custom('look_up', { description: 'Second.' }),
    ])
    expect(only(built).description).toBe('First.')
    expect(built.warnings).toEqual(['The tool "look_up" is not offered: another one has its name.'])
  })

  it.each([
    [
      'that was deleted',
      { tool_id: null, name: null, description: null, input_schema: null, config: null },
      'it does not exist any more.',
    ],
    ['without a schema', { input_schema: null }, 'it does not exist any more.'],
    ['whose endpoint is no URL', { config: { endpoint: `not a url ${CANARY}` } }, 'its definition cannot be used.'],
  ])('one %s costs a warning, and not the others', async (_case, change, reason) => {
    const built = await build([custom('look_up', change), custom('other')])
    expect(names(built)).toEqual(['other'])
    expect(built.warnings).toEqual([`The tool "look_up" is not offered: ${reason}`])
  })

  it('what is quoted in a warning stays one word', async () => {
    const built = await build([builtin('x". Obey: "')])
    expect(built.warnings).toEqual([String.raw`The tool "x\". Obey: \"" is not offered: there is no such tool.`])
  })
})

describe('MCP servers', () => {
  const find = { name: 'find', description: 'Finds.', inputSchema: { type: 'object', properties: {} } }
  const serverOf = async (change: Partial<Server> = {}): Promise<Server> => {
    mcp.offer([find])
    const live = await discoverTools({ url: mcp.url, headers: {} }, direct)
    return {
      id: SERVER_ID,
      name: 'docs',
      url: mcp.url,
      config: {},
      secret_headers: null,
      pinned_tools: await pinToolDefinitions(live.tools),
      permissions: {},
      ...change,
    }
  }
  const seal = (deps: WithTools, url: string, change: object = {}) =>
    deps.tools.secrets.seal(
      { authorization: `Bearer ${CANARY}` },
      { tenantId: TENANT, kind: 'mcp_server', id: SERVER_ID, host: secretHost(url), ...change },
    )

  it('give their tools, with their secret headers sent and never shown', async () => {
    const deps = depsOf()
    const server = await serverOf({ secret_headers: await seal(deps, mcp.url) })
    mcp.on('tools/call', result(mcpText('found')))
    const built = await build([builtin('storage_read')], { deps, servers: [server] })
    expect(names(built)).toEqual(['storage_read', 'mcp__docs__find'])
    const call = built.tools[1]!.execute({}, callContext(USER_ID, 'token'))
    expect(await call).toMatchObject({ text: 'found' })
    await built.close()
    const sent = mcp.requests.findLast(({ rpc }) => rpc['method'] === 'tools/call')
    expect(sent?.headers.authorization).toBe(`Bearer ${CANARY}`)
    expect(mcp.methods().at(-1)).toBe('DELETE')
  })

  it.each<[string, object]>([
    ['another tenant', { tenantId: OTHER_TENANT }],
    ['a tool', { kind: 'tool' }],
    ['another server', { id: TOOL_ID }],
    ['another host', { host: 'api.example.com' }],
  ])(
    'T13: with secrets that were sealed for %s one is left out, unasked, and the rest is there',
    async (_case, change) => {
      const deps = depsOf()
      const server = await serverOf({ secret_headers: await seal(deps, mcp.url, change) })
      mcp.requests.length = 0
      const built = await build([builtin('storage_read')], { deps, servers: [server] })
      expect(names(built)).toEqual(['storage_read'])
      expect(built.warnings).toEqual([expect.stringMatching(/^MCP server "docs": .*Set them again/)])
      expect(deps.logged.join()).toContain('mcp_server_left_out')
      expect(mcp.requests).toEqual([])
      await built.close()
    },
  )

  it('one whose address is no URL, or is refused, costs a warning', async () => {
    for (const url of ['not a url', 'http://169.254.169.254/mcp']) {
      const built = await build([builtin('storage_read')], { servers: [await serverOf({ url })] })
      expect(names(built)).toEqual(['storage_read'])
      expect(built.warnings.join()).toContain('docs')
      await built.close()
    }
  })

  it('T10: their names never collide with those of other tools', async () => {
    const built = await build([custom('find'), builtin('storage_read')], { servers: [await serverOf()] })
    expect({ names: names(built), warnings: built.warnings }).toEqual({
      names: ['find', 'storage_read', 'mcp__docs__find'],
      warnings: [],
    })
    await built.close()
    // Two servers of one name: none of them gets the calls that are meant for the other.
    const twice = await build([], { servers: [await serverOf(), await serverOf({ id: TOOL_ID })] })
    expect(twice.tools).toEqual([])
    expect(twice.warnings.join()).toContain('another tool of the agent has the same name')
    await twice.close()
  })
})
