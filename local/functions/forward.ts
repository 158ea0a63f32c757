import http from 'node:http'
import { Readable } from 'node:stream'
import type { ReadableStream as NodeReadableStream } from 'node:stream/web'

/** Headers that describe one connection and not the message (RFC 9110, section 7.6.1). */
const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])
const WITHOUT_BODY = new Set([204, 205, 304])

/**
 * Sends a request to a server on a loopback port and answers with its response. Bodies stream both ways, without a
 * limit in time; when the caller gives up, the connection to the server ends too.
 *
 * Node's `fetch` is not used because it gives up on a silent stream after five minutes and unpacks compressed bodies.
 *
 * @param onEnd called once, when the exchange is over in whatever way
 * @throws Error when there is no answer (connection refused, server ended)
 */
export function forward(request: Request, port: number, path: string, onEnd: () => void): Promise<Response> {
  return new Promise((resolve, reject) => {
    const upstream = http.request({
      agent: false, // a new connection each time: a kept one may belong to a process that has been replaced
      host: '127.0.0.1',
      port,
      method: request.method,
      path,
      headers: requestHeaders(request),
    })
    const abandon = () => void upstream.destroy(new Error('The caller closed the connection.'))
    const end = () => {
      request.signal.removeEventListener('abort', abandon)
      onEnd()
    }
    upstream.once('close', end)
    upstream.once('error', reject)
    upstream.on('error', () => {}) // later ones reach the caller as a broken body
    upstream.once('response', (incoming) => resolve(toResponse(request.method, incoming)))

    if (request.signal.aborted) abandon()
    else request.signal.addEventListener('abort', abandon)

    if (!request.body) upstream.end()
    else {
      const body = Readable.fromWeb(request.body as NodeReadableStream)
      body.once('error', abandon)
      upstream.once('close', () => body.destroy())
      body.pipe(upstream)
    }
  })
}

function requestHeaders(request: Request): http.OutgoingHttpHeaders {
  const headers: http.OutgoingHttpHeaders = { host: new URL(request.url).host }
  for (const [name, value] of request.headers) if (!HOP_BY_HOP.has(name)) headers[name] = value
  return headers
}

function toResponse(method: string, incoming: http.IncomingMessage): Response {
  const headers = new Headers()
  for (let i = 0; i + 1 < incoming.rawHeaders.length; i += 2) {
    const name = incoming.rawHeaders[i] as string
    if (!HOP_BY_HOP.has(name.toLowerCase())) headers.append(name, incoming.rawHeaders[i + 1] as string)
  }
  const status = incoming.statusCode ?? 502
  if (method === 'HEAD' || WITHOUT_BODY.has(status)) {
    incoming.resume()
    return new Response(null, { status, headers })
  }
  return new Response(Readable.toWeb(incoming) as ReadableStream<Uint8Array>, { status, headers })
}
