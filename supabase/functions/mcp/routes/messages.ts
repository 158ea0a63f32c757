import { WebStandardStreamableHTTPServerTransport } from '../sdk.ts'
import { Hono } from 'hono'
import type { Context } from 'hono'
import { readJson } from '../../_shared/body.ts'
import { actsOn } from '../../_shared/context.ts'
import { AppError } from '../../_shared/errors.ts'
import type { McpEnv } from '../env.ts'
import { createServer } from '../server.ts'
import { AGENT_TOOL_PREFIX, readAgents } from '../tools/agents.ts'

/** Messages that one request may hold. */
const MAX_BATCH = 10

/** Whether a message is about the tools that agents are. */
function concernsAgents(message: unknown): boolean {
  const { method, params } = Object(message) as { method?: unknown; params?: unknown }
  if (method === 'tools/list') return true
  const { name } = Object(params) as { name?: unknown }
  return method === 'tools/call' && typeof name === 'string' && name.startsWith(AGENT_TOOL_PREFIX)
}

/**
 * Whether a message calls a request off. Nothing is known of requests but those in the same batch, and a stream that waits
 * for the answer to one that was called off has no end.
 */
const callsOff = (message: unknown): boolean =>
  (Object(message) as { method?: unknown }).method === 'notifications/cancelled'

/** Nothing is kept between requests: there are no streams to open and no sessions to end. */
const notAllowed = (c: Context) =>
  c.json({ jsonrpc: '2.0', error: { code: -32000, message: 'Method not allowed.' }, id: null }, 405, { allow: 'POST' })

/** The endpoint of the protocol: JSON-RPC in, an event stream out. */
export const messages = new Hono<McpEnv>()
  .post('/', actsOn(), async (c) => {
    const body = await readJson(c.req.raw)
    const sent = Array.isArray(body) ? body : [body]
    if (sent.length > MAX_BATCH) {
      throw new AppError('invalid_request', `A request may hold at most ${MAX_BATCH} messages.`)
    }
    const { caller, db, deps, requestId } = c.var
    const agents = sent.some(concernsAgents) ? await readAgents(db) : []
    // Both are made for each request, which is what makes it impossible that one caller gets what is another's.
    const server = createServer({ caller, db, deps, requestId }, agents)
    const transport = new WebStandardStreamableHTTPServerTransport({ enableJsonResponse: false })
    await server.connect(transport)
    const parsedBody = Array.isArray(body) ? body.filter((message) => !callsOff(message)) : body
    const response = await transport.handleRequest(c.req.raw, { parsedBody })
    return c.newResponse(response.body, response)
  })
  .get('/', notAllowed)
  .delete('/', notAllowed)
