// The methods an app needs besides chat and search, over a running stack, with the tokens of people only.
import { randomUUID } from 'node:crypto'
import type { SupabaseClient } from '@supabase/supabase-js'
import { beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { BulkheadError, createBulkhead, watchAccount } from '../../client/index.ts'
import type { Bulkhead, Source } from '../../client/index.ts'
import { WAIT, useStack } from '../support/stack.ts'

const stack = useStack({ functions: 'on-demand', worker: true, denoBin: process.env['DENO_BIN'] })

const HARBOR = '11111111-1111-4111-8111-111111111111'
const MERIDIAN = '22222222-2222-4222-8222-222222222222'
const ADMIN = 'a0000000-0000-4000-8000-000000000002'
const MEMBER = 'a0000000-0000-4000-8000-000000000003'
const VIEWER = 'a0000000-0000-4000-8000-000000000004'
const GROUP = '33333333-3333-4333-8333-333333333333'

let clients: Record<'admin' | 'member' | 'viewer' | 'other' | 'both' | 'outsider', SupabaseClient>
let admin: Bulkhead
let member: Bulkhead
let viewer: Bulkhead
let other: Bulkhead
let both: Bulkhead
let outsider: Bulkhead
beforeAll(async () => {
  const [a, m, v, o, b, u] = await Promise.all(
    ['admin@harbor', 'member@harbor', 'viewer@harbor', 'member@meridian', 'both@bulkhead', 'outsider@bulkhead'].map(
      (name) => stack.signIn(`${name}.example`),
    ),
  )
  clients = { admin: a!, member: m!, viewer: v!, other: o!, both: b!, outsider: u! }
  admin = createBulkhead(a!)
  member = createBulkhead(m!)
  viewer = createBulkhead(v!)
  other = createBulkhead(o!)
  both = createBulkhead(b!)
  outsider = createBulkhead(u!)
})

const refusal = async (promise: Promise<unknown>): Promise<[string, number]> => {
  const error = await promise.then(
    () => null,
    (thrown: unknown) => thrown,
  )
  if (!(error instanceof BulkheadError)) throw new Error(`not refused as BulkheadError: ${String(error)}`)
  return [error.code, error.status]
}

async function upload(visibility: Source['visibility'] = 'tenant'): Promise<Source> {
  const text = `# Berths\n\nBerth ${randomUUID()} costs 40 euros per hour.`
  const source = await member.uploadSource(new Blob([text]), { name: 'tariff.md', visibility })
  return await member.waitUntilIndexed(source.id)
}

describe('documents', () => {
  it('are changed and granted by their owner, at once and to nobody else', async () => {
    const { id } = await upload('private')
    expect(await refusal(viewer.sourceAccess(id))).toEqual(['not_found', 404])
    expect(await member.sourceAccess(id)).toEqual([
      { user_id: MEMBER, email: 'member@harbor.example', role: 'member', reasons: [{ reason: 'owner' }] },
    ])

    expect(await refusal(other.updateSource(id, { visibility: 'tenant' }))).toEqual(['not_found', 404])
    expect(await member.updateSource(id, { name: 'berths.md', visibility: 'granted' })).toMatchObject({
      id,
      name: 'berths.md',
      visibility: 'granted',
    })
    const grant = await member.grantSource(id, { userId: ADMIN })
    await member.grantSource(id, { groupId: GROUP })
    expect(await refusal(member.grantSource(id, { groupId: GROUP }))).toEqual(['conflict', 409])
    expect(await refusal(member.grantSource(id, { userId: clientIdOf('other') }))).toEqual(['not_found', 409])
    expect(await refusal(viewer.grantSource(id, { userId: VIEWER }))).toEqual(['forbidden', 403])
    expect(await viewer.sourceGrants(id)).toMatchObject([{ user_id: ADMIN }, { group_id: GROUP }])
    expect(await viewer.sourceAccess(id)).toMatchObject([
      { user_id: ADMIN, reasons: [{ reason: 'granted' }] },
      { user_id: MEMBER, reasons: [{ reason: 'owner' }] },
      { user_id: VIEWER, reasons: [{ reason: 'group', group_id: GROUP, group_name: 'Claims desk' }] },
    ])
    expect(await refusal(viewer.updateSource(id, { name: 'mine.md' }))).toEqual(['forbidden', 403])
    expect(await refusal(viewer.removeGrant(grant.id))).toEqual(['not_found', 404])
    await member.removeGrant(grant.id)
    expect(await refusal(admin.sourceAccess(id))).toEqual(['not_found', 404])
    expect(await member.personAccess({ userId: VIEWER })).toContainEqual(
      expect.objectContaining({
        source_id: id,
        reasons: [{ reason: 'group', group_id: GROUP, group_name: 'Claims desk' }],
      }),
    )
    expect((await admin.personAccess({ userId: VIEWER })).map(({ source_id }) => source_id)).not.toContain(id)
    expect(await refusal(other.personAccess({ userId: VIEWER }))).toEqual(['not_found', 404])
  })

  it('are extracted and indexed anew, and what is not going on cannot be called off', async () => {
    const { id, indexing } = await upload()
    expect(await refusal(member.retrySource(id))).toEqual(['not_retryable', 409])
    expect(await refusal(member.cancelExtraction(id))).toEqual(['conflict', 409])
    expect(await refusal(other.reextractSource(id))).toEqual(['not_found', 404])
    expect(await member.reextractSource(id)).toMatchObject({ id, extraction_status: 'pending' })
    const again = await member.waitUntilIndexed(id)
    const place = indexing?.[0]?.knowledge_base_id as string
    expect(await member.indexSource(id, place)).toMatchObject({ source_id: id, knowledge_base_id: place })
    await member.waitUntilIndexed(id)
    expect(await refusal(member.cancelIndexing(again.indexing?.[0]?.id as string))).toEqual(['conflict', 409])
  })

  it('are listed with where they are indexed in one request, and page by page', async () => {
    const { id } = await upload()
    const { data, error } = await clients.member
      .schema('ai')
      .from('sources')
      .select(
        'id,name,visibility,extraction_status,reason_code,error_message,page_count,indexed_sources(id,index_status,stats,knowledge_bases(name))',
      )
      .eq('id', id)
    expect(error).toBeNull()
    expect(data).toMatchObject([
      {
        id,
        extraction_status: 'extracted',
        page_count: 1,
        indexed_sources: [
          { index_status: 'indexed', stats: { chunk_count: 1 }, knowledge_bases: { name: 'Documents' } },
        ],
      },
    ])
    const [first] = await member.personAccess({ limit: 1 })
    expect(first?.source_id).toBe(id)
    const [second] = await member.personAccess({ limit: 1, ...(first ? { after: first } : {}) })
    expect(second?.source_id).not.toBe(id)
  })

  it('say before what goes with them', async () => {
    const { id } = await upload()
    expect(await member.sourceDeletion(id)).toMatchObject({
      name: 'tariff.md',
      can_delete: true,
      pages: 1,
      chunks: 1,
      knowledge_bases: [{ name: 'Documents' }],
      grants: 0,
      citations: 0,
    })
    expect(await viewer.sourceDeletion(id)).toMatchObject({ can_delete: false })
    expect(await refusal(other.sourceDeletion(id))).toEqual(['not_found', 404])
    await member.deleteSource(id)
    expect(await refusal(member.sourceDeletion(id))).toEqual(['not_found', 404])
  })
})

describe('people', () => {
  it('know their colleagues; who is in several tenants names one', async () => {
    expect((await viewer.people()).map(({ email, role }) => `${email} ${role}`)).toContain('admin@harbor.example admin')
    expect(await viewer.people(MERIDIAN)).toEqual([])
    expect(await refusal(both.people())).toEqual(['tenant_required', 400])
    expect((await both.people(MERIDIAN)).map(({ email }) => email)).toContain('member@meridian.example')
    expect(await createBulkhead(clients.both, { tenantId: HARBOR }).people(MERIDIAN)).toEqual([])
    expect(await refusal(outsider.people())).toEqual(['forbidden', 403])
  })

  it('are invited, told so, accept, get another role and are removed, which their devices hear of', async () => {
    const invitation = await admin.invite({ email: 'Outsider@Bulkhead.example', role: 'viewer' })
    onTestFinished(async () => {
      await stack.db.query(`delete from public.memberships where user_id = $1`, [clientIdOf('outsider')])
    })
    expect(await refusal(admin.invite({ email: 'outsider@bulkhead.example' }))).toEqual(['conflict', 409])
    expect(await refusal(member.invite({ email: 'x@x.example' }))).toEqual(['forbidden', 403])
    expect(await refusal(admin.invite({ email: 'y@x.example', role: 'owner' }))).toEqual(['forbidden', 403])
    expect(await member.invitations()).toEqual([])
    expect((await admin.invitations()).map(({ id }) => id)).toEqual([invitation.id])
    expect(await refusal(member.withdrawInvitation(invitation.id))).toEqual(['not_found', 404])
    expect(await member.myInvitations()).toEqual([])
    expect(await outsider.myInvitations()).toMatchObject([
      {
        id: invitation.id,
        tenant_name: 'Harbor Logistics',
        role: 'viewer',
        invited_by_email: 'admin@harbor.example',
      },
    ])
    expect(await refusal(member.acceptInvitation(invitation.id))).toEqual(['not_found', 404])
    expect(await outsider.acceptInvitation(invitation.id)).toMatchObject({ tenant_id: HARBOR, role: 'viewer' })
    expect(await outsider.myInvitations()).toEqual([])

    const changes: unknown[] = []
    let ups = 0
    onTestFinished(
      watchAccount(clients.outsider, clientIdOf('outsider'), {
        membershipChanged: (change) => changes.push(change),
        up: () => ups++,
      }),
    )
    await expect.poll(() => ups, WAIT).toBeGreaterThan(0)
    expect(await refusal(viewer.changeRole(clientIdOf('outsider'), 'owner'))).toEqual(['forbidden', 403])
    await admin.changeRole(clientIdOf('outsider'), 'member')
    await expect.poll(() => changes, WAIT).toMatchObject([{ tenant_id: HARBOR, change: 'role', role: 'member' }])
    expect(await refusal(viewer.removeMember(clientIdOf('outsider')))).toEqual(['forbidden', 403])
    await admin.removeMember(clientIdOf('outsider'))
    expect(await refusal(outsider.people())).toEqual(['forbidden', 403])
    expect((await admin.people()).map(({ email }) => email)).not.toContain('outsider@bulkhead.example')
  })

  it('leave, but never the last owner', async () => {
    const owner = createBulkhead(await stack.signIn('owner@harbor.example'))
    expect(await refusal(owner.changeRole('a0000000-0000-4000-8000-000000000001', 'admin'))).toEqual([
      'last_owner',
      409,
    ])
  })
})

describe('approvals', () => {
  let agentId = ''
  beforeEach(async () => {
    agentId = (await member.createAgent({ name: 'Clerk' })).id
  })
  async function waiting(): Promise<{ approvalId: string; runId: string; hash: string }> {
    const { data: run } = await clients.member.schema('ai').rpc('start_run', { agent_id: agentId, message: 'Send.' })
    const { data: asked } = await stack.service.schema('ai').rpc('request_approval', {
      run_id: run.id,
      lease_token: run.lease_token,
      call_id: 'c1',
      tool_name: 'mail',
      tool_input: { to: 'x' },
      message: 'Send it?',
      rule: { role: 'admin', four_eyes: true },
    })
    return { approvalId: asked.approval_id, runId: run.run_id, hash: asked.input_hash }
  }

  it('reach who decides, are decided once, and leave their history', async () => {
    const heard: unknown[] = []
    let ups = 0
    onTestFinished(
      watchAccount(clients.admin, ADMIN, { approvalChanged: (change) => heard.push(change), up: () => ups++ }),
    )
    await expect.poll(() => ups, WAIT).toBeGreaterThan(0)
    const { approvalId, runId, hash } = await waiting()
    await expect
      .poll(() => heard, WAIT)
      .toMatchObject([{ approval_id: approvalId, tenant_id: HARBOR, run_id: runId, status: 'pending' }])
    expect((await admin.approvalsToDecide()).find(({ id }) => id === approvalId)).toMatchObject({
      tool_name: 'mail',
      tool_input: { to: 'x' },
      input_hash: hash,
      four_eyes: true,
    })
    expect(await member.approvalsToDecide()).toEqual([])
    expect(await refusal(member.decideApproval(approvalId, { approved: true }))).toEqual(['approval_not_found', 404])
    expect(await refusal(admin.decideApproval(approvalId, { approved: true, inputHash: '0'.repeat(64) }))).toEqual([
      'conflict',
      409,
    ])
    expect(await admin.decideApproval(approvalId, { approved: false, reason: 'Not today.', inputHash: hash })).toEqual({
      status: 'resumed',
      approval_id: approvalId,
      approvals: 0,
      quorum: 1,
    })
    expect(await member.listApprovals({ status: 'denied' })).toMatchObject([
      { id: approvalId, decided_by: ADMIN, reason: 'Not today.' },
    ])
    expect(await member.approvalVotes(approvalId)).toMatchObject([{ user_id: ADMIN, approved: false }])
    expect(await other.listApprovals()).toEqual([])
    expect(await other.approvalVotes(approvalId)).toEqual([])
    await expect.poll(() => heard, WAIT).toMatchObject([{ status: 'pending' }, { status: 'denied' }])
  })

  it('about a call that was not interrupted there is nothing to decide', async () => {
    const { runId } = await waiting()
    expect(await refusal(member.decideInterruptedCall(runId, 'c1', 'skip'))).toEqual(['not_found', 404])
  })
})

describe('agents and runs', () => {
  it('are made, equipped, talked to and deleted', async () => {
    const agent = await member.createAgent({ name: 'Clerk', system_prompt: 'Be brief.', settings: { oddity: 1 } })
    expect(agent.warnings).toEqual(['The setting "oddity" is stored but has no effect.'])
    expect(await refusal(viewer.createAgent({ name: 'Mine' }))).toEqual(['forbidden', 403])
    expect(await refusal(other.getAgent(agent.id))).toEqual(['agent_not_found', 404])
    expect(await refusal(viewer.updateAgent(agent.id, { name: 'Mine' }))).toEqual(['forbidden', 403])
    expect(await member.updateAgent(agent.id, { name: 'Scribe' })).toMatchObject({ name: 'Scribe', published: true })
    const { agents, total } = await viewer.listAgents({ q: 'Scribe', limit: 10 })
    expect([agents.map(({ id }) => id), total]).toEqual([[agent.id], 1])

    expect((await member.listTools()).map(({ name }) => name)).toContain('database_query')
    const configOverride = { schemas: { public: ['memories'] } }
    const tool = await member.addAgentTool(agent.id, { name: 'database_query', configOverride })
    expect(await refusal(member.addAgentTool(agent.id, { name: 'http_request' }))).toEqual(['forbidden', 403])
    expect(await refusal(member.updateAgentTool(agent.id, tool.id, { permissions: { default: 'ask' } }))).toEqual([
      'forbidden',
      403,
    ])
    await member.updateAgentTool(agent.id, tool.id, { configOverride: { schemas: { public: ['documents'] } } })
    expect(await viewer.agentTools(agent.id)).toMatchObject([
      { id: tool.id, tool_name: 'database_query', config_override: { schemas: { public: ['documents'] } } },
    ])
    await member.removeAgentTool(agent.id, tool.id)
    expect(await member.agentTools(agent.id)).toEqual([])

    const base = (await member.getSource((await upload()).id)).indexing?.[0]?.knowledge_base_id as string
    const link = await member.linkKnowledgeBase(agent.id, base)
    expect(await refusal(member.linkKnowledgeBase(agent.id, base))).toEqual(['conflict', 409])
    expect(await member.agentKnowledgeBases(agent.id)).toMatchObject([{ id: link.id, knowledge_base_id: base }])
    await member.unlinkKnowledgeBase(agent.id, link.id)

    let run = { id: '', session: '' }
    for await (const event of member.chat({ message: 'What does a berth cost?', agentId: agent.id })) {
      if (event.event === 'complete') run = { id: event.run_id, session: event.session_id }
    }
    expect(await member.getRun(run.id)).toMatchObject({ run_id: run.id, status: 'completed', agent_id: agent.id })
    expect(await member.listRuns({ agentId: agent.id })).toMatchObject([{ run_id: run.id, status: 'completed' }])
    expect(await admin.listRuns({ agentId: agent.id })).toEqual([])
    expect(await refusal(admin.getRun(run.id))).toEqual(['not_found', 404])
    const log = await member.runEvents(run.id)
    expect([log[0]?.seq, log.at(-1)?.type]).toEqual([1, 'complete'])
    expect((await member.runEvents(run.id, { after: 1, limit: 1 })).map(({ seq }) => seq)).toEqual([2])
    expect(await refusal(admin.runEvents(run.id))).toEqual(['not_found', 404])

    const { sessions } = await member.listSessions(agent.id)
    expect(sessions).toMatchObject([{ run_count: 1, first_message: 'What does a berth cost?' }])
    const sessionId = sessions[0]?.session_id as string
    expect((await member.sessionMessages(sessionId)).map(({ role }) => role)).toEqual(['user', 'assistant'])
    expect(await refusal(admin.sessionMessages(sessionId))).toEqual(['session_not_found', 404])
    await member.deleteSession(sessionId)
    expect(await refusal(member.sessionMessages(sessionId))).toEqual(['session_not_found', 404])

    expect(await refusal(viewer.deleteAgent(agent.id))).toEqual(['forbidden', 403])
    await member.deleteAgent(agent.id)
    expect(await refusal(member.getAgent(agent.id))).toEqual(['agent_not_found', 404])
  })
})

describe('usage', () => {
  it('and budgets are the tenant’s for admins and one’s own for others', async () => {
    await upload()
    const people = async (bulkhead: Bulkhead) => [
      ...new Set((await bulkhead.usageByDay()).map(({ user_id }) => user_id)),
    ]
    expect(await people(admin)).toContain(MEMBER)
    expect(await people(viewer)).toEqual([])
    expect(await refusal(member.setBudget({ scope: 'tenant', period: 'day', maxTokens: 9 }))).toEqual([
      'forbidden',
      403,
    ])
    const { id } = await admin.setBudget({ scope: 'user', period: 'month', maxTokens: 1_000_000, subjectId: VIEWER })
    expect(await viewer.budgetState()).toMatchObject([
      { budget_id: id, user_id: VIEWER, max_tokens: 1_000_000, used_tokens: 0, remaining_tokens: 1_000_000 },
    ])
    expect(await member.budgetState()).toEqual([])
    expect(await refusal(viewer.deleteBudget(id))).toEqual(['not_found', 404])
    await admin.deleteBudget(id)
    expect(await viewer.budgetState()).toEqual([])
  })
})

const IDS = { outsider: 'c0000000-0000-4000-8000-000000000002', other: 'b0000000-0000-4000-8000-000000000003' }
const clientIdOf = (who: keyof typeof IDS): string => IDS[who]
