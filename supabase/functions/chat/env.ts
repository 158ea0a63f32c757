import type { AppEnv, Deps } from '../_shared/context.ts'
import type { WithSearch } from '../_shared/search.ts'
import type { AgentEndpoint } from './agent-endpoint.ts'

/** Dependencies of the function `chat`: it retrieves, and lets an agent endpoint answer. */
export type ChatDeps = Deps & WithSearch & { agentEndpoint: AgentEndpoint }
export type ChatEnv = AppEnv<ChatDeps>
