import { Hono } from 'hono'
import type { Context } from 'hono'
import { z } from 'zod'
import { actsOn } from '../../_shared/context.ts'
import { AppError, unwrap } from '../../_shared/errors.ts'
import { jsonObject, parseLenientBody, uuidParam, warningsField } from '../../_shared/http.ts'
import { idleKeys } from '../../_shared/ignored-input.ts'
import { serverPermissions } from '../../_shared/hooks/permissions.ts'
import { pinToolDefinitions } from '../../_shared/mcp/definitions.ts'
import { findAgent } from '../../_shared/execution/agent.ts'
import type { ApiEnv } from '../env.ts'
import { MCP_SERVER_COLUMNS, acceptTools, askForTools, findServer, presentServer } from '../mcp-server.ts'
import type { McpServerRow } from '../mcp-server.ts'
import { outboundUrl } from '../outbound-url.ts'
import { written } from '../rows.ts'
import { headerChange, sealedColumns, secretHeaders } from '../secret-headers.ts'

const REQUIRED = 'name and url are required'

/** Body of `POST /api/agents/{id}/mcp-servers`. */
export const mcpServerRequest = z.object({
  name: z
    .string(REQUIRED)
    .min(1, REQUIRED)
    .max(40, 'name may have 40 characters')
    .regex(/^[A-Za-z0-9-]+(_[A-Za-z0-9-]+)*$/, 'name may hold letters, digits, - and single _ between them'),
  url: z.string(REQUIRED).min(1, REQUIRED).pipe(outboundUrl('url')),
  transport: z.enum(['http', 'sse'], 'transport must be http or sse').nullish(),
  headers: secretHeaders.nullish(),
  config: jsonObject
    .refine((config) => !Object.hasOwn(config, 'headers'), 'headers stand beside config, not in it')
    .nullish(),
  enabled: z.boolean().nullish(),
  /** Who may call its tools. */
  permissions: serverPermissions.nullish(),
})
/** Body of `PUT /api/agents/{id}/mcp-servers/{server_id}`; what is absent stays. */
export const mcpServerPatch = mcpServerRequest.partial().extend({
  /** True: its tools are asked for again, and accepted as they are now. */
  refresh_tools: z.boolean().nullish(),
})

const NOT_ALLOWED = 'Only admins can connect MCP servers: what they are sent leaves the tenant.'
const TAKEN = 'The agent has an MCP server of this name already'

/** Nothing reads `config`: it is kept for clients that do. */
const ignoredIn = ({ config, transport }: z.output<typeof mcpServerPatch>) => [
  ...idleKeys('config.', config, []),
  ...(transport === 'sse'
    ? ['transport "sse" is stored but has no effect: the server is spoken to by Streamable HTTP.']
    : []),
]

const table = (c: Context<ApiEnv>) => c.var.db.schema('ai').from('agent_mcp_servers')

async function update(c: Context<ApiEnv>, id: string, changes: Record<string, unknown>): Promise<McpServerRow> {
  const answer = await table(c).update(changes).eq('id', id).select(MCP_SERVER_COLUMNS).returns<McpServerRow[]>()
  const [row] = written<McpServerRow[]>(answer, { conflict: TAKEN })
  if (!row) throw new AppError('forbidden', NOT_ALLOWED)
  return row
}

