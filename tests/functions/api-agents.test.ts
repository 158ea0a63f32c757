import { beforeAll, describe, expect, it } from 'vitest'
import { useFunctionsStack } from './support/functions-stack.ts'
import { ABSENT, userCaller } from './support/http.ts'
import type { FunctionsCaller, Json } from './support/http.ts'

const stack = useFunctionsStack()
let admin: FunctionsCaller
let member: FunctionsCaller
let viewer: FunctionsCaller
let stranger: FunctionsCaller
beforeAll(async () => {
  admin = await userCaller(stack, 'admin@harbor.example')
  member = await userCaller(stack, 'member@harbor.example')
  viewer = await userCaller(stack, 'viewer@harbor.example')
  stranger = await userCaller(stack, 'member@meridian.example')
})

const create = (user: FunctionsCaller, body: object = { name: 'Clerk' }) =>
  user.json(201, 'POST', '/api/agents', { json: body })
const without = ({ request_id: _id, ...rest }: Json) => rest

describe('agents', () => {
  it('are created, read, changed and deleted', async () => {
    const body = { name: ' Clerk ', model: 'gpt-4o', system_prompt: 'Be brief.', settings: { temperature: 0.7 } }
    const made = await create(member, body)
    expect(made).toEqual({
      id: expect.any(String),
      name: 'Clerk',
      model: 'gpt-4o',
      system_prompt: 'Be brief.',
      settings: { temperature: 0.7 },
    })
    const path = `/api/agents/${made['id']}`
    expect(await viewer.json(200, 'GET', path)).toEqual({
      ...made,
      published: true,
      created_at: expect.any(String),
      updated_at: expect.any(String),
    })
    const changed = await member.json(200, 'PATCH', path, { json: { settings: { max_tokens: 5 } } })
    expect(changed).toMatchObject({ name: 'Clerk', settings: { max_tokens: 5 } })
    expect(await member.json(200, 'DELETE', path)).toEqual({ message: 'Agent deleted' })
    expect(await member.json(404, 'GET', path)).toMatchObject({ error: 'Agent not found' })
  })

  it('without a model show the one that would answer', async () => {
    expect(await create(member)).toMatchObject({ model: 'bulkhead-extractive', system_prompt: null, settings: {} })
  })

  it('tell which fields and settings were ignored', async () => {
    const made = await create(member, { name: 'A', temperature: 1, settings: { top_p: 1 } })
    expect(made['warnings']).toEqual([
      'The field "temperature" is not known here and was ignored.',
      'The setting "top_p" is stored but has no effect.',
    ])
    const usable = {
      ...{ temperature: 0.5, max_tokens: 100, max_steps: 3, timeout_seconds: 30, fallback_model: 'm' },
      ...{ reasoning_effort: 'low', max_context_tokens: 100, buffer_response: true, remote_agent_id: 'a' },
    }
    const path = `/api/agents/${made['id']}`
    const unusable = Object.fromEntries(Object.keys(usable).map((key) => [key, ['no']]))
    const warned = await member.json(200, 'PATCH', path, { json: { settings: { ...unusable, max_steps: 101 } } })
    expect(warned['warnings'].toSorted()).toEqual(
      Object.keys(usable)
        .toSorted()
        .map((key) => `The setting "${key}" is stored but has no effect: its value cannot be used.`),
    )
    for (const settings of [usable, { ...usable, temperature: null }]) {
      expect(await member.json(200, 'PATCH', path, { json: { settings } })).not.toHaveProperty('warnings')
    }
  })

  it.each([
    ['POST', {}, 'Name is required'],
    ['POST', { name: '  ' }, 'Name is required'],
    ['POST', { name: 7 }, 'Name is required'],
    ['POST', { name: 'A', settings: [] }, 'settings: Invalid input'],
    ['PATCH', {}, 'No data provided'],
    ['PATCH', { temperature: 1 }, 'No valid fields to update'],
    ['PATCH', { name: null }, 'Name is required'],
  ])('refuse %s %j', async (method, json, message) => {
    const path = method === 'POST' ? '/api/agents' : `/api/agents/${(await create(member))['id']}`
    const refusal = await member.json(400, method, path, { json })
    expect(refusal['error']).toContain(message)
    expect(refusal['code']).toBe('invalid_request')
  })

  it('are changed and deleted by their creator and admins only', async () => {
    const { id } = await create(member)
    await viewer.json(403, 'POST', '/api/agents', { json: { name: 'No' } })
    await viewer.json(403, 'PATCH', `/api/agents/${id}`, { json: { name: 'No' } })
    await viewer.json(403, 'DELETE', `/api/agents/${id}`)
    await admin.json(200, 'PATCH', `/api/agents/${id}`, { json: { name: 'Yes' } })
    await admin.json(200, 'DELETE', `/api/agents/${id}`)
  })

  it('of another tenant look absent', async () => {
    const { id } = await create(member)
    for (const [method, json] of [['GET'], ['PATCH', { name: 'x' }]] as [string, object?][]) {
      const sent = json ? { json } : {}
      const foreign = await stranger.json(404, method, `/api/agents/${id}`, sent)
      expect(without(foreign)).toEqual(without(await stranger.json(404, method, `/api/agents/${ABSENT}`, sent)))
      await stranger.json(404, method, '/api/agents/1', sent)
    }
    for (const other of [id, ABSENT, 'x']) {
      expect(await stranger.json(200, 'DELETE', `/api/agents/${other}`)).toEqual({ message: 'Agent deleted' })
    }
    await member.json(200, 'GET', `/api/agents/${id}`)
  })

  it('that are a tenant’s default stay', async () => {
    const { agents } = await admin.json(200, 'GET', '/api/agents?q=assistant')
    expect(await admin.json(409, 'DELETE', `/api/agents/${agents[0].id}`)).toMatchObject({ code: 'conflict' })
  })
})

