import { describeError } from '../errors.ts'
import type { Log } from '../errors.ts'
import { MCP_TIMEOUTS, createMcpClient } from '../mcp/client.ts'
import type { McpClient, McpTimeouts } from '../mcp/client.ts'
import { checkPins, pinnedTools, quoted } from '../mcp/definitions.ts'
import type { PinnedTool } from '../mcp/definitions.ts'
import { failureText } from '../mcp/discovery.ts'
import { McpError } from '../mcp/errors.ts'
import { MAX_RESULT_CHARS, cut, maskSecrets, resultText, secretsOf } from '../mcp/results.ts'
import { toolNames } from '../mcp/tool-names.ts'
import type { McpFetch } from '../mcp/transport.ts'
import { TOOL_TOKEN_HEADER, sha256 } from '../tool-tokens.ts'
import type { ToolTokenRequest } from '../tool-tokens.ts'
import type { Tool, ToolCallContext, ToolResult } from './types.ts'

/** An enabled MCP server of an agent. */
export type McpServer = {
  id: string
  /** Unique per agent; becomes a part of the tools' names. */
  name: string
  url: string
  /** The opened secret headers, and nothing of the caller's: their token is for us, not for a server (T08). */
  headers: Readonly<Record<string, string>>
  /** The column pinned_tools. */
  pinnedTools: unknown
}

/** What the tools of MCP servers need from outside. */
export type McpToolsDeps = {
  /** The egress guard; every request goes through it. */
  fetch: McpFetch
  log: Log
  /** Aborted when the run is, also while the servers are asked for their tools. */
  signal: AbortSignal
  /** Names of the agent's other tools. */
  takenNames?: Iterable<string>
  /** Signs who a call is made for, into a header of that call alone; absent: servers learn nothing about the person. */
  mintToolToken?: (request: ToolTokenRequest) => Promise<string>
  timeouts?: McpTimeouts
}

/** Tools that are ready to be called. */
export type McpTools = {
  tools: Tool[]
  /** In sentences for the person: which tools are not offered, and why. */
  warnings: string[]
  /** Ends the sessions at the servers; to be called when the run is over. Never throws. */
  close: () => Promise<void>
}

/** Tools that one warning names. */
const MAX_NAMED = 20
const MAX_DETAIL_CHARS = 2_000

const namesOf = (names: readonly string[]): string => {
  const more = names.length > MAX_NAMED ? ` and ${names.length - MAX_NAMED} more` : ''
  return names.slice(0, MAX_NAMED).map(quoted).join(', ') + more
}

/** A failed call, for the model. */
function failedCall(server: McpServer, error: unknown, secrets: readonly string[]): ToolResult {
  const detail = error instanceof McpError && error.detail !== '' ? ` It says: ${error.detail}` : ''
  const text = `Error: ${failureText(error)} (server ${quoted(server.name)})`
  return { text: text + cut(maskSecrets(detail, secrets), MAX_DETAIL_CHARS), isError: true }
}

/** An approved definition that the server stands by. */
type ApprovedTool = PinnedTool & {
  /** The server says that calling again with the same arguments changes nothing more. */
  isIdempotent: boolean
}

function toolOf(server: McpServer, pin: ApprovedTool, name: string, client: McpClient, deps: McpToolsDeps): Tool {
  const known = secretsOf(server.headers)

  async function execute(args: Record<string, unknown>, context: ToolCallContext): Promise<ToolResult> {
    const secrets = [...known]
    const headersFor = async (body: string): Promise<Record<string, string>> => {
      const token = await identityToken(body, context)
      if (token === null) return {}
      secrets.push(token)
      return { [TOOL_TOKEN_HEADER]: token }
    }
    try {
      const result = resultText(await client.callTool({ name: pin.name, args, headersFor, signal: context.signal }))
      if (result === null) throw new McpError('malformed', 'sent a result that is none')
      return {
        // Masked before it is cut, so that no half of a secret is left at the end.
        text: cut(maskSecrets(result.text, secrets), MAX_RESULT_CHARS),
        ...(result.isError ? { isError: true } : {}),
      }
    } catch (error) {
      context.signal.throwIfAborted()
      const fields = { call_id: context.callId, mcp_server_id: server.id }
      context.log.error('mcp_call_failed', { ...fields, error: maskSecrets(describeError(error), secrets) })
      return failedCall(server, error, secrets)
    }
  }

  async function identityToken(body: string, { principal, callId }: ToolCallContext): Promise<string | null> {
    if (!deps.mintToolToken) return null
    const { tenantId, userId, agentId, runId } = principal
    const audience = new URL(server.url).origin
    const argumentsHash = await sha256(body)
    return deps.mintToolToken({ tenantId, userId, agentId, runId, callId, tool: pin.name, audience, argumentsHash })
  }

  return {
    name,
    description: pin.description,
    inputSchema: pin.input_schema,
    kind: 'mcp',
    isConcurrencySafe: pin.read_only,
    isRetrySafe: pin.read_only || pin.isIdempotent,
    effects: pin.read_only ? ['reads_untrusted', 'egress'] : ['reads_untrusted', 'egress', 'writes'],
    maxResultChars: MAX_RESULT_CHARS,
    execute,
  }
}

