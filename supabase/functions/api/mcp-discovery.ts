import type { Ledger } from '../_shared/ledger.ts'
import { discoverTools } from '../_shared/mcp/discovery.ts'
import { secretHost } from '../_shared/secrets.ts'
import type { ToolKit } from '../_shared/tools/kit.ts'
import type { McpDiscovery } from './env.ts'

/** Asks MCP servers for their tools through the egress guard, with the headers given or those that are stored. */
export function mcpDiscovery(ledger: Pick<Ledger, 'mcpServerSecrets'>, kit: ToolKit): McpDiscovery {
  return {
    async discover({ id, tenantId, url, headers }) {
      let sent = headers
      if (sent === null) {
        const sealed = await ledger.mcpServerSecrets(id, tenantId)
        sent =
          sealed === null
            ? {}
            : await kit.secrets.open(sealed, { tenantId, kind: 'mcp_server', id, host: secretHost(url) })
      }
      return discoverTools({ url, headers: sent }, kit.mcpFetch)
    },
  }
}