describe('the list of agents', () => {
  it('counts runs and sessions of the caller, and finds by name', async () => {
    const { id } = await create(member, { name: '100% Ünique_Name' })
    await create(member, { name: '100x Ünique-Name' })
    await member.json(200, 'POST', `/api/agents/${id}/run`, { json: { message: 'One' } })
    await member.json(200, 'POST', `/api/agents/${id}/run`, { json: { message: 'Two', session_id: 'chosen' } })
    const query = `/api/agents?q=${encodeURIComponent('100% ünique_')}`
    const mine = await member.json(200, 'GET', query)
    expect(mine).toMatchObject({ total: 1, limit: 50, offset: 0 })
    expect(mine['agents'][0]).toMatchObject({ id, session_count: 2, total_runs: 2, last_run_at: expect.any(String) })
    expect((await admin.json(200, 'GET', query))['agents'][0]).toMatchObject({
      session_count: 0,
      total_runs: 0,
      last_run_at: null,
    })
    expect(await stranger.json(200, 'GET', query)).toMatchObject({ agents: [], total: 0 })
  })

  it('can be sorted by their last change, which a run is not', async () => {
    const made: unknown[] = []
    for (const name of ['Changing 1', 'Changing 2', 'Changing 3']) made.push((await create(member, { name }))['id'])
    const [one, two, three] = made
    await member.json(200, 'PATCH', `/api/agents/${one}`, { json: { system_prompt: 'Changed.' } })
    await member.json(200, 'POST', `/api/agents/${two}/run`, { json: { message: 'x' } })
    const listed = async (query: string) =>
      (await member.json(200, 'GET', `/api/agents?q=Changing&${query}`))['agents'].map((agent: Json) => agent['id'])
    expect(await listed('sort=updated_at')).toEqual([one, three, two])
    expect(await listed('sort=updated_at&order=asc')).toEqual([two, three, one])
    expect(await listed('sort=updated_at&limit=1&offset=1')).toEqual([three])
    // Not the order in which they were made.
    expect(await listed('sort=created_at')).toEqual([three, two, one])
  })

  it('pages and sorts; bad numbers fall back, bad sort keys do not', async () => {
    const page = await member.json(200, 'GET', '/api/agents?limit=1&offset=1&sort=name&order=asc')
    expect(page).toMatchObject({ limit: 1, offset: 1 })
    expect(page['agents']).toHaveLength(1)
    expect(page['total']).toBeGreaterThan(1)
    expect(await member.json(200, 'GET', '/api/agents?limit=-3&offset=x')).toMatchObject({ limit: 50, offset: 0 })
    expect(await member.json(200, 'GET', '/api/agents?limit=5000&sort=last_run_at')).toMatchObject({ limit: 100 })
    for (const query of ['sort=tenant_id', 'order=up', 'sort=name,id']) {
      expect(await member.json(400, 'GET', `/api/agents?${query}`)).toMatchObject({ code: 'invalid_request' })
    }
  })
})

