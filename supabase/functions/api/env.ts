import type { AppEnv, Deps } from '../_shared/context.ts'
import type { Egress } from '../_shared/egress/index.ts'
import type { ListedTools } from '../_shared/mcp/client.ts'
import type { WithRuns } from '../_shared/execution/settings.ts'
import type { WithChat } from '../_shared/providers/index.ts'
import type { WithSearch } from '../_shared/search.ts'
import type { SecretBox } from '../_shared/secrets.ts'
import type { WithObjects } from '../_shared/sources.ts'
import type { WithTools } from '../_shared/tools/registry.ts'

/** An MCP server as far as asking it for its tools needs. */
export type AskedMcpServer = {
  id: string
  tenantId: string
  url: string
  /** Headers to send: those of this request, or null: those that are stored. */
  headers: Record<string, string> | null
}

/** Asking MCP servers for their tools, by the egress rules. */
export type McpDiscovery = {
  /** @throws AppError `upstream_failed`; `upstream_timeout` after 10 seconds; `unavailable`, `conflict` about stored headers. */
  discover(server: AskedMcpServer): Promise<ListedTools>
}

/** Deps of the routes that configure what leaves the tenant, and of those that fetch from outside. */
export type WithOutside = {
  /** Encrypts secret headers before they are stored. */
  secrets: Pick<SecretBox, 'seal'>
  mcp: McpDiscovery
  /** Null: nothing is fetched from outside. */
  egress: Pick<Egress, 'fetch' | 'stream'> | null
}

/** Dependencies of the function `api`. */
export type ApiDeps = Deps & WithObjects & WithChat & WithSearch & WithOutside & WithTools & WithRuns
export type ApiEnv = AppEnv<ApiDeps>
