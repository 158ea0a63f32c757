import { describe, expect, it, vi } from 'vitest'
import type { Tool } from '../../supabase/functions/_shared/tools/types.ts'
import { gatesOf } from '../../supabase/functions/_shared/execution/gates.ts'
import type { ApprovalRequest } from '../../supabase/functions/_shared/hooks/approval.ts'
import type { Hooks } from '../../supabase/functions/_shared/hooks/engine.ts'
import {
  approvalRule,
  permissionsOf,
  serverPermissions,
  toolPermissions,
} from '../../supabase/functions/_shared/hooks/permissions.ts'
import type { Permission } from '../../supabase/functions/_shared/hooks/permissions.ts'
import type { RunConfiguration } from '../../supabase/functions/_shared/ledger.ts'
import { toolName } from '../../supabase/functions/_shared/mcp/tool-names.ts'

// What stands between a run and a tool: permissions, hooks and the approval of a person. Who may approve is the database's to
// say (tests/database/approvals).

const pin = (name: string) => ({ name, description: 'x', input_schema: {}, read_only: false, hash: 'a'.repeat(64) })
const configuration = (
  role: string | null,
  tools: Record<string, unknown>,
  server: Record<string, unknown> = {},
): RunConfiguration =>
  ({
    principal_role: role,
    tools: Object.entries(tools).map(([tool_name, permissions]) => ({ tool_name, permissions })),
    mcp_servers: [{ name: 'mail', permissions: server, pinned_tools: [pin('send'), pin('read')] }],
    hooks: [],
    knowledge_bases: [],
  }) as unknown as RunConfiguration

describe('the permission of a tool', () => {
  const lookup = { name: 'lookup', kind: 'custom' as const }
  const of = async (role: string | null, permissions: unknown) =>
    (await permissionsOf(configuration(role, { lookup: permissions })))(lookup).permission

  it.each([
    ['member', {}, 'allow'],
    ['member', { default: 'ask' }, 'ask'],
    ['viewer', { default: 'ask', roles: { viewer: 'deny' } }, 'deny'],
    ['owner', { default: 'deny', roles: { owner: 'allow' } }, 'allow'],
    // Named roles are those and no others: an owner is not covered by what is said about admins.
    ['owner', { default: 'deny', roles: { admin: 'allow' } }, 'deny'],
    ['backend', { roles: { backend: 'deny' } }, 'deny'],
    [null, {}, 'deny'],
    ['somebody', {}, 'deny'],
    ['member', { default: 'sometimes' }, 'deny'],
    ['member', null, 'deny'],
  ] as [string | null, unknown, Permission][])('of %s under %o is %s', async (role, permissions, expected) => {
    expect(await of(role, permissions)).toBe(expected)
  })

  it('comes with the rule of its approval', async () => {
    const approval = { role: 'admin', four_eyes: true, quorum: 2 }
    const permissions = await permissionsOf(configuration('member', { lookup: { default: 'ask', approval } }))
    expect(permissions(lookup)).toEqual({ permission: 'ask', rule: approval })
  })

  it('is that of its server, unless it has one of its own there', async () => {
    const said = { default: 'ask', tools: { read: { default: 'allow' } } }
    const permissions = await permissionsOf(configuration('member', {}, said))
    const kind = 'mcp' as const
    expect(permissions({ kind, name: await toolName('mail', 'send') }).permission).toBe('ask')
    expect(permissions({ kind, name: await toolName('mail', 'read') }).permission).toBe('allow')
    // No admin has accepted it.
    expect(permissions({ kind, name: await toolName('mail', 'delete') }).permission).toBe('deny')
  })

  it('of what needs no assignment is given to whoever is in the tenant', async () => {
    const search = { name: 'knowledge_search', kind: 'builtin' as const }
    expect((await permissionsOf(configuration('viewer', {})))(search).permission).toBe('allow')
    expect((await permissionsOf(configuration(null, {})))(search).permission).toBe('deny')
    expect(
      (await permissionsOf(configuration('viewer', { knowledge_search: { default: 'deny' } })))(search).permission,
    ).toBe('deny')
  })
})

describe('what can be said about a tool', () => {
  it.each([
    [toolPermissions, { default: 'sometimes' }],
    [toolPermissions, { roles: { nobody: 'ask' } }],
    [toolPermissions, { tools: {} }],
    [toolPermissions, { other: true }],
    [serverPermissions, { tools: { send: { tools: {} } } }],
    [approvalRule, { role: 'backend' }],
    [approvalRule, { group_id: 'desk' }],
    [approvalRule, { quorum: 0 }],
    [approvalRule, { expires_in_seconds: 3_456_001 }],
    [approvalRule, { approved: true }],
  ])('%# is not %o', (schema, value) => {
    expect(schema.safeParse(value).success).toBe(false)
  })

  it('is what the documentation says', () => {
    const approval = {
      role: 'admin',
      group_id: null,
      four_eyes: true,
      quorum: 1,
      expires_in_seconds: 604_800,
      message: 'Send?',
    }
    const said = { default: 'ask', roles: { viewer: 'deny', backend: 'allow' }, approval }
    expect(toolPermissions.parse(said)).toEqual(said)
    expect(serverPermissions.parse({ ...said, tools: { send: said } })).toEqual({ ...said, tools: { send: said } })
  })
})

