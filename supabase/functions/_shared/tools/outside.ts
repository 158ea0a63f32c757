/** The egress guard in the forms that tools, MCP servers and hooks ask for. */
import { EgressError } from '../egress/index.ts'
import type { Egress } from '../egress/index.ts'
import { decodedText } from '../egress/text.ts'
import { AppError } from '../errors.ts'
import type { PostJson } from '../hooks/engine.ts'
import type { McpFetch } from '../mcp/transport.ts'
import type { EgressFetch } from './custom-http.ts'

const MAX_MCP_BYTES = 4 * 1024 * 1024
const MAX_HOOK_BYTES = 256 * 1024
const HOOK_TIMEOUT_MS = 5_000

/** What the guard refuses or could not finish, as an error whose text may be shown. */
function shown(error: unknown): unknown {
  if (!(error instanceof EgressError)) return error
  const code = error.code === 'timeout' ? 'upstream_timeout' : 'upstream_failed'
  return new AppError(code, error.message, { cause: error })
}

/** For custom tools: one request, no redirects. */
export const egressFetchOf =
  (egress: Egress): EgressFetch =>
  async (url, request) => {
    try {
      const answer = await egress.fetch(url, { ...request, maxRedirects: 'manual' })
      return { status: answer.status, headers: answer.headers, text: decodedText(answer) }
    } catch (error) {
      throw shown(error)
    }
  }

/** A stream of bytes from an iterable; leaving it closes what is behind. */
function streamOf(body: AsyncIterable<Uint8Array>, close: () => void): ReadableStream<Uint8Array> {
  const pieces = body[Symbol.asyncIterator]()
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await pieces.next()
      if (done) controller.close()
      else controller.enqueue(value)
    },
    cancel: close,
  })
}

/** Statuses that come without a body, as `Response` insists. */
const BODILESS = [204, 205, 304]

/** For MCP servers: an answer whose body may be an event stream. */
export const mcpFetchOf =
  (egress: Egress): McpFetch =>
  async (url, init) => {
    try {
      const answer = await egress.stream(url, {
        method: init.method ?? 'GET',
        headers: new Headers(init.headers),
        ...(typeof init.body === 'string' ? { body: init.body } : {}),
        ...(init.signal ? { signal: init.signal } : {}),
        // The transport has time limits of its own, below this one.
        timeoutMs: 60_000,
        idleTimeoutMs: 60_000,
        maxBytes: MAX_MCP_BYTES,
        maxRedirects: 'manual',
      })
      const { status, headers } = answer
      if (BODILESS.includes(status)) {
        answer.close()
        return new Response(null, { status, headers })
      }
      if (status < 200 || status > 599) {
        answer.close()
        throw new AppError('upstream_failed', 'The server did not answer in valid HTTP.')
      }
      return new Response(streamOf(answer.body, answer.close), { status, headers })
    } catch (error) {
      throw shown(error)
    }
  }

/** For hooks: JSON there and back. */
export const postJsonOf =
  (egress: Egress): PostJson =>
  async (url, body, signal) => {
    const request = {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json' },
      body: JSON.stringify(body),
      signal,
      timeoutMs: HOOK_TIMEOUT_MS,
      maxBytes: MAX_HOOK_BYTES,
      maxRedirects: 'manual' as const,
    }
    const answer = await egress.fetch(url, request).catch((error: unknown) => {
      throw shown(error)
    })
    let json: unknown = null
    try {
      json = JSON.parse(answer.text())
    } catch {
      // The engine says that the hook failed.
    }
    return { status: answer.status, json }
  }