/** Pins that the server still stands by; warnings about the others. @throws the reason of `deps.signal` alone. */
async function approvedTools(
  server: McpServer,
  client: McpClient,
  deps: McpToolsDeps,
): Promise<{ pins: ApprovedTool[]; warnings: string[] }> {
  const warnings: string[] = []
  const warn = (text: string) => warnings.push(`MCP server ${quoted(server.name)}: ${text}`)
  const stored = pinnedTools.safeParse(server.pinnedTools ?? null)
  if (!stored.success || stored.data === null || stored.data.length === 0) {
    warn('None of its tools is offered, because no admin has approved any.')
    return { pins: [], warnings }
  }
  let live: Awaited<ReturnType<McpClient['listTools']>>
  try {
    live = await client.listTools(deps.signal)
  } catch (error) {
    deps.signal.throwIfAborted()
    const secrets = secretsOf(server.headers)
    deps.log.error('mcp_discovery_failed', {
      mcp_server_id: server.id,
      error: maskSecrets(describeError(error), secrets),
    })
    warn(`None of its tools is offered. ${maskSecrets(failureText(error), secrets)}`)
    return { pins: [], warnings }
  }
  const check = await checkPins(stored.data, live.tools)
  const approval = 'until an admin has approved them'
  if (check.changed.length > 0) warn(`Changed, and not offered ${approval} again: ${namesOf(check.changed)}.`)
  if (check.missing.length > 0) warn(`Not there any more, and not offered: ${namesOf(check.missing)}.`)
  if (check.added.length > 0) warn(`New, and not offered ${approval}: ${namesOf(check.added)}.`)
  for (const problem of live.warnings.slice(0, MAX_NAMED)) warn(problem)
  // The hash that was approved covers the annotations, so these are the approved ones.
  const idempotent = new Set(
    live.tools.filter(({ annotations }) => annotations?.['idempotentHint'] === true).map((tool) => tool.name),
  )
  return { pins: check.unchanged.map((pin) => ({ ...pin, isIdempotent: idempotent.has(pin.name) })), warnings }
}

/**
 * The tools of an agent's MCP servers: those whose present definition is the one that an admin approved, and no other. The
 * model sees the approved texts. A server that cannot be asked costs a warning and never the run.
 * @throws the reason of `deps.signal` alone.
 */
export async function createMcpTools(servers: readonly McpServer[], deps: McpToolsDeps): Promise<McpTools> {
  const opened = servers.map((server) => ({
    server,
    client: createMcpClient({ url: server.url, headers: server.headers }, deps.fetch, deps.timeouts ?? MCP_TIMEOUTS),
  }))
  const close = async () => {
    await Promise.all(opened.map(({ client }) => client.close()))
  }
  try {
    const found = await Promise.all(
      opened.map(async ({ server, client }) => ({ server, client, ...(await approvedTools(server, client, deps)) })),
    )
    const warnings = found.flatMap((entry) => entry.warnings)
    const candidates = found.flatMap(({ server, client, pins }) => pins.map((pin) => ({ server, client, pin })))
    const names = await toolNames(
      candidates.map(({ server, pin }) => ({ server: server.name, tool: pin.name })),
      deps.takenNames ?? [],
    )
    const tools = candidates.flatMap(({ server, client, pin }, index) => {
      const name = names[index]
      if (name) return [toolOf(server, pin, name, client, deps)]
      warnings.push(
        `MCP server ${quoted(server.name)}: ${quoted(pin.name)} is not offered, because another tool of the agent has the same name.`,
      )
      return []
    })
    return { tools, warnings, close }
  } catch (error) {
    await close()
    throw error
  }
}
