import { AppError } from '../errors.ts'
import { MCP_TIMEOUTS, createMcpClient } from './client.ts'
import type { ListedTools, McpTimeouts } from './client.ts'
import { McpError } from './errors.ts'
import type { McpEndpoint, McpFetch } from './transport.ts'

/** What is said of a failure to people: a sentence without a word of the server's. */
export function failureText(error: unknown): string {
  if (error instanceof McpError) return `The MCP server ${error.message}.`
  if (error instanceof AppError) return error.message
  return 'The MCP server could not be asked.'
}

/**
 * The tools that a server offers now, for an admin to look at and to approve with `pinToolDefinitions`.
 * @param fetchWith the egress guard.
 * @throws AppError `upstream_failed`; `upstream_timeout` after 10 s; what the egress guard refuses with; the reason of `signal`.
 */
export async function discoverTools(
  endpoint: McpEndpoint,
  fetchWith: McpFetch,
  options: { signal?: AbortSignal; timeouts?: McpTimeouts } = {},
): Promise<ListedTools> {
  const client = createMcpClient(endpoint, fetchWith, options.timeouts ?? MCP_TIMEOUTS)
  try {
    return await client.listTools(options.signal ?? new AbortController().signal)
  } catch (error) {
    if (!(error instanceof McpError)) throw error
    const code = error.failure === 'timed_out' ? 'upstream_timeout' : 'upstream_failed'
    throw new AppError(code, failureText(error), { cause: error })
  } finally {
    await client.close()
  }
}
