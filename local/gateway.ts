import type http from 'node:http'
import type { AddressInfo } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'
import { Hono } from 'hono'

type Fetch = (request: Request) => Promise<Response>

export type GatewayServices = {
  rest: Fetch
  auth: Fetch
  storage: Fetch
  s3: Fetch
  realtime: Fetch
  /** Undefined while no functions run. */
  functions: () => Fetch | undefined
  /** Answers the files of the console, null for what is none of them. */
  console?: ((request: Request) => Response | null) | undefined
}

/** A PostgREST or Auth request is read into memory; Storage and functions stream and have limits of their own. */
const MAX_JSON_BYTES = 32 * 2 ** 20
const METHODS = 'GET,HEAD,POST,PUT,PATCH,DELETE,OPTIONS'
const EXPOSED =
  'Content-Range,Content-Location,Content-Length,Preference-Applied,Location,Link,X-Total-Count,X-Sb-Error-Code,ETag,Accept-Ranges'

const preflight = (request: Request): Response =>
  new Response(null, {
    status: 204,
    headers: {
      'access-control-allow-origin': '*',
      'access-control-allow-methods': METHODS,
      'access-control-allow-headers': request.headers.get('access-control-request-headers') ?? '*',
      'access-control-max-age': '3600',
      vary: 'Access-Control-Request-Headers',
    },
  })

/** Browsers may read every answer: what protects the data is the token, not the origin, as on the platform. */
const readableByBrowsers = (response: Response): Response => {
  if (
    response.headers.get('access-control-allow-origin') === '*' &&
    response.headers.has('access-control-expose-headers')
  ) {
    return response
  }
  const headers = new Headers(response.headers)
  headers.set('access-control-allow-origin', '*')
  headers.set('access-control-expose-headers', EXPOSED)
  headers.delete('access-control-allow-credentials')
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers })
}

/** The request with its body in memory; null when that is too large. */
const readWhole = async (request: Request): Promise<Request | null> => {
  const { method, headers, signal } = request
  if (!request.body) return new Request(request.url, { method, headers, signal })
  if (Number(headers.get('content-length') ?? 0) > MAX_JSON_BYTES) return null
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of request.body) {
    size += chunk.byteLength
    if (size > MAX_JSON_BYTES) return null
    chunks.push(chunk)
  }
  return new Request(request.url, { method, headers, signal, body: Buffer.concat(chunks) })
}

/** One address for all services, as the platform's gateway: sends each request to its service by the path's prefix. */
export const createGateway = (services: GatewayServices): Hono => {
  const app = new Hono()
  app.onError((error) => {
    console.error('gateway:', error)
    return Response.json({ message: 'An unexpected error occurred' }, { status: 500 })
  })
  app.notFound(() => Response.json({ message: 'no Route matched with those values' }, { status: 404 }))

  // No other origin has a reason to read the console, so it comes before what opens the services to all.
  app.get('*', async (c, next) => services.console?.(c.req.raw) ?? next())

  // Functions answer preflights and set their headers themselves, there and here.
  app.all('/functions/v1/*', async (c) => {
    const functions = services.functions()
    if (!functions) return c.json({ code: 'BOOT_ERROR', message: 'Functions are not running' }, 503)
    return functions(c.req.raw)
  })

  app.use('*', async (c, next) => {
    if (c.req.method === 'OPTIONS' && c.req.header('access-control-request-method')) return preflight(c.req.raw)
    await next()
    c.res = readableByBrowsers(c.res)
    return undefined
  })
  const inMemory = (service: Fetch) => async (c: { req: { raw: Request } }) => {
    const request = await readWhole(c.req.raw)
    return request
      ? service(request)
      : Response.json({ message: `The request body exceeds ${MAX_JSON_BYTES} bytes` }, { status: 413 })
  }
  app.all('/rest/v1/*', inMemory(services.rest))
  app.all('/auth/v1/*', inMemory(services.auth))
  app.all('/storage/v1/s3', (c) => services.s3(c.req.raw))
  app.all('/storage/v1/s3/*', (c) => services.s3(c.req.raw))
  app.all('/storage/v1/*', (c) => services.storage(c.req.raw))
  app.all('/realtime/v1/*', (c) => services.realtime(c.req.raw))
  return app
}

export type GatewayServer = {
  /** For services that take WebSocket upgrades. */
  server: http.Server
  url: string
  port: number
  close(): Promise<void>
}

/** Longer than clients keep idle connections, so that it is they who close them. */
const KEEP_ALIVE_MS = 75_000

/** Serves `fetch` on the loopback interface. @param port 0 takes any free one. @throws when the port is taken. */
export const serveGateway = async (
  fetch: (request: Request) => Response | Promise<Response>,
  port: number,
): Promise<GatewayServer> => {
  const server = createAdaptorServer({ fetch, overrideGlobalObjects: false }) as http.Server
  server.keepAliveTimeout = KEEP_ALIVE_MS
  // Uploads and streams may take long; the services have limits of their own.
  server.requestTimeout = 0
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', () => {
      server.off('error', reject)
      resolve()
    })
  })
  const address = server.address() as AddressInfo
  return {
    server,
    port: address.port,
    url: `http://127.0.0.1:${address.port}`,
    async close() {
      await new Promise<void>((resolve) => {
        server.close(() => resolve())
        server.closeIdleConnections()
        // Streams that nobody ends would keep the stack from stopping.
        setTimeout(() => server.closeAllConnections(), 500).unref()
      })
    },
  }
}
