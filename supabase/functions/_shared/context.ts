import { createClient } from '@supabase/supabase-js'
import type { SupabaseClient } from '@supabase/supabase-js'
import type { Context, MiddlewareHandler } from 'hono'
import type { Identity } from './auth.ts'
import type { Delegation } from './delegation.ts'
import type { Log } from './errors.ts'
import { AppError, missing } from './errors.ts'
import { boundedFetch } from './fetch.ts'
import { once } from './idempotency.ts'
import { isUuid } from './ids.ts'
import type { Ledger, ResourceKind } from './ledger.ts'
import type { RequestSubject } from './limits-ledger.ts'
import type { OpenStreams } from './open-streams.ts'
import { addressOf } from './rate-limit.ts'
import type { RateLimiter } from './rate-limit.ts'

/** A client that carries a caller's token: row-level security decides what it sees. */
export type Db = SupabaseClient

/**
 * On whose behalf a request acts. Service-key callers are turned into a delegated token before a handler runs, so that
 * nothing after this point distinguishes them from people.
 */
export type Caller = {
  /** `sub` of the token: a user, or the service principal of a tenant. */
  userId: string
  token: string
  /** Tenant the request is narrowed to, or null: all of the caller's. */
  tenantId: string | null
}

/** All an app needs from outside. Built from the environment in index.ts, by hand in tests. */
export type Deps = {
  /** @throws AppError `unauthenticated` if the token is absent, malformed, expired or forged. */
  verifyCaller: (authorization: string | undefined) => Promise<Identity>
  /** A client that carries the caller's token and tenant header. */
  clientFor: (caller: Caller) => Db
  delegation: Delegation
  ledger: Ledger
  /** Tenant of service-key calls that name neither a resource nor a tenant. */
  defaultTenant: string | null
  corsOrigins: string[]
  /** Null or absent: requests are not limited. */
  rateLimiter?: RateLimiter | null
  /** Null or absent: as many event streams at once as they like. */
  openStreams?: OpenStreams | null
  log: Log
}

/** Hono environment of every app; `D` are the dependencies its routes use. */
export type AppEnv<D extends Deps = Deps> = {
  Variables: { requestId: string; deps: D; identity: Identity; caller: Caller; db: Db }
}

/** Milliseconds a database request may take before it is given up. */
const DATABASE_TIMEOUT_MS = 30_000

/** Makes `Deps.clientFor` for a project. */
export function createClientFactory(supabaseUrl: string, publishableKey: string): (caller: Caller) => Db {
  return (caller) =>
    createClient(supabaseUrl, publishableKey, {
      accessToken: () => Promise.resolve(caller.token),
      auth: { persistSession: false, autoRefreshToken: false, detectSessionInUrl: false },
      global: {
        // The database narrows by this header as well; it never grants anything.
        headers: caller.tenantId === null ? {} : { 'x-tenant-id': caller.tenantId },
        fetch: boundedFetch(fetch, DATABASE_TIMEOUT_MS),
      },
    })
}

/** A log that writes one JSON line per event. Fields are ids, codes and durations, never content. */
export function createLog(functionName: string): Log {
  const line = (event: string, fields: Record<string, unknown>) =>
    JSON.stringify({ function: functionName, event, ...fields })
  return {
    info: (event, fields) => console.log(line(event, fields)),
    error: (event, fields) => console.error(line(event, fields)),
  }
}

/**
 * Finds out who is calling, and whether they call too often; mounted before every route but health.
 * @throws AppError `unauthenticated`, `rate_limited`.
 */
export const identify: MiddlewareHandler = async (c, next) => {
  const { deps } = c.var as AppEnv['Variables']
  const identity = await verified(c, deps)
  c.set('identity', identity)
  await deps.rateLimiter?.take(subjectOf(c, identity))
  await next()
}

/** The identity of a request. One that does not say who it is comes out of the bucket of its address. */
async function verified(c: Context, deps: Deps): Promise<Identity> {
  try {
    return await deps.verifyCaller(c.req.header('authorization'))
  } catch (error) {
    const address = deps.rateLimiter ? addressOf(c.req.header(deps.rateLimiter.addressHeader)) : null
    if (address !== null) {
      await deps.rateLimiter?.take({ subject: `address:${address}`, userId: null, tenantId: null })
    }
    throw error
  }
}

