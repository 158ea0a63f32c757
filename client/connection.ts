import type { SupabaseClient } from '@supabase/supabase-js'
import type { Database } from './database.types.ts'
import { BulkheadError, errorFromPostgrest, errorFromResponse } from './errors.ts'

/** The client of any schema set: the app may have typed it with its own tables as well. */
export type AnyClient = SupabaseClient<Database> | SupabaseClient

/** A request to one of the functions. */
export type FunctionRequest = {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  body?: FormData | Record<string, unknown>
  signal?: AbortSignal | undefined
}

/** What an RPC or a query of supabase-js gives, as far as it is read here. */
type Answer = PromiseLike<{
  data: unknown
  status: number
  error: { code?: string; message: string; details?: string | null; hint?: string | null } | null
}> & { setHeader(name: string, value: string): unknown }

/** How the typed client speaks to the project. */
export type Connection = {
  readonly supabase: AnyClient
  /** Calls a function, e.g. `api/agents`. @throws BulkheadError */
  call(path: string, request: FunctionRequest): Promise<unknown>
  /** The same for an answer that is streamed. @throws BulkheadError */
  open(path: string, request: FunctionRequest): Promise<ReadableStream<Uint8Array>>
  /** Calls a function of the database. @throws BulkheadError */
  rpc<Result>(schema: 'public' | 'ai', name: string, args?: Record<string, unknown>): Promise<Result>
  /** Sends a query over tables, in the tenant of this client. @throws BulkheadError */
  query<Result>(query: Answer): Promise<Result>
  /** The tenant that is meant: the one named, that of this client, or the only one. @throws BulkheadError `tenant_required`, `forbidden` */
  tenant(named?: string): Promise<string>
}

/** @param tenantId the tenant every request acts in; it can only narrow. */
export function connect(supabase: AnyClient, tenantId: string | undefined): Connection {
  const headers: Record<string, string> = tenantId ? { 'x-tenant-id': tenantId } : {}

  async function call(path: string, request: FunctionRequest): Promise<unknown> {
    // Never `timeout` beside `signal`: supabase-js lets go of the signal once the headers are there.
    const { data, error } = await supabase.functions.invoke(path, {
      method: request.method,
      headers,
      ...(request.body === undefined ? {} : { body: request.body }),
      ...(request.signal === undefined ? {} : { signal: request.signal }),
    })
    if (!error) return data
    request.signal?.throwIfAborted()
    const context: unknown = (error as { context?: unknown }).context
    if (context instanceof Response) throw await errorFromResponse(context)
    throw new BulkheadError(error.message, { code: 'network', status: 0 })
  }

  async function query<Result>(request: Answer): Promise<Result> {
    if (tenantId) request.setHeader('x-tenant-id', tenantId)
    const { data, error, status } = await request
    if (error) throw errorFromPostgrest(error, status)
    return data as Result
  }

  return {
    supabase,
    call,
    query,
    async open(path, request) {
      const response = await call(path, request)
      if (response instanceof Response && response.body) return response.body
      throw new BulkheadError('The server did not stream an answer.', { code: 'invalid_response', status: 502 })
    },
    rpc(schema, name, args = {}) {
      const known = Object.fromEntries(Object.entries(args).filter(([, value]) => value !== undefined))
      return query((supabase as SupabaseClient).schema(schema).rpc(name, known))
    },
    async tenant(named) {
      if (named ?? tenantId) return (named ?? tenantId) as string
      const tenants = await query<{ id: string }[]>(
        (supabase as SupabaseClient).schema('public').from('tenants').select('id').limit(2),
      )
      if (tenants.length === 1 && tenants[0]) return tenants[0].id
      throw tenants.length === 0
        ? new BulkheadError('You are not a member of any tenant.', { code: 'forbidden', status: 403 })
        : new BulkheadError('You are a member of several tenants: name one.', { code: 'tenant_required', status: 400 })
    },
  }
}

/** The tables of a schema, without the types of an app's own client. */
export const tablesOf = ({ supabase }: Connection, schema: 'public' | 'ai') =>
  (supabase as SupabaseClient).schema(schema)

/** `?a=1&b=2` of what is defined. */
export function searchParams(values: Record<string, string | number | undefined>): string {
  const given = Object.entries(values).flatMap(([key, value]) => (value === undefined ? [] : [[key, String(value)]]))
  return given.length === 0 ? '' : `?${new URLSearchParams(given).toString()}`
}
