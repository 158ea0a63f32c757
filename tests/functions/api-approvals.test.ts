import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createLedger } from '../../supabase/functions/_shared/ledger.ts'
import type { Ledger } from '../../supabase/functions/_shared/ledger.ts'
import type { ApprovalRule } from '../../supabase/functions/_shared/hooks/permissions.ts'
import { useStack } from '../support/stack.ts'
import { startApi } from './support/api-app.ts'
import type { ApiApp } from './support/api-app.ts'
import { ABSENT, userCaller } from './support/http.ts'
import type { FunctionsCaller, Json } from './support/http.ts'

const stack = useStack()
let api: ApiApp
let ledger: Ledger
let admin: FunctionsCaller
let member: FunctionsCaller
let viewer: FunctionsCaller
let agentId = ''
beforeAll(async () => {
  api = startApi(stack)
  ledger = createLedger({ url: stack.url, secretKey: stack.keys.secret })
  admin = api.as(await userCaller(stack, 'admin@harbor.example'))
  member = api.as(await userCaller(stack, 'member@harbor.example'))
  viewer = api.as(await userCaller(stack, 'viewer@harbor.example'))
})
beforeEach(async () => {
  agentId = (await member.json(201, 'POST', '/api/agents', { json: { name: 'Clerk' } }))['id'] as string
})

const ASKS = { default: 'ask', roles: { viewer: 'deny' }, approval: { role: 'admin', four_eyes: true, quorum: 1 } }
const QUERY = { tool_name: 'database_query', config_override: { schemas: { public: ['memories'] } } }

describe('who may call a tool', () => {
  it('is said by admins when they assign it, and changed by them', async () => {
    const path = `/api/agents/${agentId}/tools`
    await member.json(403, 'POST', path, { json: { ...QUERY, permissions: ASKS } })
    const made = await admin.json(201, 'POST', path, { json: { ...QUERY, permissions: ASKS } })
    expect(made['permissions']).toEqual(ASKS)
    expect((await member.json(200, 'GET', path))['tools']).toMatchObject([{ permissions: ASKS }])
    const one = `${path}/${made['id']}`
    await member.json(403, 'PATCH', one, { json: { permissions: {} } })
    await member.json(403, 'PATCH', one, { json: { config_override: {} } })
    await member.json(403, 'DELETE', one)
    const changed = await admin.json(200, 'PATCH', one, { json: { permissions: { default: 'deny' } } })
    expect(changed).toMatchObject({ permissions: { default: 'deny' }, config_override: QUERY.config_override })
    await admin.json(200, 'PATCH', one, { json: { permissions: {} } })
    await member.json(200, 'DELETE', one)
  })

  it('is nobody’s in particular unless it is said', async () => {
    const made = await member.json(201, 'POST', `/api/agents/${agentId}/tools`, { json: QUERY })
    expect(made['permissions']).toEqual({})
  })

  it.each([
    { default: 'sometimes' },
    { roles: { nobody: 'ask' } },
    { approval: { quorum: 0 } },
    { approval: { expires_in_seconds: 3_456_001 } },
    { approval: { approved: true } },
    { tools: { x: {} } },
  ])('is not %j', async (permissions) => {
    const path = `/api/agents/${agentId}/tools`
    const answer = await admin.json(400, 'POST', path, { json: { ...QUERY, permissions } })
    expect(answer['code']).toBe('invalid_request')
  })

  it('is said of servers, and of single tools of them', async () => {
    const path = `/api/agents/${agentId}/mcp-servers`
    api.mcp = () => ({ tools: [], warnings: [] })
    const permissions = { default: 'ask', tools: { read: { default: 'allow' } } }
    const made = await admin.json(201, 'POST', path, {
      json: { name: 'crm', url: 'https://mcp.example/x', permissions },
    })
    expect(made['permissions']).toEqual(permissions)
    const changed = await admin.json(200, 'PUT', `${path}/${made['id']}`, {
      json: { permissions: { default: 'deny' } },
    })
    expect(changed['permissions']).toEqual({ default: 'deny' })
    await member.json(403, 'PUT', `${path}/${made['id']}`, { json: { permissions: {} } })
  })
})

