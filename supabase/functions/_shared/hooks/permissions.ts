import { z } from 'zod'
import type { RunConfiguration } from '../agent-ledger.ts'
import { uuid } from '../http.ts'
import { pinnedTools } from '../mcp/definitions.ts'
import { toolName } from '../mcp/tool-names.ts'

/** What becomes of a call: it is made, a person is asked first, or it is refused. */
export const PERMISSIONS = ['allow', 'ask', 'deny'] as const
export type Permission = (typeof PERMISSIONS)[number]

const ROLES = ['viewer', 'member', 'admin', 'owner'] as const
/** Whom a run acts for: the role of the person in the tenant, or the tenant's own backend. */
export const PRINCIPAL_ROLES = [...ROLES, 'backend'] as const
export type PrincipalRole = (typeof PRINCIPAL_ROLES)[number]

/** Seconds an approval waits unless its rule says otherwise: a week; and at most: 40 days. */
export const MAX_APPROVAL_SECONDS = 3_456_000

/**
 * Who has to approve a call. Without role and group: the person of the run or an admin. Where both are named, who decides has
 * the role and is in the group. The same is checked in SQL (`private.is_approval_rule`).
 */
export const approvalRule = z.strictObject({
  /** The least role in the tenant. */
  role: z.enum(ROLES).nullish(),
  group_id: uuid.nullish(),
  /** The person of the run does not decide. */
  four_eyes: z.boolean().optional(),
  /** People who have to approve; one who denies is enough. */
  quorum: z.int().min(1).max(20).optional(),
  expires_in_seconds: z.int().min(1).max(MAX_APPROVAL_SECONDS).optional(),
  /** What those who decide are told. */
  message: z.string().max(500).optional(),
})
export type ApprovalRule = z.output<typeof approvalRule>

const permission = z.enum(PERMISSIONS)
/** Who may call a tool: `default` for roles that are not named, allow unless it says otherwise. */
export const toolPermissions = z.strictObject({
  default: permission.optional(),
  roles: z.partialRecord(z.enum(PRINCIPAL_ROLES), permission).optional(),
  approval: approvalRule.optional(),
})
export type ToolPermissions = z.output<typeof toolPermissions>

/** Of an MCP server: for all its tools, and for single ones by the names they have at the server, in place of that. */
export const serverPermissions = toolPermissions.extend({
  tools: z
    .record(z.string().min(1).max(200), toolPermissions)
    .refine((tools) => Object.keys(tools).length <= 200, 'permissions.tools may name 200 tools')
    .optional(),
})

/** What is said about a tool for one run. */
export type ResolvedPermission = { permission: Permission; rule: ApprovalRule }

const DENIED: ResolvedPermission = { permission: 'deny', rule: {} }
const ALLOWED: ResolvedPermission = { permission: 'allow', rule: {} }

function resolve(given: ToolPermissions, role: PrincipalRole | null): ResolvedPermission {
  if (role === null) return DENIED
  return { permission: given.roles?.[role] ?? given.default ?? 'allow', rule: given.approval ?? {} }
}

/** Says of each tool of a run, by the name the model calls it by, whether it may be called. */
export type Permissions = (tool: { name: string; kind: 'builtin' | 'custom' | 'mcp' }) => ResolvedPermission

/**
 * Reads who may call what out of the configuration of a run. What cannot be read denies; so does the tool of a server that no
 * admin has accepted.
 */
export async function permissionsOf(configuration: RunConfiguration): Promise<Permissions> {
  const role = PRINCIPAL_ROLES.find((name) => name === configuration.principal_role) ?? null
  const known = new Map<string, ResolvedPermission>()
  for (const { tool_name, permissions } of configuration.tools) {
    const given = toolPermissions.safeParse(permissions)
    known.set(tool_name, given.success ? resolve(given.data, role) : DENIED)
  }
  for (const server of configuration.mcp_servers) {
    const given = serverPermissions.safeParse(server.permissions)
    const pins = pinnedTools.safeParse(server.pinned_tools ?? [])
    for (const pin of pins.success ? (pins.data ?? []) : []) {
      const own = given.success && given.data.tools && Object.hasOwn(given.data.tools, pin.name)
      const settled = given.success ? (own ? given.data.tools?.[pin.name] : given.data) : undefined
      known.set(await toolName(server.name, pin.name), settled ? resolve(settled, role) : DENIED)
    }
  }
  // knowledge_search is offered without an assignment where there is something to search: it reads what the person may read.
  return ({ name, kind }) => known.get(name) ?? (kind === 'builtin' && role !== null ? ALLOWED : DENIED)
}
