import type { AppEnv, Deps } from '../_shared/context.ts'
import type { WithSearch } from '../_shared/search.ts'
import type { AgentApi } from './agent-api.ts'

/** Dependencies of the function `mcp`. */
export type McpDeps = Deps & WithSearch & { agentApi: AgentApi }
export type McpEnv = AppEnv<McpDeps>
