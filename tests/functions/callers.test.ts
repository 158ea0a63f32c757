import { beforeAll, describe, expect, it } from 'vitest'
import { ABSENT, HARBOR, MERIDIAN, caller, serviceCaller, userCaller } from './support/http.ts'
import type { FunctionsCaller } from './support/http.ts'
import { useFunctionsStack } from './support/functions-stack.ts'

const stack = useFunctionsStack()
const MEMBER_ID = 'a0000000-0000-4000-8000-000000000003'
const VIEWER_ID = 'a0000000-0000-4000-8000-000000000004'
let member: FunctionsCaller
let agentId = ''
beforeAll(async () => {
  member = await userCaller(stack, 'member@harbor.example')
  agentId = (await member.json(201, 'POST', '/api/agents', { json: { name: 'Named' } }))['id']
})

const tenantOf = async (id: string) =>
  (await stack.db.query<{ tenant_id: string }>('select tenant_id from ai.agents where id = $1', [id]))[0]?.tenant_id

describe('a service key', () => {
  it('acts in the tenant of the resource that is named', async () => {
    expect(await serviceCaller(stack).json(200, 'GET', `/api/agents/${agentId}`)).toMatchObject({ name: 'Named' })
    await serviceCaller(stack, { 'x-tenant-id': HARBOR }).json(200, 'GET', `/api/agents/${agentId}`)
  })

  it('finds nothing under a header that contradicts it', async () => {
    const contradicted = await serviceCaller(stack, { 'x-tenant-id': MERIDIAN }).json(
      404,
      'GET',
      `/api/agents/${agentId}`,
    )
    const absent = await serviceCaller(stack).json(404, 'GET', `/api/agents/${ABSENT}`)
    expect({ ...contradicted, request_id: '' }).toEqual({ ...absent, request_id: '' })
  })

  it('must name a tenant to create or list, where several exist', async () => {
    const json = { name: 'By the backend' }
    expect(await serviceCaller(stack).json(400, 'GET', '/api/agents')).toMatchObject({
      code: 'tenant_required',
      hint: expect.any(String),
    })
    await serviceCaller(stack).json(400, 'POST', '/api/agents', { json })
    await serviceCaller(stack, { 'x-tenant-id': ABSENT }).json(400, 'GET', '/api/agents')
    await serviceCaller(stack, { 'x-tenant-id': 'x' }).json(400, 'GET', '/api/agents')
    const made = await serviceCaller(stack, { 'x-tenant-id': MERIDIAN }).json(201, 'POST', '/api/agents', { json })
    expect(await tenantOf(made['id'])).toBe(MERIDIAN)
  })

  it('acting as a person has that person’s rights, and only in their tenant', async () => {
    const asViewer = serviceCaller(stack, { 'x-tenant-id': HARBOR, 'x-act-as-user': VIEWER_ID })
    await asViewer.json(403, 'POST', '/api/agents', { json: { name: 'No' } })
    await asViewer.json(403, 'PATCH', `/api/agents/${agentId}`, { json: { name: 'No' } })
    const asMember = serviceCaller(stack, { 'x-act-as-user': MEMBER_ID })
    await asMember.json(200, 'PATCH', `/api/agents/${agentId}`, { json: { name: 'Named' } })
    await serviceCaller(stack, { 'x-tenant-id': MERIDIAN, 'x-act-as-user': MEMBER_ID }).json(403, 'GET', '/api/agents')
    await serviceCaller(stack, { 'x-tenant-id': HARBOR, 'x-act-as-user': ABSENT }).json(403, 'GET', '/api/agents')
    await serviceCaller(stack, { 'x-tenant-id': HARBOR, 'x-act-as-user': 'owner' }).json(400, 'GET', '/api/agents')
  })

  it('as apikey gives a person nothing', async () => {
    const mixed = caller(stack, { ...member.headers, apikey: stack.keys.secret })
    expect(await mixed.json(200, 'GET', '/api/agents')).toEqual(await member.json(200, 'GET', '/api/agents'))
    await caller(stack, { apikey: stack.keys.secret }).json(401, 'GET', '/api/agents')
  })
})

describe('a token', () => {
  const claims = (more: Record<string, unknown> = {}) => ({
    sub: MEMBER_ID,
    role: 'authenticated',
    aud: 'authenticated',
    iss: `${stack.url}/auth/v1`,
    exp: Math.floor(Date.now() / 1000) + 600,
    ...more,
  })
  const withToken = async (more: Record<string, unknown>) =>
    caller(stack, {
      apikey: stack.keys.publishable,
      authorization: `Bearer ${await stack.stack.tokens.sign(claims(more))}`,
    })

  it('with a tenant claim only narrows, never widens', async () => {
    expect((await (await withToken({})).json(200, 'GET', '/api/agents'))['total']).toBeGreaterThan(0)
    for (const more of [{ tenant_id: MERIDIAN }, { app_metadata: { tenant_id: MERIDIAN } }, { tenant_id: 'x' }]) {
      const forged = await withToken(more)
      expect(await forged.json(200, 'GET', '/api/agents')).toMatchObject({ agents: [], total: 0 })
      await forged.json(404, 'GET', `/api/agents/${agentId}`)
      await forged.json(403, 'POST', '/chat', { json: { message: 'x' } })
    }
    const boasting = await withToken({ user_metadata: { tenant_id: MERIDIAN, role: 'owner' } })
    expect((await boasting.json(200, 'GET', '/api/agents'))['total']).toBeGreaterThan(0)
  })

  it.each([
    [{ exp: 1 }, 'Token has expired'],
    [{ aud: 'other' }, 'Invalid token audience'],
    [{ iss: 'https://other.example/auth/v1' }, 'Invalid token: unexpected or missing claim iss'],
    [{ role: 'service_role' }, 'Invalid token: role is not authenticated'],
  ])('with %j is refused', async (more, error) => {
    for (const path of ['/api/agents', '/sources', '/chat/sessions']) {
      expect(await (await withToken(more)).json(401, 'GET', path)).toEqual({
        error,
        code: 'unauthenticated',
        request_id: expect.any(String),
      })
    }
  })
})
