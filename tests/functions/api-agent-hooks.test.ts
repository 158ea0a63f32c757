import { beforeAll, describe, expect, it } from 'vitest'
import { useStack } from '../support/stack.ts'
import { startApi, withoutIds } from './support/api-app.ts'
import type { ApiApp } from './support/api-app.ts'
import { ABSENT, MERIDIAN, serviceCaller, userCaller } from './support/http.ts'
import type { FunctionsCaller, Json } from './support/http.ts'

const MEMBER_ID = 'a0000000-0000-4000-8000-000000000003'
const stack = useStack()
let api: ApiApp
let admin: FunctionsCaller
let member: FunctionsCaller
let viewer: FunctionsCaller
let stranger: FunctionsCaller
let service: FunctionsCaller
let agent: Json
beforeAll(async () => {
  api = startApi(stack)
  admin = api.as(await userCaller(stack, 'admin@harbor.example'))
  member = api.as(await userCaller(stack, 'member@harbor.example'))
  viewer = api.as(await userCaller(stack, 'viewer@harbor.example'))
  stranger = api.as(await userCaller(stack, 'owner@meridian.example'))
  service = api.as(serviceCaller(stack))
  agent = await member.json(201, 'POST', '/api/agents', { json: { name: 'Clerk' } })
})
const path = () => `/api/agents/${agent['id']}/hooks`
const add = (json: object, by = member) => by.json(201, 'POST', path(), { json })