describe('approvals', () => {
  async function waiting(rule: ApprovalRule): Promise<{ id: string; runId: string; hash: string }> {
    const client = await stack.signIn('member@harbor.example')
    const { data: run } = await client.schema('ai').rpc('start_run', { agent_id: agentId, message: 'Send it.' })
    const asked = await ledger.requestApproval({
      runId: run.id,
      leaseToken: run.lease_token,
      callId: 'c1',
      toolName: 'mail',
      toolInput: { to: 'x' },
      message: 'Send it?',
      rule,
    })
    return { id: asked?.approval_id ?? '', runId: run.run_id, hash: asked?.input_hash ?? '' }
  }
  const listed = async (by: FunctionsCaller, query = '') =>
    ((await by.json(200, 'GET', `/api/approvals${query}`))['approvals'] as Json[]).map(({ id }) => id as string)

  it('are listed for who decides, with what they have to know, until they are decided', async () => {
    const { id, hash } = await waiting({ role: 'admin', four_eyes: true })
    const { approvals } = await admin.json(200, 'GET', '/api/approvals?limit=200')
    expect(approvals.find((one: Json) => one['id'] === id)).toEqual({
      id,
      agent_id: agentId,
      user_id: expect.any(String),
      call_id: 'c1',
      tool_name: 'mail',
      tool_input: { to: 'x' },
      input_hash: hash,
      message: 'Send it?',
      status: 'pending',
      decider_role: 'admin',
      decider_group_id: null,
      four_eyes: true,
      quorum: 1,
      decided_by: null,
      reason: null,
      expires_at: expect.any(String),
      created_at: expect.any(String),
      decided_at: null,
    })
    expect(await listed(member)).not.toContain(id)
    expect(await listed(viewer)).not.toContain(id)
    const answer = await admin.json(200, 'POST', `/api/approvals/${id}/decide`, {
      json: { approved: false, reason: 'Not today.', input_hash: hash },
    })
    expect(answer).toEqual({ status: 'resumed', approval_id: id, approvals: 0, quorum: 1 })
    expect(await listed(admin)).not.toContain(id)
    // The person of the run reads what came of it.
    expect(await listed(member, '?status=denied')).toContain(id)
    expect(await listed(viewer, '?status=denied')).not.toContain(id)
  })

  it('of several people wait for all of them', async () => {
    const { id, runId } = await waiting({ role: 'viewer', quorum: 2 })
    const first = await viewer.json(200, 'POST', `/api/approvals/${id}/decide`, { json: { approved: true } })
    expect(first).toEqual({ status: 'waiting', approval_id: id, approvals: 1, quorum: 2 })
    const again = await viewer.json(409, 'POST', `/api/approvals/${id}/decide`, { json: { approved: true } })
    expect(again['code']).toBe('conflict')
    const second = await member.json(200, 'POST', `/api/agents/runs/${runId}/approve`, { json: { approved: true } })
    expect(second).toEqual({ status: 'resumed', approval_id: id, approvals: 2, quorum: 2 })
  })

  it('are decided with yes or no, about what there is', async () => {
    const { id } = await waiting({})
    const path = `/api/approvals/${id}/decide`
    for (const json of [{}, { approved: 'true' }, { approved: 1 }, { approved: true, input_hash: 'x' }]) {
      expect((await member.json(400, 'POST', path, { json }))['code']).toBe('invalid_request')
    }
    for (const unknown of [ABSENT, 'nonsense']) {
      const answer = await member.json(404, 'POST', `/api/approvals/${unknown}/decide`, { json: { approved: true } })
      expect(answer).toMatchObject({ code: 'approval_not_found', error: 'No approval is waiting for your decision.' })
    }
    expect((await member.json(400, 'GET', '/api/approvals?status=all'))['code']).toBe('invalid_request')
    await member.json(200, 'POST', path, { json: { approved: true } })
  })
})
