import { describeError, toAppError, unwrap } from '../errors.ts'
import type { Deps } from '../context.ts'
import type { RunConfiguration } from '../ledger.ts'
import type { ChatMessage } from '../providers/index.ts'
import type { WithSearch } from '../search.ts'
import { secretHost } from '../secrets.ts'
import { createCustomTool } from './custom-http.ts'
import { createDatabaseQuery } from './database/query.ts'
import type { DatabaseToolOptions } from './database/query.ts'
import { readAllowList } from './database/tables.ts'
import type { AllowedTable, TableDescription } from './database/tables.ts'
import { createDatabaseWrite } from './database/write.ts'
import { withForcedArguments } from './forced-arguments.ts'
import type { ToolKit } from './kit.ts'
import { createKnowledgeSearch } from './knowledge-search.ts'
import type { LinkedKnowledgeBase, SearchDefaults } from './knowledge-search.ts'
import { createMcpTools } from './mcp.ts'
import type { McpServer } from './mcp.ts'
import { createStorageRead, createStorageWrite } from './storage.ts'
import type { Principal, Tool } from './types.ts'

/** Deps of functions that run agents. */
export type WithTools = { tools: ToolKit }

/** What a run's tools are made for. */
export type ToolsRequest = {
  principal: Principal
  signal: AbortSignal
  /** What knowledge_search looks in; none: the tool is not offered. */
  bases: readonly LinkedKnowledgeBase[]
  /** How much it gives where nobody says. */
  searchDefaults: SearchDefaults
  citations: boolean
  nextKey: () => number
  /** What was said so far: knowledge_search understands questions by it, where that is switched on. */
  history?: readonly ChatMessage[]
}

export type BuiltTools = {
  tools: Tool[]
  /** In sentences: what is assigned and not offered, and why. */
  warnings: string[]
  /** To be called when the run is over. */
  close: () => Promise<void>
}

type Assignment = RunConfiguration['tools'][number]

/** A tool of an assignment, or why there is none. */
type Made = Tool | string

/**
 * An admin's word that a tool may be called in a run that has read untrusted text. Only assignments that an admin alone can
 * make are heard; it does not lift what Postgres allows the person.
 */
const isTrusted = ({ config_override }: Assignment) => config_override['untrusted'] === 'allow'
const trusted = (tool: Tool): Tool => ({
  ...tool,
  effects: tool.effects.filter((effect) => effect === 'reads_untrusted'),
})

/**
 * The tools of a run: built-in ones that are assigned, knowledge_search where there is something to search, custom ones, and
 * those of MCP servers. One that cannot be offered costs a warning, never the run.
 * @throws the reason of `signal` alone.
 */
export async function buildTools(
  deps: Deps & WithSearch & WithTools,
  configuration: RunConfiguration,
  request: ToolsRequest,
): Promise<BuiltTools> {
  const { tools: kit } = deps
  const tools: Tool[] = []
  const warnings: string[] = []
  const add = (made: Made, name: string) => {
    if (typeof made === 'string') warnings.push(`The tool ${JSON.stringify(name)} is not offered: ${made}`)
    else if (tools.some((tool) => tool.name === made.name)) {
      warnings.push(`The tool ${JSON.stringify(name)} is not offered: another one has its name.`)
    } else tools.push(made)
  }

  if (request.bases.length > 0) {
    const { bases: knowledgeBases, searchDefaults: defaults, citations, nextKey, history } = request
    add(
      createKnowledgeSearch({ knowledgeBases, defaults, citations, nextKey, history, search: deps.search }),
      'knowledge_search',
    )
  }
  for (const assignment of configuration.tools) {
    if (assignment.tool_name === 'knowledge_search') {
      // The same whether none is linked or the person may see none of them.
      if (request.bases.length === 0) add('there is no knowledge base to search.', 'knowledge_search')
      continue
    }
    const made =
      assignment.tool_type === 'custom'
        ? customTool(assignment, kit)
        : await builtin(assignment, request, deps, warnings)
    add(made, assignment.tool_name)
  }

  const servers: McpServer[] = []
  for (const server of configuration.mcp_servers) {
    try {
      const context = {
        tenantId: request.principal.tenantId,
        kind: 'mcp_server' as const,
        id: server.id,
        host: secretHost(server.url),
      }
      const headers = server.secret_headers === null ? {} : await kit.secrets.open(server.secret_headers, context)
      servers.push({ id: server.id, name: server.name, url: server.url, headers, pinnedTools: server.pinned_tools })
    } catch (error) {
      deps.log.error('mcp_server_left_out', { mcp_server_id: server.id, error: describeError(error) })
      warnings.push(`MCP server ${JSON.stringify(server.name)}: ${toAppError(error).message}`)
    }
  }
  const mcp = await createMcpTools(servers, {
    fetch: kit.mcpFetch,
    log: deps.log,
    signal: request.signal,
    takenNames: tools.map(({ name }) => name),
    ...(kit.hasSigningKey ? { mintToolToken: kit.tokens.mint } : {}),
  })
  return { tools: [...tools, ...mcp.tools], warnings: [...warnings, ...mcp.warnings], close: mcp.close }
}

