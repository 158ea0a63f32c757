// The ledger's calls for runs with tools, over HTTP against the real database: what the executor asks, and what people see of it.
import type { SupabaseClient } from '@supabase/supabase-js'
import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createLedger, type Ledger } from '../../supabase/functions/_shared/ledger.ts'
import { useStack } from '../support/stack.ts'

const stack = useStack()
const MEMBER = 'a0000000-0000-4000-8000-000000000003'
const HARBOR = '11111111-1111-4111-8111-111111111111'

let ledger: Ledger
let admin: SupabaseClient
let member: SupabaseClient
let agentId: string
let run: { id: string; run_id: string; lease_token: string }

async function one<T>(request: PromiseLike<{ data: T; error: unknown }>): Promise<NonNullable<T>> {
  const { data, error } = await request
  expect(error).toBeNull()
  if (data === null || data === undefined) throw new Error('There is no row.')
  return data
}
const lost = crypto.randomUUID()

beforeAll(async () => {
  ledger = createLedger({ url: stack.url, secretKey: stack.keys.secret })
  admin = await stack.signIn('admin@harbor.example')
  member = await stack.signIn('member@harbor.example')
  const agent = await one(member.schema('ai').from('agents').insert({ name: 'Clerk' }).select('id').single())
  agentId = agent.id as string
})

beforeEach(async () => {
  run = await one(member.schema('ai').rpc('start_run', { agent_id: agentId, message: 'hello' }))
})

describe('what an agent was given', () => {
  it('comes with the ciphertext that no admin can read', async () => {
    const ai = admin.schema('ai')
    const definition = { name: 'lookup', description: 'Looks up.', input_schema: { type: 'object' } }
    const config = { endpoint: 'https://tools.example/lookup' }
    const tool = await one(
      ai
        .from('tools')
        .insert({ ...definition, config })
        .select('id')
        .single(),
    )
    const sealed = { secret_headers: 'v1.sealed', header_names: ['Authorization'] }
    expect((await ai.from('tools').update(sealed).eq('id', tool.id)).error).toBeNull()
    expect((await ai.from('tools').select('*')).error?.code).toBe('42501')
    expect(await one(ai.from('tools').select('header_names').eq('id', tool.id).single())).toEqual({
      header_names: ['Authorization'],
    })
    const assignment = { agent_id: agentId, tool_type: 'custom', tool_name: 'lookup', tool_id: tool.id as string }
    expect((await member.schema('ai').from('agent_tools').insert(assignment)).error?.code).toBe('42501')
    await one(
      member
        .schema('ai')
        .from('hooks')
        .insert({ agent_id: agentId, event: 'PreToolUse', type: 'approval', config: {} })
        .select(),
    )
    const { id } = await one(ai.from('agent_tools').insert(assignment).select('id').single())
    const configuration = await ledger.runConfiguration(run.id, run.lease_token)
    expect(configuration).toEqual({
      principal_role: 'member',
      tools: [
        {
          assignment_id: id,
          tool_type: 'custom',
          tool_name: 'lookup',
          tool_id: tool.id,
          config_override: {},
          ...definition,
          config,
          secret_headers: 'v1.sealed',
          permissions: {},
        },
      ],
      mcp_servers: [],
      hooks: [
        expect.objectContaining({ event: 'PreToolUse', matcher: null, type: 'approval', config: {}, position: 0 }),
      ],
      knowledge_bases: [],
    })
    expect(await ledger.runConfiguration(run.id, lost)).toBeNull()
  })
})

describe('who a run acts for', () => {
  it('is the person, while they are in the tenant and the lease is held', async () => {
    const expected = { sub: MEMBER, tenant_id: HARBOR, agent_id: agentId, run_id: run.run_id }
    expect(await ledger.delegateRun(run.id, run.lease_token)).toEqual(expected)
    expect(await ledger.delegateRun(run.id, lost)).toBeNull()
    const where = `where tenant_id = '${HARBOR}' and user_id = '${MEMBER}'`
    await stack.db.query(`delete from public.memberships ${where}`)
    try {
      await expect(ledger.delegateRun(run.id, run.lease_token)).rejects.toMatchObject({
        code: 'forbidden',
        status: 403,
      })
    } finally {
      await stack.db.query(
        `insert into public.memberships (tenant_id, user_id, role) values ('${HARBOR}', '${MEMBER}', 'member')`,
      )
    }
    expect(await ledger.delegateRun(run.id, run.lease_token)).toEqual(expected)
  })
})

