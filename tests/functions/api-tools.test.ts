import { beforeAll, describe, expect, it } from 'vitest'
import { secretBoxFromEnv } from '../../supabase/functions/_shared/secrets.ts'
import { useStack } from '../support/stack.ts'
import { startApi, withoutIds } from './support/api-app.ts'
import type { ApiApp } from './support/api-app.ts'
import { ABSENT, HARBOR, MERIDIAN, serviceCaller, userCaller } from './support/http.ts'
import type { FunctionsCaller, Json } from './support/http.ts'

const SECRET = 'Bearer canary-7f3a'
const stack = useStack()
let api: ApiApp
let admin: FunctionsCaller
let member: FunctionsCaller
let viewer: FunctionsCaller
let stranger: FunctionsCaller
let service: FunctionsCaller
beforeAll(async () => {
  api = startApi(stack)
  admin = api.as(await userCaller(stack, 'admin@harbor.example'))
  member = api.as(await userCaller(stack, 'member@harbor.example'))
  viewer = api.as(await userCaller(stack, 'viewer@harbor.example'))
  stranger = api.as(await userCaller(stack, 'owner@meridian.example'))
  service = api.as(serviceCaller(stack))
})

const definition = (more: object = {}) => ({
  name: 'search_user_articles',
  description: 'Searches the saved articles of the person asking.',
  type: 'http',
  input_schema: {
    type: 'object',
    properties: { query: { type: 'string' }, session_token: { type: 'string' } },
    required: ['query', 'session_token'],
  },
  config: {
    endpoint: 'https://articles.example/search',
    method: 'POST',
    headers: { Authorization: SECRET, 'x-app': 'b' },
  },
  ...more,
})
const create = (more: object = {}, by = admin) => by.json(201, 'POST', '/api/tools', { json: definition(more) })
const secretOf = async (id: string) => {
  const [row] = await stack.db.query<{ tenant_id: string; secret_headers: string | null }>(
    'select tenant_id, secret_headers from ai.tools where id = $1',
    [id],
  )
  return row
}

