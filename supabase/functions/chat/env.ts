import type { AppEnv, Deps } from '../_shared/context.ts'
import type { Embedder } from '../_shared/providers/index.ts'
import type { AgentEndpoint } from './agent-endpoint.ts'

/** Dependencies of the function `chat`: it retrieves, and lets an agent endpoint answer. */
export type ChatDeps = Deps & { embedder: Embedder; agentEndpoint: AgentEndpoint }
export type ChatEnv = AppEnv<ChatDeps>