function customTool(assignment: Assignment, kit: ToolKit): Made {
  const { tool_id, name, description, input_schema, config, secret_headers } = assignment
  if (tool_id === null || name === null || input_schema === null || config === null)
    return 'it does not exist any more.'
  try {
    const row = { tool_id, name, description, input_schema, config, secret_headers }
    const made = createCustomTool(row, { egress: kit.egressFetch, secrets: kit.secrets, tokens: kit.tokens })
    // The database keeps built-in names and those of MCP servers out of assignments; a definition can be renamed to any.
    const tool = { ...made, name: assignment.tool_name }
    return isTrusted(assignment) ? trusted(tool) : tool
  } catch {
    return 'its definition cannot be used.'
  }
}

function builtin(
  assignment: Assignment,
  request: ToolsRequest,
  deps: Deps & WithTools,
  warnings: string[],
): Made | Promise<Made> {
  const { tools: kit } = deps
  const { tool_name, config_override } = assignment
  const { schemas: _schemas, untrusted: _untrusted, ...settled } = config_override
  switch (tool_name) {
    case 'database_query':
      return databaseTool(createDatabaseQuery, assignment, request, deps, warnings)
    case 'database_write':
      return databaseTool(createDatabaseWrite, assignment, request, deps, warnings)
    case 'storage_read':
      return withForcedArguments(createStorageRead(kit.publicUrl), settled)
    case 'storage_write':
      return withForcedArguments(createStorageWrite(), settled)
  }
  if (!Object.hasOwn(kit.outgoing, tool_name)) return 'there is no such tool.'
  const tool = kit.outgoing[tool_name as keyof ToolKit['outgoing']]
  if (tool === null) return 'it is not configured here.'
  const made = withForcedArguments(tool, settled)
  return isTrusted(assignment) ? trusted(made) : made
}

/** Shapes of the tables of an assignment, as the person may see them. Without them queries work, but joins do not. */
async function describe(tables: readonly AllowedTable[], { principal }: ToolsRequest, { log }: Deps) {
  try {
    const db = await principal.db()
    return unwrap<TableDescription[]>(
      await db.schema('ai').rpc('describe_tables', { tables: tables.map(({ schema, name }) => ({ schema, name })) }),
    )
  } catch (error) {
    log.error('tables_not_described', { error: describeError(error) })
    return []
  }
}

async function databaseTool(
  create: (options: DatabaseToolOptions) => Tool,
  { tool_name, config_override }: Assignment,
  request: ToolsRequest,
  deps: Deps,
  warnings: string[],
): Promise<Made> {
  const { tables, problems } = readAllowList({ schemas: config_override['schemas'] })
  if (tables.length === 0) return problems.join(' ') || 'its assignment names no tables; set config_override.schemas.'
  warnings.push(...problems.map((problem) => `The tool ${JSON.stringify(tool_name)} is offered in part: ${problem}`))
  return create({ tables, descriptions: await describe(tables, request, deps) })
}
