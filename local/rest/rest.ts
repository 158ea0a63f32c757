import { App } from '@supabase/lite'
import type { Caller } from '../auth/caller.ts'
import { identify } from '../auth/caller.ts'
import type { ResolveApiKey, TokenAuthority } from '../auth/tokens.ts'
import type { SessionDatabase } from '../database/database.ts'
import { EngineConnection, type KnownIntrospections } from './engine-connection.ts'
import { functionTimeouts } from './function-timeouts.ts'
import { isTooDeep } from './json-depth.ts'
import { preRequestCall } from './pre-request.ts'
import { quietly } from './quiet-console.ts'
import { restRefusal, unreadableBody } from './refusals.ts'

export type RestDeps = {
  db: SessionDatabase
  tokens: TokenAuthority
  resolveApiKey: ResolveApiKey
  /** Schemas reachable by Accept-Profile and Content-Profile; the first is the default. */
  schemas: string[]
  /** What has been read from databases that began as the same one. */
  introspections?: KnownIntrospections | undefined
  /** Most rows of one answer. */
  maxRows: number
  log?: (event: string, fields: Record<string, unknown>) => void
}

export type RestService = {
  fetch(request: Request): Promise<Response>
  close(): Promise<void>
}

/** Headers that are credentials. A database function must not be able to read, log or return them. */
const CREDENTIALS = new Set(['authorization', 'apikey', 'cookie', 'proxy-authorization'])

/** `request.headers` as PostgREST sets it, without credentials. */
const settingsHeaders = (headers: Headers): Record<string, string> =>
  Object.fromEntries([...headers].filter(([name]) => !CREDENTIALS.has(name)))

/** The request without its credentials: who calls is settled, and the engine would take `?apikey=` for a filter. */
const withoutCredentials = (request: Request, body: ArrayBuffer | null): Request => {
  const url = new URL(request.url)
  url.searchParams.delete('apikey')
  const headers = new Headers(request.headers)
  for (const name of CREDENTIALS) headers.delete(name)
  // Deleting a parameter writes the others anew; without need that must not happen to filters.
  const bare = new URL(request.url).searchParams.has('apikey') ? url : request.url
  return new Request(bare, { method: request.method, headers, body })
}

/** PostgREST takes a body for JSON if its type is not given. */
const isJson = (headers: Headers): boolean => /json/i.test(headers.get('content-type') ?? 'application/json')

/** The error's code and nothing else: its message may quote row data. */
const codeOf = async (response: Response): Promise<{ code?: unknown }> => {
  try {
    return (await response.clone().json()) as { code?: unknown }
  } catch {
    return {}
  }
}

/** PostgREST under `/rest/v1`: the engine of @supabase/lite behind our own gate, transactions and errors. */
export const createRest = async (deps: RestDeps): Promise<RestService> => {
  const { db, schemas, maxRows, introspections, log = () => {} } = deps
  const connection = new EngineConnection(db, schemas, introspections)
  const callers = new WeakMap<Request, Caller>()
  const app = new App({
    connection,
    auth: { enabled: false },
    storage: { enabled: false },
    studio: { enabled: false },
    api: { enabled: true, schemas, max_rows: maxRows },
    options: {
      server: {
        apiKeys: false,
        middlewares: [
          async (c, next) => {
            const caller = callers.get(c.req.raw)
            if (!caller) return c.json({ message: 'Internal error' }, 500)
            // With these set the engine looks at no token itself.
            c.set('apiKeyType', caller.role === 'service_role' ? 'secret' : 'publishable')
            c.set('ignoreAuthorization', true)
            c.set('jwt', { ...caller.claims, role: caller.role } as never)
            if (typeof caller.claims['sub'] === 'string') c.set('userId', caller.claims['sub'])
            await next()
          },
        ],
      },
    },
  })
  await app.init()
  connection.preRequest = await preRequestCall(db)
  let timeouts = await functionTimeouts(db)
  const stopListening = await db.listen('pgrst', (payload) => {
    if (payload === '' || payload === 'reload schema') {
      void connection.clearSchemaCache()
      db.refreshTypes().catch((error: unknown) => log('rest_types_not_refreshed', { error: String(error) }))
      functionTimeouts(db).then(
        (found) => (timeouts = found),
        (error: unknown) => log('rest_functions_not_read', { error: String(error) }),
      )
    }
    if (payload === 'reload config') {
      preRequestCall(db).then(
        (call) => (connection.preRequest = call),
        (error: unknown) => log('rest_config_not_read', { error: String(error) }),
      )
    }
  })

  return {
    async fetch(request) {
      const identified = await identify(request, deps)
      if ('refusal' in identified) return restRefusal(identified.refusal)
      const { caller } = identified
      const { pathname } = new URL(request.url)
      const path = pathname.replace(/^\/rest\/v1/, '')
      const isRead = request.method === 'GET' || request.method === 'HEAD'
      const schema = request.headers.get(isRead ? 'accept-profile' : 'content-profile') ?? schemas[0]
      const timeout = timeouts.get(path.replace(/^\/rpc\//, `${schema}.`))
      const body = request.body && (await request.arrayBuffer())
      if (body && isJson(request.headers) && isTooDeep(new Uint8Array(body))) return unreadableBody()
      const bare = withoutCredentials(request, body)
      callers.set(bare, caller)
      const context = {
        readOnly: isRead,
        caller: {
          role: caller.role,
          claims: caller.claims,
          headers: settingsHeaders(request.headers),
          settings: {
            'request.method': request.method,
            'request.path': path,
            ...(timeout === undefined ? {} : { statement_timeout: timeout }),
          },
        },
      }
      const response = await quietly(() => connection.forRequest(context, () => app.fetch(bare)))
      if (response.status >= 500) {
        const { code } = await codeOf(response)
        log('rest_failed', { method: request.method, path: pathname, status: response.status, code })
      }
      return response
    },
    async close() {
      await stopListening()
      await connection.close()
    },
  }
}