describe('hooks', () => {
  it('for approvals are added as the documents have it', async () => {
    const json = {
      event: 'PreToolUse',
      type: 'approval',
      matcher: 'database_query',
      config: { message: 'Run this query?' },
    }
    expect(await add(json)).toEqual({
      ...json,
      id: expect.any(String),
      agent_id: agent['id'],
      enabled: true,
      position: 0,
      created_at: expect.any(String),
    })
  })

  it('are listed by position', async () => {
    const rule = { event: 'PreToolUse', type: 'rule', config: { condition: 'query CONTAINS drop' } }
    const last = await add({ ...rule, position: 7 })
    const first = await add({ ...rule, position: 3, enabled: false })
    const { hooks } = await viewer.json(200, 'GET', path())
    expect(hooks.slice(-2)).toEqual([first, last])
    expect(first['config']).toEqual({ condition: 'query CONTAINS drop', action: 'deny' })
  })

  it('name what they do not store', async () => {
    const config = { url: 'https://hooks.example', headers: { authorization: 'canary' }, include_run_context: true }
    const made = await add({ event: 'OnDelegation', type: 'http', config, retries: 3 }, admin)
    expect(made).toMatchObject({ config: { url: 'https://hooks.example', include_run_context: true } })
    expect(made['warnings']).toEqual([
      'The field "retries" is not known here and was ignored.',
      'OnDelegation never happens here: agents do not call each other.',
      'The key "headers" of config is not known here and was not stored.',
    ])
    expect(JSON.stringify(await viewer.json(200, 'GET', path()))).not.toContain('canary')
  })

  it.each([
    [{ event: 'before_run', type: 'webhook', config: {} }, 'event must be one of OnRunStart, PreToolUse'],
    [{ event: 'PreToolUse', type: 'webhook', config: {} }, 'type must be one of http, rule, approval'],
    [{ event: 'PreToolUse', type: 'rule' }, 'config is required'],
    [{ event: 'PreToolUse', type: 'rule', config: {} }, 'config of a rule must hold condition'],
    [{ event: 'PreToolUse', type: 'rule', config: { condition: 'query = 1' } }, 'A condition has the form'],
    [{ event: 'PreToolUse', type: 'rule', config: { condition: 'query MATCHES (a' } }, 'a group is not closed'],
    [{ event: 'PreToolUse', type: 'rule', config: { condition: 'query MATCHES (?=a)' } }, 'Pattern:'],
    [{ event: 'PostToolUse', type: 'rule', config: { condition: 'output CONTAINS a' } }, 'nothing can be refused'],
    [{ event: 'OnRunComplete', type: 'rule', config: { condition: 'a CONTAINS a' } }, 'nothing can be refused'],
    [{ event: 'PreResponse', type: 'approval', config: {} }, 'its event must be PreToolUse'],
    [
      { event: 'PreResponse', type: 'http', matcher: 'x', config: { url: 'https://x.example' } },
      'matcher names a tool',
    ],
    [{ event: 'PreToolUse', type: 'approval', config: { timeout: 0 } }, 'config.timeout: Too small'],
    [{ event: 'PreToolUse', type: 'http', config: {} }, 'config.url is required'],
    [{ event: 'PreToolUse', type: 'http', config: { url: 'javascript:1' } }, 'config.url must be an address'],
    [{ event: 'PreToolUse', type: 'approval', config: {}, position: -1 }, 'position: Too small'],
  ])('refuse %j', async (json, message) => {
    const refusal = await admin.json(400, 'POST', path(), { json })
    expect(refusal['error']).toContain(message)
    expect(refusal['code']).toBe('invalid_request')
  })

  it('that send data out are an admin’s; the others their creator’s', async () => {
    const { id } = await member.json(201, 'POST', '/api/agents', { json: { name: 'Members own' } })
    const hooks = `/api/agents/${id}/hooks`
    const http = { event: 'PostToolUse', type: 'http', config: { url: 'https://hooks.example' } }
    await member.json(403, 'POST', hooks, { json: http })
    const made = await admin.json(201, 'POST', hooks, { json: http })
    await member.json(403, 'DELETE', `${hooks}/${made['id']}`)
    const approval = { event: 'PreToolUse', type: 'approval', config: {} }
    // As long as there is one that sends data out, all of them are an admin's.
    await member.json(403, 'POST', hooks, { json: approval })
    await admin.json(200, 'DELETE', `${hooks}/${made['id']}`)
    await viewer.json(403, 'POST', hooks, { json: approval })
    const own = await member.json(201, 'POST', hooks, { json: approval })
    await viewer.json(403, 'DELETE', `${hooks}/${own['id']}`)
    expect(await member.json(200, 'DELETE', `${hooks}/${own['id']}`)).toEqual({ deleted: true })
    expect(await member.json(404, 'DELETE', `${hooks}/${own['id']}`)).toMatchObject({ error: 'Hook not found' })
  })

  it('of another tenant look absent; a service key finds their tenant', async () => {
    const approval = { event: 'PreToolUse', type: 'approval', config: {} }
    const { id } = await service.json(201, 'POST', path(), { json: approval })
    const calls: [string, string, object?][] = [
      ['GET', ''],
      ['POST', '', approval],
      ['DELETE', `/${id}`],
    ]
    for (const [method, rest, json] of calls) {
      const sent = json ? { json } : {}
      const absent = withoutIds(await stranger.json(404, method, `/api/agents/${ABSENT}/hooks${rest}`, sent))
      expect(withoutIds(await stranger.json(404, method, `${path()}${rest}`, sent))).toEqual(absent)
      const contradicted = api.as(service, { 'x-tenant-id': MERIDIAN })
      expect(withoutIds(await contradicted.json(404, method, `${path()}${rest}`, sent))).toEqual(absent)
    }
    await service.json(200, 'DELETE', `${path()}/${id}`)
  })
})