describe('knowledge bases of an agent', () => {
  it('are linked, listed and unlinked by whoever may change the agent', async () => {
    const agent = await create(member)
    const path = `/api/agents/${agent['id']}/knowledge-bases`
    const kb = await member.json(201, 'POST', '/api/knowledge-bases', { json: { name: 'Linked' } })
    const link = await member.json(201, 'POST', path, { json: { knowledge_base_id: kb['id'], config: { top_k: 3 } } })
    expect(link).toEqual({
      id: expect.any(String),
      agent_id: agent['id'],
      knowledge_base_id: kb['id'],
      config: { top_k: 3 },
    })
    expect(await member.json(409, 'POST', path, { json: { knowledge_base_id: kb['id'] } })).toMatchObject({
      error: 'Knowledge base already assigned',
      code: 'conflict',
    })
    await viewer.json(403, 'POST', path, { json: { knowledge_base_id: kb['id'] } })
    expect(await viewer.json(200, 'GET', path)).toEqual({
      knowledge_bases: [{ id: link['id'], knowledge_base_id: kb['id'], config: { top_k: 3 } }],
    })
    await viewer.json(403, 'DELETE', `${path}/${link['id']}`)
    expect(await member.json(200, 'DELETE', `${path}/${link['id']}`)).toEqual({ deleted: true })
    expect(await member.json(404, 'DELETE', `${path}/${link['id']}`)).toMatchObject({ error: 'Assignment not found' })
  })

  it('cannot be another tenant’s', async () => {
    const agent = await create(member)
    const path = `/api/agents/${agent['id']}/knowledge-bases`
    const foreign = await stranger.json(201, 'POST', '/api/knowledge-bases', { json: { name: 'Theirs' } })
    const refusals = [
      await member.json(404, 'POST', path, { json: { knowledge_base_id: foreign['id'] } }),
      await member.json(404, 'POST', path, { json: { knowledge_base_id: ABSENT } }),
    ]
    expect(without(refusals[0] ?? {})).toEqual(without(refusals[1] ?? {}))
    await member.json(400, 'POST', path, { json: {} })
    await stranger.json(404, 'POST', path, { json: { knowledge_base_id: foreign['id'] } })
    await stranger.json(404, 'GET', path)
  })
})

describe('every other route', () => {
  it('health needs no token', async () => {
    const response = await fetch(`${stack.url}/functions/v1/api/health`)
    expect(await response.json()).toEqual({ status: 'healthy', service: 'project-service' })
  })

  it.each(['/api/workflows', '/api/orchestrations', '/api/runs', '/api/settings/x', '/api/database/query', '/api'])(
    '%s is unknown',
    async (path) => {
      expect(await member.json(404, 'GET', path)).toEqual({
        error: 'No such route.',
        code: 'not_found',
        request_id: expect.any(String),
      })
    },
  )

  it('refuses garbage without leaking anything', async () => {
    const response = await member.send('POST', '/api/agents', {
      body: '{"name":',
      headers: { 'content-type': 'application/json' },
    })
    expect(response.status).toBe(400)
    expect(await response.json()).toMatchObject({ error: 'The request body is not valid JSON.' })
    const polluted = await member.send('POST', '/api/agents', {
      body: '{"name":"P","settings":{"__proto__":{"polluted":true}},"__proto__":{"model":"x"}}',
      headers: { 'content-type': 'application/json' },
    })
    expect(polluted.status).toBe(201)
    expect((await polluted.json()).model).toBe('bulkhead-extractive')
  })
})
