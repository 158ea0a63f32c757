import { z } from 'zod'
import { AppError } from '../_shared/errors.ts'
import { jsonObject, uuid } from '../_shared/http.ts'
import { toolPermissions } from '../_shared/hooks/permissions.ts'
import { readAllowList } from '../_shared/tools/database/tables.ts'
import { DATABASE_TOOLS, builtinTool } from './builtin-tools.ts'

/** What the clients' own server says, which asks for both. */
const REQUIRED = 'tool_type and tool_name are required'

/** Body of `POST /api/agents/{id}/tools`. Documents of the agent API leave `tool_type` out, its servers ask for it: both work. */
export const assignmentRequest = z.object({
  tool_name: z.string(REQUIRED).min(1, REQUIRED).max(64),
  tool_type: z.enum(['builtin', 'custom'], 'tool_type must be builtin or custom').nullish(),
  tool_id: uuid.nullish(),
  config_override: jsonObject.nullish(),
  /** Who may call it; for admins to say. */
  permissions: toolPermissions.nullish(),
})

/** Body of `PATCH /api/agents/{id}/tools/{assignment_id}`. */
export const assignmentPatch = z.object({
  config_override: jsonObject.optional(),
  permissions: toolPermissions.optional(),
})

/** Which tool a request means. */
export type Assignment = { tool_type: 'builtin'; tool_id: null } | { tool_type: 'custom'; tool_id: string }

/** @throws AppError `invalid_request` when it names none. */
export function assignmentOf({ tool_name, tool_type, tool_id }: z.output<typeof assignmentRequest>): Assignment {
  const isBuiltin = builtinTool(tool_name) !== undefined
  const type = tool_type ?? (tool_id ? 'custom' : 'builtin')
  if (type === 'builtin') {
    if (isBuiltin) return { tool_type: 'builtin', tool_id: null }
    throw new AppError('invalid_request', `There is no built-in tool ${JSON.stringify(tool_name)}`, {
      hint: 'GET /api/tools lists them; a tool of your own is attached with tool_type "custom" and its tool_id.',
    })
  }
  if (!tool_id) throw new AppError('invalid_request', 'tool_id is required for a custom tool')
  if (isBuiltin || !/^[A-Za-z0-9_-]{1,64}$/.test(tool_name) || /^mcp__/i.test(tool_name)) {
    throw new AppError(
      'invalid_request',
      'tool_name may hold 1 to 64 letters, digits, _ and -, and must differ from built-in tools and mcp__ names',
    )
  }
  return { tool_type: 'custom', tool_id }
}

/** Tools that an admin may trust: only admins can assign them, so only they can say so. */
const sendsDataOut = (type: string, name: string) =>
  type === 'custom' || ['http_request', 'web_scrape', 'web_search', 'code_execute'].includes(name)

/** Key by which an admin lets a tool be called in runs that have read untrusted text. */
const UNTRUSTED = 'untrusted'

/** What to know of a `config_override` that is in order. */
export function overrideNotes(name: string, { schemas = {} }: Record<string, unknown>): string[] {
  return DATABASE_TOOLS.includes(name) && namesNothing(schemas)
    ? [`${name} can use no table until config_override.schemas names some, e.g. {"public": ["orders"]}.`]
    : []
}

/**
 * Checks the `config_override` of a tool.
 * @returns warnings about what has no effect.
 * @throws AppError `invalid_request` for schemas that are malformed or closed, and for `untrusted` other than "allow".
 */
export function checkOverride(
  assignment: { tool_type: string; tool_name: string },
  override: Record<string, unknown>,
): string[] {
  const { tool_type: type, tool_name: name } = assignment
  const settled = { ...override }
  if (sendsDataOut(type, name)) {
    if (settled[UNTRUSTED] !== undefined && settled[UNTRUSTED] !== 'allow') {
      throw new AppError('invalid_request', 'config_override.untrusted can only be "allow"')
    }
    delete settled[UNTRUSTED]
  }
  if (type === 'builtin' && DATABASE_TOOLS.includes(name)) return checkSchemas(name, settled)
  const known = type === 'custom' ? [] : Object.keys(Object(builtinTool(name)?.inputSchema['properties']))
  return Object.keys(settled)
    .filter((key) => !known.includes(key))
    .slice(0, 20)
    .map(
      (key) =>
        `${JSON.stringify(key.slice(0, 60))} is not an argument that can be forced on ${name} and has no effect.`,
    )
}

function checkSchemas(name: string, override: Record<string, unknown>): string[] {
  const { schemas = {}, ...others } = override
  const warnings = Object.keys(others)
    .slice(0, 20)
    .map((key) => `${JSON.stringify(key.slice(0, 60))} has no effect on ${name}; it reads schemas only.`)
  const { tables, problems } = readAllowList({ schemas })
  if (!namesNothing(schemas) && (problems.length > 0 || tables.length === 0)) {
    throw new AppError('invalid_request', problems.slice(0, 5).join(' '))
  }
  return warnings
}

/** Whether an allow-list is there and empty, which is no mistake: what comes next may fill it. */
function namesNothing(schemas: unknown): boolean {
  const lists: unknown[] | null =
    typeof schemas === 'object' && schemas !== null && !Array.isArray(schemas) ? Object.values(schemas) : null
  return lists !== null && lists.every((names) => Array.isArray(names) && names.length === 0)
}