describe('approvals', () => {
  /** A run of the member in which calls wait, oldest first. */
  async function waitingRun(callIds: string[]): Promise<Json> {
    const client = await stack.signIn('member@harbor.example')
    const { data } = await client.schema('ai').rpc('start_run', { agent_id: agent['id'], message: 'Go' })
    for (const [index, callId] of callIds.entries()) {
      await stack.db.query(
        `insert into ai.approvals (tenant_id, run_id, agent_id, user_id, call_id, tool_name, tool_input, input_hash, expires_at, created_at)
         values ($1, $2, $3, $4, $5, 'database_query', '{}', repeat('0', 64), now() + interval '1 hour', now() + $6 * interval '1 second')`,
        [data.tenant_id, data.id, agent['id'], MEMBER_ID, callId, index],
      )
    }
    return data
  }
  const statuses = async (run: Json) =>
    (
      await stack.db.query<Json>('select status, reason from ai.approvals where run_id = $1 order by created_at', [
        run['id'],
      ])
    ).map(({ status, reason }) => [status, reason])

  it('are decided by the person of the run, one after the other', async () => {
    const run = await waitingRun(['a', 'b'])
    const approve = `/api/agents/runs/${run['run_id']}/approve`
    expect(await member.json(200, 'POST', approve, { json: { approved: true } })).toEqual({
      status: 'resumed',
      approval_id: expect.any(String),
      approvals: 1,
      quorum: 1,
    })
    expect(await statuses(run)).toEqual([
      ['approved', null],
      ['pending', null],
    ])
    await member.json(200, 'POST', approve, { json: { approved: false, reason: 'No' } })
    expect(await statuses(run)).toEqual([
      ['approved', null],
      ['denied', 'No'],
    ])
    expect(await member.json(404, 'POST', approve, { json: { approved: true } })).toMatchObject({
      code: 'approval_not_found',
    })
  })

  it('are decided by admins and the backend, and by nobody else', async () => {
    const run = await waitingRun(['a', 'b'])
    const approve = `/api/agents/runs/${run['run_id']}/approve`
    const json = { approved: true }
    for (const other of [viewer, stranger]) {
      expect(withoutIds(await other.json(404, 'POST', approve, { json }))).toEqual(
        withoutIds(await other.json(404, 'POST', '/api/agents/runs/run_000000000000/approve', { json })),
      )
    }
    const asViewer = { 'x-act-as-user': 'a0000000-0000-4000-8000-000000000004' }
    await api.as(service, asViewer).json(404, 'POST', approve, { json })
    expect((await statuses(run)).map(([status]) => status)).toEqual(['pending', 'pending'])
    await admin.json(200, 'POST', approve, { json })
    await service.json(200, 'POST', approve, { json })
    expect((await statuses(run)).map(([status]) => status)).toEqual(['approved', 'approved'])
  })

  it.each([[{}], [{ approved: 'yes' }], [{ approved: null }], [{ approved: true, reason: 'x'.repeat(2001) }]])(
    'refuse %j',
    async (json) => {
      const run = await waitingRun(['a'])
      await member.json(400, 'POST', `/api/agents/runs/${run['run_id']}/approve`, { json })
      expect(await statuses(run)).toEqual([['pending', null]])
    },
  )
})