describe('tools', () => {
  it('are created; their headers are sealed and answered as ***', async () => {
    const made = await create()
    expect(made).toEqual({
      id: expect.any(String),
      name: 'search_user_articles',
      description: 'Searches the saved articles of the person asking.',
      type: 'http',
      input_schema: definition().input_schema,
      config: {
        endpoint: 'https://articles.example/search',
        method: 'POST',
        timeout_seconds: 30,
        forward_user_jwt: false,
        session_token: true,
        headers: { Authorization: '***', 'x-app': '***' },
      },
      created_at: expect.any(String),
    })
    const stored = await secretOf(made['id'])
    expect(stored?.secret_headers).not.toContain('canary')
    const context = {
      tenantId: HARBOR,
      kind: 'tool' as const,
      id: String(made['id']),
      host: 'articles.example',
    }
    expect(await secretBoxFromEnv(stack.stack.env).open(stored?.secret_headers ?? '', context)).toEqual({
      Authorization: SECRET,
      'x-app': 'b',
    })
    const { created_at: _at, ...shown } = made
    expect(await admin.json(200, 'GET', `/api/tools/${made['id']}`)).toEqual(shown)
  })

  it('say where they send to admins and the backend; to others they are the same without', async () => {
    const made = await create({ name: 'whereabouts' })
    const path = `/api/tools/${made['id']}`
    const listed = async (by: FunctionsCaller) =>
      (await by.json(200, 'GET', '/api/tools'))['tools'].find((tool: Json) => tool['id'] === made['id'])
    const backend = api.as(service, { 'x-tenant-id': HARBOR })
    const owner = api.as(await userCaller(stack, 'owner@harbor.example'))
    const { created_at: _at, ...shown } = made
    for (const by of [admin, owner, backend]) {
      expect(await by.json(200, 'GET', path)).toEqual(shown)
      expect(await listed(by)).toEqual(made)
    }
    for (const by of [member, viewer, api.as(backend, { 'x-act-as-user': 'a0000000-0000-4000-8000-000000000003' })]) {
      expect(await by.json(200, 'GET', path)).toEqual({ ...shown, config: {} })
      expect(await listed(by)).toEqual({ ...made, config: {} })
    }
  })

  it('are listed after the built-in ones', async () => {
    const made = await create({ name: 'listed' })
    const { tools } = await viewer.json(200, 'GET', '/api/tools')
    expect(tools.slice(0, 8).map((tool: Json) => tool['name'])).toEqual([
      'database_query',
      'database_write',
      'http_request',
      'code_execute',
      'storage_read',
      'storage_write',
      'web_search',
      'web_scrape',
    ])
    expect(tools[0]).toMatchObject({ id: null, type: 'builtin', config: {}, input_schema: { type: 'object' } })
    expect(tools.slice(8)).toContainEqual({ ...made, config: {} })
    const theirs = await stranger.json(200, 'GET', '/api/tools')
    expect(theirs['tools'].map((tool: Json) => tool['id'])).not.toContain(made['id'])
  })

  it('keep what a change does not name, headers too', async () => {
    const { id } = await create({ name: 'kept' })
    const path = `/api/tools/${id}`
    const before = await secretOf(id)
    expect(await admin.json(200, 'PUT', path, { json: { description: 'Other' } })).toEqual({ id, name: 'kept' })
    const { config } = await admin.json(200, 'GET', path)
    // As a client does that reads, changes one thing, and writes everything back.
    await admin.json(200, 'PUT', path, { json: { config: { ...config, timeout_seconds: 5 } } })
    expect(await secretOf(id)).toEqual(before)
    expect(await admin.json(200, 'GET', path)).toMatchObject({
      description: 'Other',
      config: { timeout_seconds: 5, headers: { Authorization: '***', 'x-app': '***' } },
    })
  })

  it('get all their headers anew, or none', async () => {
    const { id } = await create({ name: 'renewed' })
    const path = `/api/tools/${id}`
    const config = { endpoint: 'https://articles.example/search' }
    const half = { config: { ...config, headers: { Authorization: '***', 'x-app': 'c' } } }
    expect(await admin.json(400, 'PUT', path, { json: half })).toMatchObject({
      error: 'headers: give the value of "Authorization" again',
    })
    await admin.json(200, 'PUT', path, { json: { config: { ...config, headers: { 'x-new': 'd' } } } })
    expect((await admin.json(200, 'GET', path))['config'].headers).toEqual({ 'x-new': '***' })
    await admin.json(200, 'PUT', path, { json: { config: { ...config, headers: {} } } })
    expect((await secretOf(id))?.secret_headers).toBeNull()
  })

  it('lose their headers with their host, and say so', async () => {
    const { id } = await create({ name: 'moved' })
    const changed = await admin.json(200, 'PUT', `/api/tools/${id}`, {
      json: { config: { endpoint: 'https://evil.example/search' } },
    })
    expect(changed['warnings']).toEqual([expect.stringContaining('headers were removed')])
    expect(await secretOf(id)).toMatchObject({ secret_headers: null })
  })

  it.each([
    [{ name: undefined }, 'name, description, type, and input_schema are required'],
    [{ description: ' ' }, 'name, description, type, and input_schema are required'],
    [{ type: undefined }, 'name, description, type, and input_schema are required'],
    [{ input_schema: undefined }, 'name, description, type, and input_schema are required'],
    [{ name: 'has space' }, 'name: 1 to 64 letters'],
    [{ name: 'database_query' }, 'is the name of a built-in tool'],
    [{ name: 'mcp__a__b' }, 'mcp__ begins the names'],
    [{ input_schema: { type: 'string' } }, 'input_schema: its type must be "object"'],
    [{ input_schema: { type: 'object', properties: { a: { $ref: 'https://x' } } } }, '$ref may only point'],
    [{ config: {} }, 'config.endpoint is required'],
    [{ config: { endpoint: 'file:///etc/passwd' } }, 'config.endpoint must be an address'],
    [{ config: { endpoint: 'https://u:p@x.example' } }, 'config.endpoint must be an address'],
    [{ config: { endpoint: 'https://x.example', headers: { 'a\nb': 'c' } } }, 'headers: a name may hold'],
    [{ config: { endpoint: 'https://x.example', headers: { a: 'b\r\nc: d' } } }, 'cannot have'],
    [{ config: { endpoint: 'https://x.example', headers: { 'x-bulkhead-call': 'x' } } }, 'cannot be set'],
    [{ config: { endpoint: 'https://x.example', headers: { a: '***' } } }, 'give the value of "a" again'],
  ])('refuse %j', async (more, message) => {
    const refusal = await admin.json(400, 'POST', '/api/tools', { json: definition(more) })
    expect(refusal['error']).toContain(message)
    expect(refusal['code']).toBe('invalid_request')
    const { tools } = await admin.json(200, 'GET', '/api/tools')
    expect(tools.filter((tool: Json) => tool['name'] === Object(more).name && tool['id'] !== null)).toEqual([])
  })

  it('name what they ignore', async () => {
    const config = { endpoint: 'https://x.example', api_key: 'canary-in-config' }
    const made = await create({ name: 'warned', endpoint_url: 'https://y.example', colour: 'red', config })
    expect(made['config'].endpoint).toBe('https://x.example')
    expect(made['warnings']).toEqual([
      'The field "colour" is not known here and was ignored.',
      'config.endpoint is used, and the one beside config ignored.',
      'The key "api_key" of config is not known here and was not stored.',
    ])
    expect(JSON.stringify(await admin.json(200, 'GET', `/api/tools/${made['id']}`))).not.toContain('canary')
  })

  it('may have their endpoint, method and headers beside config, where older documents have them', async () => {
    const beside = { endpoint_url: 'https://beside.example/x', method: 'GET', headers: { 'x-key': 'canary-beside' } }
    const made = await create({ name: 'beside', ...beside, config: undefined })
    expect(made['config']).toMatchObject({
      endpoint: beside.endpoint_url,
      method: 'GET',
      headers: { 'x-key': '***' },
    })
    expect(made).not.toHaveProperty('warnings')
    expect(await secretOf(made['id'])).toMatchObject({ secret_headers: expect.stringMatching(/^v1\./) })
    expect(JSON.stringify(await admin.json(200, 'GET', '/api/tools'))).not.toContain('canary-beside')
  })

  it('T13: are an admin’s to make, change and delete', async () => {
    const { id } = await create({ name: 'guarded' })
    for (const user of [member, viewer]) {
      expect(await user.json(403, 'POST', '/api/tools', { json: definition() })).toMatchObject({ code: 'forbidden' })
      await user.json(403, 'PUT', `/api/tools/${id}`, { json: { description: 'x' } })
      await user.json(403, 'DELETE', `/api/tools/${id}`)
    }
    expect(await admin.json(200, 'DELETE', `/api/tools/${id}`)).toEqual({ deleted: true })
    expect(await admin.json(404, 'GET', `/api/tools/${id}`)).toMatchObject({
      error: 'Tool not found',
      code: 'tool_not_found',
    })
  })

  it('of another tenant look absent', async () => {
    const { id } = await create({ name: 'foreign' })
    const calls: [string, object?][] = [['GET'], ['PUT', { description: 'x' }], ['DELETE']]
    for (const [method, json] of calls) {
      const sent = json ? { json } : {}
      const foreign = await stranger.json(404, method, `/api/tools/${id}`, sent)
      for (const other of [ABSENT, 'x']) {
        expect(withoutIds(foreign)).toEqual(withoutIds(await stranger.json(404, method, `/api/tools/${other}`, sent)))
      }
    }
    await admin.json(200, 'GET', `/api/tools/${id}`)
  })

  it('are reached by a service key in their own tenant', async () => {
    expect(await service.json(400, 'POST', '/api/tools', { json: definition() })).toMatchObject({
      code: 'tenant_required',
    })
    const { id } = await create({ name: 'served' }, api.as(service, { 'x-tenant-id': MERIDIAN }))
    expect((await secretOf(id))?.tenant_id).toBe(MERIDIAN)
    await service.json(200, 'GET', `/api/tools/${id}`)
    await service.json(200, 'PUT', `/api/tools/${id}`, { json: { description: 'x' } })
    const contradicted = api.as(service, { 'x-tenant-id': HARBOR })
    expect(withoutIds(await contradicted.json(404, 'GET', `/api/tools/${id}`))).toEqual(
      withoutIds(await service.json(404, 'GET', `/api/tools/${ABSENT}`)),
    )
    await service.json(200, 'DELETE', `/api/tools/${id}`)
  })
})

