import type { Context } from 'hono'
import type { Db } from '../_shared/context.ts'
import { AppError, describeError, fromPostgrest, missing } from '../_shared/errors.ts'
import { pinToolDefinitions } from '../_shared/mcp/definitions.ts'
import type { PinnedTool } from '../_shared/mcp/definitions.ts'
import type { ListedTools } from '../_shared/mcp/client.ts'
import type { ApiEnv, AskedMcpServer } from './env.ts'
import { maskedHeaders } from './secret-headers.ts'

/** Columns of ai.agent_mcp_servers that callers may select. */
export const MCP_SERVER_COLUMNS =
  'id,tenant_id,agent_id,name,transport,url,header_names,config,enabled,permissions,pinned_tools,pinned_at,created_at,updated_at'

/** A row of ai.agent_mcp_servers. */
export type McpServerRow = {
  id: string
  tenant_id: string
  agent_id: string
  name: string
  transport: string
  url: string
  header_names: string[]
  config: Record<string, unknown>
  enabled: boolean
  /** Who may call its tools. */
  permissions: Record<string, unknown>
  /** The definitions an admin has accepted; null: none yet, and runs offer none of its tools. */
  pinned_tools: PinnedTool[] | null
  pinned_at: string | null
  created_at: string
  updated_at: string
}

/** A server as clients see it: the values of its headers are for the server only. */
export function presentServer({ tenant_id: _tenant, header_names, pinned_tools, ...row }: McpServerRow) {
  return { ...row, headers: maskedHeaders(header_names), tool_count: pinned_tools?.length ?? null }
}

/** A server of an agent. @throws AppError `not_found`. */
export async function findServer(db: Db, agentId: string, id: string): Promise<McpServerRow> {
  const { data, error } = await db
    .schema('ai')
    .from('agent_mcp_servers')
    .select(MCP_SERVER_COLUMNS)
    .eq('id', id)
    .eq('agent_id', agentId)
    .maybeSingle<McpServerRow>()
  if (error) throw fromPostgrest(error)
  if (data === null) throw missing('mcp_server')
  return data
}

/**
 * The tools a server offers now.
 * @throws AppError; whatever else keeps it from answering becomes `upstream_failed`. A server that does not answer is one that
 * fails: `upstream_timeout` too has the status 502, which is what the agent API promises.
 */
export async function askForTools(c: Context<ApiEnv>, server: AskedMcpServer): Promise<ListedTools> {
  try {
    return await c.var.deps.mcp.discover(server)
  } catch (error) {
    if (error instanceof AppError && error.code === 'upstream_timeout') {
      throw new AppError(error.code, error.message, { cause: error, status: 502 })
    }
    if (error instanceof AppError) throw error
    throw new AppError('upstream_failed', 'The MCP server could not be asked for its tools.', { cause: error })
  }
}

/**
 * Asks a server for its tools and gives them in the form in which they are accepted. A server that does not answer is
 * still stored: then a warning says that its tools are not offered.
 */
export async function acceptTools(
  c: Context<ApiEnv>,
  server: AskedMcpServer,
): Promise<{ pinned: PinnedTool[] | null; warnings: string[] }> {
  try {
    const { tools, warnings } = await askForTools(c, server)
    return { pinned: await pinToolDefinitions(tools), warnings }
  } catch (error) {
    c.var.deps.log.error('mcp_discovery_failed', { server_id: server.id, error: describeError(error) })
    const reason = error instanceof AppError ? error.message : 'It could not be asked.'
    return {
      pinned: null,
      warnings: [`The tools of the MCP server could not be listed, so agents get none of them yet: ${reason}`],
    }
  }
}