describe('sessions of an agent', () => {
  const sessions = () => `/api/agents/${agent['id']}/sessions`
  const seeded = (more: object = {}) => ({
    user_id: MEMBER_ID,
    initial_messages: [
      { role: 'user', content: 'Where is crane 7?' },
      { role: 'assistant', content: 'At berth 2.' },
    ],
    ...more,
  })

  it('are opened, listed and deleted by their owner', async () => {
    const { session_id } = await member.json(201, 'POST', sessions(), { json: {} })
    expect(session_id).toMatch(/^sess_[0-9a-f]{12}$/)
    const bare = await member.send('POST', sessions())
    expect(bare.status).toBe(201)
    const mine = await member.json(200, 'GET', sessions())
    expect(mine).toMatchObject({ total: mine['sessions'].length, limit: 50, offset: 0 })
    expect(mine['sessions'].find((entry: Json) => entry['session_id'] === session_id)).toEqual({
      session_id,
      run_count: 0,
      last_activity_at: expect.any(String),
      created_at: expect.any(String),
      first_message: null,
    })
    expect(await viewer.json(200, 'GET', sessions())).toMatchObject({ sessions: [], total: 0 })
    expect(await viewer.json(404, 'DELETE', `${sessions()}/${session_id}`)).toMatchObject({
      error: 'Session not found',
      code: 'session_not_found',
    })
    const other = await member.json(201, 'POST', '/api/agents', { json: { name: 'Other' } })
    await member.json(404, 'DELETE', `/api/agents/${other['id']}/sessions/${session_id}`)
    const response = await member.send('DELETE', `${sessions()}/${session_id}`)
    expect([response.status, await response.text()]).toEqual([204, ''])
    await member.json(404, 'DELETE', `${sessions()}/${session_id}`)
  })

  it('are begun with messages by the backend, for a person', async () => {
    const { session_id } = await service.json(201, 'POST', sessions(), { json: seeded() })
    const { messages } = await member.json(200, 'GET', `/api/sessions/${session_id}/messages`)
    expect(messages.map((message: Json) => [message['role'], message['content']])).toEqual([
      ['user', 'Where is crane 7?'],
      ['assistant', 'At berth 2.'],
    ])
    await stack.db.query(
      `update ai.agent_runs set reasoning_steps = '[{"step": 1, "content": "Berths first."}, {"step": 2}]' where run_id = $1`,
      [messages[0].run_id],
    )
    const again = await member.json(200, 'GET', `/api/sessions/${session_id}/messages`)
    expect(again['messages']).toEqual([messages[0], { ...messages[1], reasoning: 'Berths first.' }])
    const found = await member.json(200, 'GET', `${sessions()}?search=CRANE&min_runs=1&limit=5`)
    expect(found).toMatchObject({ total: 1, limit: 5 })
    expect(found['sessions'][0]).toMatchObject({ session_id, run_count: 1, first_message: 'Where is crane 7?' })
    expect(await member.json(200, 'GET', `${sessions()}?search=crane&max_runs=0`)).toMatchObject({ total: 0 })
    expect(await admin.json(200, 'GET', `${sessions()}?search=crane`)).toMatchObject({ total: 0 })
    expect(await member.json(200, 'GET', `${sessions()}?created_after=2099-01-01T00:00:00Z`)).toMatchObject({
      total: 0,
      sessions: [],
    })
    const until = (moment: string) => member.json(200, 'GET', `${sessions()}?created_before=${moment}&search=crane`)
    expect(await until('2099-01-01T00:00:00Z')).toMatchObject({ total: 1, sessions: [{ session_id }] })
    expect(await until('2001-01-01T00:00:00Z')).toMatchObject({ total: 0, sessions: [] })
  })

  it.each([
    [{ user_id: undefined }, 400],
    [{ initial_messages: [{ role: 'assistant', content: 'x' }] }, 400],
    [{ initial_messages: [{ role: 'user', content: 'x' }] }, 400],
    [{ initial_messages: [{ role: 'user', content: 7 }] }, 400],
    [{ initial_messages: Array(201).fill({ role: 'user', content: 'x' }) }, 400],
    [{ user_id: 'b0000000-0000-4000-8000-000000000003' }, 403],
    [{ user_id: 'x' }, 400],
  ])('refuse what is not in order (%#)', async (more, status) => {
    await service.json(status, 'POST', sessions(), { json: seeded(more) })
  })

  it('cannot be begun or named by people, nor seen from another tenant', async () => {
    await member.json(403, 'POST', sessions(), { json: seeded() })
    await admin.json(403, 'POST', sessions(), { json: { user_id: MEMBER_ID } })
    for (const method of ['GET', 'POST']) {
      const json = method === 'POST' ? { json: {} } : {}
      expect(withoutIds(await stranger.json(404, method, sessions(), json))).toEqual(
        withoutIds(await stranger.json(404, method, `/api/agents/${ABSENT}/sessions`, json)),
      )
    }
    for (const query of ['created_after=yesterday', 'min_runs=-1', 'max_runs=x']) {
      expect(await member.json(400, 'GET', `${sessions()}?${query}`)).toMatchObject({ code: 'invalid_request' })
    }
  })
})