/** MCP servers of an agent, and the tools of theirs that have been accepted. */
export const agentMcpServers = new Hono<ApiEnv>()
  .post('/:id/mcp-servers', actsOn('agent'), async (c) => {
    const agent = await findAgent(c.var.db, uuidParam(c, 'id', 'agent'))
    const { body, warnings } = await parseLenientBody(c, mcpServerRequest, ignoredIn)
    const headers = headerChange(body.headers, []) ?? {}
    let row = written<McpServerRow>(
      await table(c)
        .insert({
          tenant_id: agent.tenant_id,
          agent_id: agent.id,
          name: body.name,
          url: body.url,
          transport: body.transport ?? 'http',
          config: body.config ?? {},
          enabled: body.enabled ?? true,
          permissions: body.permissions ?? {},
        })
        .select(MCP_SERVER_COLUMNS)
        .single<McpServerRow>(),
      { forbidden: NOT_ALLOWED, conflict: TAKEN },
    )
    const { id, tenant_id: tenantId, url } = row
    try {
      const columns = await sealedColumns(c.var.deps.secrets, headers, { tenantId, kind: 'mcp_server', id, url })
      const asked = { id, tenantId, url, headers }
      const accepted = row.enabled ? await acceptTools(c, asked) : { pinned: null, warnings: [] }
      row = await update(c, id, { ...columns, pinned_tools: accepted.pinned })
      warnings.push(...accepted.warnings)
    } catch (error) {
      // Without its headers it would be another server than the one that was asked for.
      await table(c).delete().eq('id', id)
      throw error
    }
    return c.json({ ...presentServer(row), ...warningsField(warnings) }, 201)
  })
  .get('/:id/mcp-servers', actsOn('agent'), async (c) => {
    const agent = await findAgent(c.var.db, uuidParam(c, 'id', 'agent'))
    const rows = unwrap<McpServerRow[]>(
      await table(c)
        .select(MCP_SERVER_COLUMNS)
        .eq('agent_id', agent.id)
        .order('created_at')
        .order('id')
        .returns<McpServerRow[]>(),
    )
    return c.json({ mcp_servers: rows.map(presentServer) })
  })
  .put('/:id/mcp-servers/:server_id', actsOn('agent'), async (c) => {
    const agent = await findAgent(c.var.db, uuidParam(c, 'id', 'agent'))
    const server = await findServer(c.var.db, agent.id, uuidParam(c, 'server_id', 'mcp_server'))
    const { body, warnings } = await parseLenientBody(c, mcpServerPatch, ignoredIn)
    const { refresh_tools: refreshes, headers: given, ...fields } = body
    const changes = Object.fromEntries(
      Object.entries(fields).filter(([, value]) => value !== undefined && value !== null),
    )
    const headers = headerChange(given, server.header_names)
    const url = fields.url ?? server.url
    const context = { tenantId: server.tenant_id, kind: 'mcp_server' as const, id: server.id, url }
    const columns = headers === undefined ? {} : await sealedColumns(c.var.deps.secrets, headers, context)
    let row = { ...server }
    if (Object.keys(changes).length > 0 || headers !== undefined) {
      row = await update(c, server.id, { ...changes, ...columns })
    } else if (!refreshes) {
      throw new AppError('invalid_request', warnings.length > 0 ? 'No valid fields to update' : 'No data provided')
    }
    if (headers === undefined && row.header_names.length < server.header_names.length) {
      warnings.push('The headers were removed: they were given for another address. Send them again.')
    }
    // Another address, or another key to it, is another server: what it offers is accepted anew.
    const isOther = url !== server.url || headers !== undefined
    if (row.enabled && (refreshes || isOther || row.pinned_tools === null)) {
      const asked = headers ?? (row.header_names.length === 0 ? {} : null)
      const accepted = await acceptTools(c, { id: row.id, tenantId: row.tenant_id, url: row.url, headers: asked })
      warnings.push(...accepted.warnings)
      // One that does not answer keeps what was accepted; runs compare it with what is there then.
      if (accepted.pinned !== null) row = await update(c, row.id, { pinned_tools: accepted.pinned })
    }
    return c.json({ ...presentServer(row), ...warningsField(warnings) })
  })
  .delete('/:id/mcp-servers/:server_id', actsOn('agent'), async (c) => {
    const agent = await findAgent(c.var.db, uuidParam(c, 'id', 'agent'))
    const server = await findServer(c.var.db, agent.id, uuidParam(c, 'server_id', 'mcp_server'))
    const deleted = unwrap<unknown[]>(await table(c).delete().eq('id', server.id).select('id'))
    if (deleted.length === 0) throw new AppError('forbidden', NOT_ALLOWED)
    return c.json({ deleted: true })
  })
  .get('/:id/mcp-servers/:server_id/tools', actsOn('agent'), async (c) => {
    const agent = await findAgent(c.var.db, uuidParam(c, 'id', 'agent'))
    const server = await findServer(c.var.db, agent.id, uuidParam(c, 'server_id', 'mcp_server'))
    const headers = server.header_names.length === 0 ? {} : null
    const live = await askForTools(c, { id: server.id, tenantId: server.tenant_id, url: server.url, headers })
    const accepted = new Set(server.pinned_tools?.map((tool) => tool.hash))
    const pinned = await pinToolDefinitions(live.tools)
    return c.json({
      tools: pinned.map(({ hash, ...tool }) => ({ ...tool, accepted: accepted.has(hash) })),
      ...warningsField(live.warnings),
    })
  })