describe('the gate of a tool', () => {
  const tool = { name: 'mail', kind: 'custom' } as Tool
  const NOTHING = { blocked: null, blockedBy: null, approved: false, modifiedInput: null, modifiedOutput: null }

  function gate(
    permission: Permission,
    parts: { verdict?: Partial<typeof NOTHING>; denial?: string | null; input?: object } = {},
  ) {
    const rule = { four_eyes: true, message: 'Send it?' }
    const run = vi.fn(() =>
      Promise.resolve({ ...NOTHING, ...parts.verdict, ...(parts.input ? { modifiedInput: parts.input } : {}) }),
    )
    const ask = vi.fn((_: ApprovalRequest) => Promise.resolve(parts.denial ?? null))
    const hooks = { has: () => false, run, ask, permissionOf: () => ({ permission, rule }) } as unknown as Hooks
    const before = gatesOf(hooks).beforeTool
    return { run, ask, rule, decide: () => before!(tool, { to: 'x' }, 'c1') }
  }

  it('denies without asking anybody', async () => {
    const { decide, run, ask } = gate('deny')
    expect(await decide()).toEqual({ allowed: false, message: expect.stringMatching(/^Refused: mail /) })
    expect(run).not.toHaveBeenCalled()
    expect(ask).not.toHaveBeenCalled()
  })

  it('says what is denied of a call that is to be made again', () => {
    const denies = (permission: Permission) =>
      gatesOf({ permissionOf: () => ({ permission, rule: {} }) } as unknown as Hooks).denies!(tool)
    expect(denies('deny')).toMatch(/^Refused: mail /)
    for (const permission of ['allow', 'ask'] as const) expect(denies(permission)).toBeNull()
  })

  it('allows without asking a person', async () => {
    const { decide, ask } = gate('allow')
    expect(await decide()).toEqual({ allowed: true, args: { to: 'x' }, isApproved: false })
    expect(ask).not.toHaveBeenCalled()
  })

  it('asks under the rule, about the arguments that the hooks have left', async () => {
    const { decide, ask, rule } = gate('ask', { input: { to: 'y' } })
    expect(await decide()).toEqual({ allowed: true, args: { to: 'y' }, isApproved: true })
    expect(ask).toHaveBeenCalledExactlyOnceWith({
      callId: 'c1',
      toolName: 'mail',
      toolInput: { to: 'y' },
      message: 'Send it?',
      rule,
    })
  })

  it('shows settled arguments to hooks and people, and leaves them to the tool', async () => {
    const settled = { from: 'us' }
    const { run, ask } = gate('ask')
    const of = (given: object | null) => {
      run.mockResolvedValue({ ...NOTHING, modifiedInput: given } as never)
      const hooks = { has: () => true, run, ask, permissionOf: () => ({ permission: 'ask', rule: {} }) }
      return gatesOf(hooks as unknown as Hooks)
    }
    expect(await of(null).beforeTool!({ ...tool, settled }, { to: 'x' }, 'c1')).toMatchObject({ args: { to: 'x' } })
    const shown = { event: 'PreToolUse', tool_name: 'mail', data: { to: 'x', from: 'us' } }
    expect(run).toHaveBeenLastCalledWith(shown, expect.objectContaining({ settled }))
    expect(ask).toHaveBeenLastCalledWith(expect.objectContaining({ toolInput: { to: 'x', from: 'us' } }))
    const changed = of({ to: 'y', from: 'us' }).beforeTool!({ ...tool, settled }, { to: 'x' }, 'c1')
    expect(await changed).toMatchObject({ args: { to: 'y' } })
    expect(ask).toHaveBeenLastCalledWith(expect.objectContaining({ toolInput: { to: 'y', from: 'us' } }))
    await of(null).afterTool!({ ...tool, settled }, { to: 'x' }, 'Sent.')
    expect(run).toHaveBeenLastCalledWith(expect.objectContaining({ data: { to: 'x', from: 'us' }, output: 'Sent.' }))
  })

  it('refuses what was not approved, and says why', async () => {
    const { decide } = gate('ask', { denial: 'Denied by user: no' })
    expect(await decide()).toEqual({ allowed: false, message: 'Not approved: Denied by user: no' })
  })

  it('hands its rule to a hook that asks, and does not ask twice', async () => {
    const { decide, run, ask, rule } = gate('ask', { verdict: { approved: true } })
    expect(await decide()).toMatchObject({ allowed: true, isApproved: true })
    expect(run).toHaveBeenCalledExactlyOnceWith(expect.anything(), { id: 'c1', rule })
    expect(ask).not.toHaveBeenCalled()
  })

  it('lets no hook pass what admins want asked: one that approves nothing is not enough', async () => {
    const { decide, ask } = gate('ask', { verdict: { approved: false }, denial: 'Approval timed out' })
    expect(await decide()).toMatchObject({ allowed: false })
    expect(ask).toHaveBeenCalledOnce()
  })
})
