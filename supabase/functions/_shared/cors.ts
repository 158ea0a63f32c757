import { cors } from 'hono/cors'
import type { MiddlewareHandler } from 'hono'

/**
 * Lets the listed origins read answers in a browser. Credentials are never allowed: callers send their token in a header,
 * and an origin that is not listed gets no CORS header at all. `*` in the list means any origin.
 */
export function allowOrigins(origins: readonly string[]): MiddlewareHandler {
  const any = origins.includes('*')
  return cors({
    origin: (origin) => (any ? '*' : origins.includes(origin) ? origin : null),
    allowHeaders: [
      'authorization',
      'apikey',
      'content-type',
      'x-client-info',
      'x-tenant-id',
      'x-request-id',
      'idempotency-key',
      'prefer',
      'mcp-protocol-version',
      'mcp-session-id',
      'last-event-id',
    ],
    allowMethods: ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'],
    exposeHeaders: [
      'x-request-id',
      'x-run-id',
      'idempotency-replayed',
      'retry-after',
      'content-disposition',
      'www-authenticate',
    ],
    maxAge: 600,
  })
}
