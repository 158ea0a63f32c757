import type { Hono } from 'hono'
import { identify } from '../_shared/context.ts'
import { createRouter } from '../_shared/http.ts'
import type { McpDeps, McpEnv } from './env.ts'
import { challenge, checkOrigin } from './guards.ts'
import { messages } from './routes/messages.ts'

/** The function `mcp`: an MCP server whose tools see and do what the holder of the token may. */
export function createApp(deps: McpDeps): Hono<McpEnv> {
  const app = createRouter<McpDeps>('/mcp', deps)
  app.use(challenge)
  app.use(checkOrigin)
  app.use(identify)
  app.route('/', messages)
  return app
}
