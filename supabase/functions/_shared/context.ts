import { createClient } from '@supabase/supabase-js'
import type { SupabaseClient } from '@supabase/supabase-js'
import { createMiddleware } from 'hono/factory'
import type { Identity } from './auth.ts'
import type { Delegation } from './delegation.ts'
import type { Log } from './errors.ts'
import { AppError } from './errors.ts'
import { isUuid } from './ids.ts'
import type { Ledger, ResourceKind } from './ledger.ts'
import type { ObjectStore } from './object-store.ts'
import type { ChatProvider, Embedder } from './providers/index.ts'

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
  log: Log
}

/** Deps of functions that keep files. */
export type WithObjects = { objects: ObjectStore }
/** Deps of functions that call models. */
export type WithModels = { chat: ChatProvider; embedder: Embedder }

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
        fetch: (input, init) => fetch(input, { ...init, signal: withTimeout(init?.signal, DATABASE_TIMEOUT_MS) }),
      },
    })
}

/** A signal that fires with `signal` or after `ms` milliseconds. */
export function withTimeout(signal: AbortSignal | null | undefined, ms: number): AbortSignal {
  const timeout = AbortSignal.timeout(ms)
  return signal ? AbortSignal.any([signal, timeout]) : timeout
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

/** Finds out who is calling; mounted before every route but health. */
export const identify = createMiddleware<AppEnv>(async (c, next) => {
  c.set('identity', await c.var.deps.verifyCaller(c.req.header('authorization')))
  await next()
})

/** How a missing resource of each kind is reported to a service-key caller. */
const MISSING: Record<ResourceKind, string> = {
  agent: 'Agent not found',
  source: 'Source not found',
  knowledge_base: 'Knowledge base not found',
  indexed_source: 'Indexed source not found',
  session: 'Session not found',
  run: 'Run not found',
}

const headerUuid = (value: string | undefined, name: string): string | null => {
  if (value === undefined) return null
  if (!isUuid(value)) throw new AppError('invalid_request', `The header ${name} must be a UUID.`)
  return value.toLowerCase()
}

/**
 * Settles on whose behalf a route acts and puts `caller` and `db` into the context. For a service-key caller the tenant
 * is that of the resource named by the path, else the x-tenant-id header, else the default; the database decides.
 * @param kind what the path parameter `param` names; absent for routes that create or list.
 */
export function actsOn(kind?: ResourceKind, param = 'id') {
  return createMiddleware<AppEnv>(async (c, next) => {
    const { deps, identity } = c.var
    const tenantId = headerUuid(c.req.header('x-tenant-id'), 'x-tenant-id')
    const actAsUser = headerUuid(c.req.header('x-act-as-user'), 'x-act-as-user')
    let caller: Caller
    if (identity.kind === 'user') {
      if (actAsUser !== null) {
        throw new AppError('forbidden', 'Only a service-key caller may send x-act-as-user.')
      }
      caller = { userId: identity.userId, token: identity.token, tenantId }
    } else {
      caller = await delegatedCaller(deps, {
        kind: kind ?? null,
        resourceId: kind ? (c.req.param(param) ?? null) : null,
        tenantHeader: tenantId,
        actAsUser,
      })
    }
    c.set('caller', caller)
    c.set('db', deps.clientFor(caller))
    await next()
  })
}

async function delegatedCaller(
  deps: Deps,
  call: { kind: ResourceKind | null; resourceId: string | null; tenantHeader: string | null; actAsUser: string | null },
): Promise<Caller> {
  let resolved: { tenant_id: string; sub: string }
  try {
    resolved = await deps.ledger.resolveServiceTenant({ ...call, defaultTenant: deps.defaultTenant })
  } catch (error) {
    if (error instanceof AppError && error.code === 'not_found' && call.kind !== null) {
      throw new AppError('not_found', MISSING[call.kind], { cause: error })
    }
    throw error
  }
  const { token } = await deps.delegation.mint({
    sub: resolved.sub,
    tenantId: resolved.tenant_id,
    act: { sub: 'service_key' },
  })
  return { userId: resolved.sub, token, tenantId: resolved.tenant_id }
}