describe('tools of an agent', () => {
  const agentOf = (by: FunctionsCaller) => by.json(201, 'POST', '/api/agents', { json: { name: 'Clerk' } })
  const pathOf = (agent: Json) => `/api/agents/${agent['id']}/tools`

  it('are attached by tool_name alone, as the documents have it', async () => {
    const agent = await agentOf(member)
    const made = await member.json(201, 'POST', pathOf(agent), { json: { tool_name: 'database_query' } })
    expect(made).toEqual({
      id: expect.any(String),
      agent_id: agent['id'],
      tool_type: 'builtin',
      tool_name: 'database_query',
      tool_id: null,
      config_override: {},
      permissions: {},
      warnings: [expect.stringContaining('database_query can use no table until config_override.schemas names some')],
    })
    await member.json(409, 'POST', pathOf(agent), { json: { tool_name: 'database_query', tool_type: 'builtin' } })
    const { agent_id: _agent, warnings: _warnings, ...shown } = made
    expect(await viewer.json(200, 'GET', pathOf(agent))).toEqual({ tools: [shown] })
  })

  it('are configured by config_override only; config is named in a warning', async () => {
    const agent = await agentOf(member)
    const { id } = await member.json(201, 'POST', pathOf(agent), { json: { tool_name: 'database_query' } })
    const path = `${pathOf(agent)}/${id}`
    const config_override = { schemas: { public: ['articles', 'notes'] } }
    expect(await member.json(200, 'PATCH', path, { json: { config_override } })).toEqual({
      id,
      tool_type: 'builtin',
      tool_name: 'database_query',
      tool_id: null,
      config_override,
      permissions: {},
    })
    expect(await member.json(200, 'PATCH', path, { json: { config: { schemas: {} } } })).toMatchObject({
      config_override,
      warnings: ['The field "config" is not known here and was ignored.'],
    })
    await viewer.json(403, 'PATCH', path, { json: { config_override: {} } })
    await viewer.json(403, 'DELETE', path)
    expect(await member.json(200, 'DELETE', path)).toEqual({ deleted: true })
    expect(await member.json(404, 'DELETE', path)).toMatchObject({ error: 'Assignment not found' })
  })

  it.each([
    [{ auth: ['users'] }],
    [{ AI: ['chunks'] }],
    [{ storage: ['objects'] }],
    [{ pg_catalog: ['pg_authid'] }],
    [{ information_schema: ['tables'] }],
    [{ private: ['x'] }],
    [{ vault: ['secrets'] }],
    [{ 'public;drop': ['x'] }],
    [{ public: ['x"; select'] }],
    [{ public: 'articles' }],
    [['public']],
  ])('cannot use %j', async (schemas) => {
    const agent = await agentOf(member)
    const json = { tool_name: 'database_write', config_override: { schemas } }
    const refusal = await member.json(400, 'POST', pathOf(agent), { json })
    expect(refusal['error']).toContain('schema')
    expect(await member.json(200, 'GET', pathOf(agent))).toEqual({ tools: [] })
  })

  it('that send data out are an admin’s to attach', async () => {
    const agent = await agentOf(member)
    const custom = await create({ name: 'attached' })
    const outgoing = [
      { tool_name: 'http_request' },
      { tool_name: 'web_scrape' },
      { tool_name: 'web_search' },
      { tool_name: 'code_execute' },
      { tool_type: 'custom', tool_name: 'attached', tool_id: custom['id'] },
    ]
    for (const json of outgoing) {
      expect(await member.json(403, 'POST', pathOf(agent), { json })).toMatchObject({ code: 'forbidden' })
      await admin.json(201, 'POST', pathOf(agent), { json })
    }
    const { tools } = await admin.json(200, 'GET', pathOf(agent))
    expect(tools.at(-1)).toMatchObject({ tool_type: 'custom', tool_name: 'attached', tool_id: custom['id'] })
    await member.json(403, 'PATCH', `${pathOf(agent)}/${tools[0].id}`, { json: { config_override: { url: 'x' } } })
  })

  it('say which forced arguments are none', async () => {
    const agent = await agentOf(admin)
    const json = { tool_name: 'web_search', config_override: { max_results: 3, num_results: 3 } }
    expect((await admin.json(201, 'POST', pathOf(agent), { json }))['warnings']).toEqual([
      '"max_results" is not an argument that can be forced on web_search and has no effect.',
    ])
    const trusted = { tool_name: 'http_request', config_override: { untrusted: 'allow' } }
    expect(await admin.json(201, 'POST', pathOf(agent), { json: trusted })).not.toHaveProperty('warnings')
    const wrong = { tool_name: 'web_scrape', config_override: { untrusted: true } }
    await admin.json(400, 'POST', pathOf(agent), { json: wrong })
    const own = { tool_name: 'storage_write', config_override: { untrusted: 'allow' } }
    expect((await admin.json(201, 'POST', pathOf(agent), { json: own }))['warnings']).toEqual([
      '"untrusted" is not an argument that can be forced on storage_write and has no effect.',
    ])
  })

  it.each([
    [{}, 'tool_type and tool_name are required'],
    [{ tool_name: 'nonesuch' }, 'There is no built-in tool "nonesuch"'],
    [{ tool_name: 'nonesuch', tool_type: 'custom' }, 'tool_id is required for a custom tool'],
    [{ tool_name: 'database_query', tool_type: 'custom', tool_id: ABSENT }, 'must differ from built-in tools'],
    [{ tool_name: 'mcp__a__b', tool_type: 'custom', tool_id: ABSENT }, 'must differ from built-in tools'],
    [{ tool_name: 'x', tool_type: 'plugin' }, 'tool_type must be builtin or custom'],
  ])('refuse %j', async (json, message) => {
    const agent = await agentOf(admin)
    expect((await admin.json(400, 'POST', pathOf(agent), { json }))['error']).toContain(message)
  })

  it('cannot be another tenant’s', async () => {
    const agent = await agentOf(admin)
    const foreign = await create({ name: 'theirs' }, stranger)
    const attach = (tool_id: unknown) =>
      admin.json(404, 'POST', pathOf(agent), { json: { tool_type: 'custom', tool_name: 'theirs', tool_id } })
    expect(withoutIds(await attach(foreign['id']))).toEqual(withoutIds(await attach(ABSENT)))
    const { id } = await admin.json(201, 'POST', pathOf(agent), { json: { tool_name: 'storage_read' } })
    const calls: [string, string, object?][] = [
      ['GET', ''],
      ['POST', '', { tool_name: 'storage_read' }],
      ['PATCH', `/${id}`, { config_override: {} }],
      ['DELETE', `/${id}`],
    ]
    for (const [method, path, json] of calls) {
      const sent = json ? { json } : {}
      expect(withoutIds(await stranger.json(404, method, `${pathOf(agent)}${path}`, sent))).toEqual(
        withoutIds(await stranger.json(404, method, `/api/agents/${ABSENT}/tools${path}`, sent)),
      )
    }
  })

  it('are reached by a service key without a tenant', async () => {
    const agent = await agentOf(member)
    const { id } = await service.json(201, 'POST', pathOf(agent), { json: { tool_name: 'http_request' } })
    await service.json(200, 'DELETE', `${pathOf(agent)}/${id}`)
    const asViewer = { 'x-act-as-user': 'a0000000-0000-4000-8000-000000000004' }
    await api.as(service, asViewer).json(403, 'POST', pathOf(agent), { json: { tool_name: 'storage_read' } })
  })
})

it('no secret is in any log line or in what members can read', async () => {
  const dump = await stack.db.query<{ text: string }>(
    "select coalesce(string_agg(to_jsonb(tools)::text, ' '), '') as text from ai.tools",
  )
  expect(dump[0]?.text).not.toContain('canary')
  expect(api.logged.join('\n')).not.toContain('canary')
})