describe('the trace', () => {
  it('is stored as the person reads it', async () => {
    const trace = {
      runId: run.id,
      leaseToken: run.lease_token,
      steps: [{ step: 1 }],
      events: [{ event: 'tool_call' }],
      reasoningSteps: [{ step: 1, content: 'hm' }],
      toolCalls: [
        {
          step: 1,
          call_id: 'c1',
          tool_name: 'lookup',
          arguments: { q: 'x' },
          result: 'no',
          is_error: true,
          duration_ms: 3.4,
        },
      ],
    }
    expect(await ledger.recordRunTrace({ ...trace, leaseToken: lost })).toBe(false)
    expect(await ledger.recordRunTrace(trace)).toBe(true)
    const ai = member.schema('ai')
    const columns =
      'steps, events, reasoning_steps, tool_call_count, tool_call_error_count, tool_call_duration_ms_total'
    expect(await one(ai.from('agent_runs').select(columns).eq('id', run.id).single())).toEqual({
      steps: trace.steps,
      events: trace.events,
      reasoning_steps: trace.reasoningSteps,
      tool_call_count: 1,
      tool_call_error_count: 1,
      tool_call_duration_ms_total: 3,
    })
    expect(await one(ai.from('tool_call_events').select('*').eq('agent_run_id', run.id))).toMatchObject([
      { tool_name: 'lookup', status: 'error', arguments: { q: 'x' }, result: 'no', error: 'no', user_id: MEMBER },
    ])
    expect(await one(admin.schema('ai').from('tool_call_events').select('id').eq('agent_run_id', run.id))).toEqual([])
  })
})

describe('characters that cannot be stored', () => {
  it('do not keep a run from being recorded', async () => {
    const call = { step: 1, call_id: 'c1', tool_name: 'lookup', is_error: false, duration_ms: 1 }
    const hostile = 'a\0b \ud83d c \u{1f600} \\u0000 \\ud83d "'
    const harmless = 'a\ufffdb \ufffd c \u{1f600} \\u0000 \\ud83d "'
    const stored = await ledger.recordRunTrace({
      runId: run.id,
      leaseToken: run.lease_token,
      steps: [{ note: hostile }],
      events: [{ event: hostile }],
      reasoningSteps: [],
      toolCalls: [{ ...call, arguments: { [hostile]: [hostile] }, result: hostile }],
    })
    expect(stored).toBe(true)
    const rows = await one(
      member.schema('ai').from('tool_call_events').select('arguments,result').eq('agent_run_id', run.id),
    )
    expect(rows).toEqual([{ arguments: { [harmless]: [harmless] }, result: harmless }])
    const asked = await ledger.requestApproval({
      runId: run.id,
      leaseToken: run.lease_token,
      callId: 'c1',
      toolName: 'lookup',
      toolInput: { q: hostile },
      message: hostile,
      rule: { expires_in_seconds: 60 },
    })
    const approval = member
      .schema('ai')
      .from('approvals')
      .select('tool_input,message')
      .eq('id', asked?.approval_id ?? '')
    expect(await one(approval.single())).toEqual({ tool_input: { q: harmless }, message: harmless })
  })
})

describe('an approval', () => {
  const ask = (callId: string, leaseToken = run.lease_token) =>
    ledger.requestApproval({
      runId: run.id,
      leaseToken,
      callId,
      toolName: 'lookup',
      toolInput: { q: 'x' },
      message: 'Really?',
      rule: { expires_in_seconds: 29 },
    })
  const decide = (by: SupabaseClient, approved: boolean, reason?: string) =>
    by
      .schema('ai')
      .rpc('decide_approval', { run_id: run.run_id, approved, ...(reason === undefined ? {} : { reason }) })

  it('is decided by the person of the run, once, and heard by the run', async () => {
    const asked = await ask('c1')
    expect(await ledger.approvalOutcome(asked?.approval_id ?? '', run.lease_token)).toEqual({
      status: 'pending',
      reason: null,
    })
    const outsider = await decide(await stack.signIn('viewer@harbor.example'), true)
    expect(outsider).toMatchObject({ status: 404, data: null })
    expect(JSON.parse(outsider.error?.details ?? '')).toEqual({ code: 'approval_not_found' })
    expect(await decide(member, false, 'No.')).toMatchObject({
      data: { status: 'resumed', approval_id: asked?.approval_id },
    })
    expect(await decide(member, true)).toMatchObject({ status: 404 })
    expect(await ledger.approvalOutcome(asked?.approval_id ?? '', run.lease_token)).toEqual({
      status: 'denied',
      reason: 'No.',
    })
    expect(await ledger.approvalOutcome(asked?.approval_id ?? '', lost)).toBeNull()
  })

  it('is asked for by who holds the lease', async () => {
    expect(await ask('c1', lost)).toBeNull()
    const asked = await ask('c1')
    expect(await ask('c1')).toEqual(asked)
    expect(await decide(admin, true)).toMatchObject({ error: null })
    expect(await ledger.approvalOutcome(asked?.approval_id ?? '', run.lease_token)).toMatchObject({
      status: 'approved',
    })
  })
})

describe('the token of a call', () => {
  it('is used once', async () => {
    const jti = crypto.randomUUID()
    const soon = new Date(Date.now() + 30_000)
    expect(await ledger.burnToolCallToken(jti, soon)).toBe(true)
    expect(await ledger.burnToolCallToken(jti, soon)).toBe(false)
    expect(await ledger.burnToolCallToken(crypto.randomUUID(), new Date(0))).toBe(false)
  })
})
