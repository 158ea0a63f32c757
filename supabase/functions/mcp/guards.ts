import { createMiddleware } from 'hono/factory'
import { AppError } from '../_shared/errors.ts'
import type { McpEnv } from './env.ts'

/** Says with every 401 how to authenticate, as RFC 6750 has it; clients of MCP read it. */
export const challenge = createMiddleware<McpEnv>(async (c, next) => {
  await next()
  if (c.res.status !== 401) return
  const problem = c.req.header('authorization') === undefined ? '' : ', error="invalid_token"'
  c.header('www-authenticate', `Bearer realm="bulkhead"${problem}`)
})

/**
 * Refuses browsers on pages that may not read answers: the protocol asks for it against DNS rebinding. What is no browser
 * sends no Origin.
 */
export const checkOrigin = createMiddleware<McpEnv>(async (c, next) => {
  const origin = c.req.header('origin')
  const { corsOrigins } = c.var.deps
  if (origin !== undefined && !corsOrigins.includes('*') && !corsOrigins.includes(origin)) {
    throw new AppError('forbidden', 'Pages of this origin may not call this server.', {
      hint: 'Add the origin to BULKHEAD_CORS_ORIGINS.',
    })
  }
  await next()
})