/** Whose bucket a request comes out of. Whether the person is in the tenant, the database looks up. */
function subjectOf(c: Context, identity: Identity): RequestSubject {
  const idOf = (value: unknown) => (isUuid(value) ? value.toLowerCase() : null)
  const named = idOf(c.req.header('x-tenant-id'))
  if (identity.kind === 'user') {
    return { subject: 'user', userId: identity.userId, tenantId: named ?? idOf(identity.claims['tenant_id']) }
  }
  const userId = idOf(c.req.header('x-act-as-user'))
  return { subject: userId === null ? 'backend' : 'user', userId, tenantId: named }
}

const headerUuid = (value: string | undefined, name: string): string | null => {
  if (value === undefined) return null
  if (!isUuid(value)) throw new AppError('invalid_request', `The header ${name} must be a UUID.`)
  return value.toLowerCase()
}

/**
 * Settles on whose behalf a request acts and puts `caller` and `db` into the context. For a service-key caller the tenant
 * is that of the named resource, else the x-tenant-id header, else the default; the database decides.
 * @throws AppError of `missing(kind)` when a service-key caller names a resource that does not exist; `tenant_required`;
 * `forbidden` for x-act-as-user from anybody else, or naming nobody in the tenant.
 */
export async function resolveCaller(c: Context, kind?: ResourceKind, resourceId?: string): Promise<void> {
  const { deps, identity } = c.var as AppEnv['Variables']
  const tenantId = headerUuid(c.req.header('x-tenant-id'), 'x-tenant-id')
  const actAsUser = headerUuid(c.req.header('x-act-as-user'), 'x-act-as-user')
  let caller: Caller
  if (identity.kind === 'user') {
    if (actAsUser !== null) throw new AppError('forbidden', 'Only a service-key caller may send x-act-as-user.')
    caller = { userId: identity.userId, token: identity.token, tenantId }
  } else {
    caller = await delegatedCaller(deps, kind, {
      ...(kind === undefined ? {} : { kind, resourceId: resourceId ?? '' }),
      ...(tenantId === null ? {} : { tenantHeader: tenantId }),
      ...(actAsUser === null ? {} : { actAsUser }),
      ...(deps.defaultTenant === null ? {} : { defaultTenant: deps.defaultTenant }),
    })
  }
  c.set('caller', caller)
  c.set('db', deps.clientFor(caller))
}

async function delegatedCaller(
  deps: Deps,
  kind: ResourceKind | undefined,
  call: Parameters<Ledger['resolveServiceTenant']>[0],
): Promise<Caller> {
  let resolved: { tenant_id: string; sub: string }
  try {
    resolved = await deps.ledger.resolveServiceTenant(call)
  } catch (error) {
    if (error instanceof AppError && error.code === 'not_found' && kind !== undefined) throw missing(kind, error)
    throw error
  }
  const { token } = await deps.delegation.mint({
    sub: resolved.sub,
    tenantId: resolved.tenant_id,
    act: { sub: 'service_key' },
  })
  return { userId: resolved.sub, token, tenantId: resolved.tenant_id }
}

/**
 * Middleware form of `resolveCaller`. Once it is known who acts, a POST with an Idempotency-Key is carried out `once`.
 * @param kind what the path parameter `param` names; absent for routes that create or list.
 */
export const actsOn =
  (kind?: ResourceKind, param = 'id'): MiddlewareHandler =>
  async (c, next) => {
    await resolveCaller(c, kind, c.req.param(param))
    const key = c.req.method === 'POST' ? c.req.header('idempotency-key') : undefined
    return key === undefined ? next() : once(c, key, next)
  }

/** Narrows the rest of a request to the tenant of the resource it turned out to act on. */
export function narrowTo(c: Context, tenantId: string): { caller: Caller; db: Db } {
  const { deps, caller } = c.var as AppEnv['Variables']
  const narrowed = { ...caller, tenantId }
  const db = deps.clientFor(narrowed)
  c.set('caller', narrowed)
  c.set('db', db)
  return { caller: narrowed, db }
}
