import type { Egress, EgressResponse } from '../egress/index.ts'
import { failureResult } from '../egress/service.ts'
import { clip, mediaType, readableText } from '../egress/text.ts'
import type { Tool } from './types.ts'

const MAX_CHARS = 10_000
/** A character of UTF-8 has at most four bytes. */
const MAX_BYTES = 4 * MAX_CHARS
const TIMEOUT_MS = 30_000
/** Headers of an answer that tell a model something it can use. */
const SHOWN_HEADERS = ['content-type', 'location', 'retry-after', 'link', 'etag', 'last-modified']

const inputSchema = {
  type: 'object',
  properties: {
    url: { type: 'string', description: 'Complete https URL of a public host.' },
    method: { type: 'string', enum: ['GET', 'POST', 'PUT', 'DELETE'], default: 'GET' },
    headers: {
      type: 'object',
      additionalProperties: { type: 'string' },
      description: 'Request headers. Nothing is added on behalf of the user: no credentials, no cookies.',
    },
    body: {
      type: ['string', 'object', 'array', 'null'],
      description: 'Request body: a text, or a JSON value that is sent as JSON.',
    },
  },
  required: ['url'],
  additionalProperties: false,
}

const isJson = (text: string): boolean => {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/** The body as it is sent, and its type where the model has named none. */
function encodeBody(body: unknown): { body: string; type: string } | null {
  if (body === undefined || body === null || body === '') return null
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  return { body: text, type: isJson(text) ? 'application/json' : 'text/plain; charset=utf-8' }
}

function describe(answer: EgressResponse, askedUrl: string): string {
  const lines = [`HTTP ${answer.status}`]
  if (answer.url !== askedUrl) lines.push(`url: ${answer.url}`)
  for (const name of SHOWN_HEADERS) {
    const value = answer.headers.get(name)
    if (value !== null) lines.push(`${name}: ${value.slice(0, 500)}`)
  }
  const text = readableText(answer)
  const size = `${answer.truncated ? 'more than ' : ''}${answer.body.byteLength} bytes`
  lines.push('', text ?? `[${size} of ${mediaType(answer) || 'an unknown type'} that are not text]`)
  // Cut by bytes, yet short in characters: the end is missing all the same.
  if (answer.truncated && text !== null && text.length < MAX_CHARS)
    lines.push('[Cut off: only the beginning is shown.]')
  return clip(lines.join('\n'), MAX_CHARS)
}

/**
 * The built-in tool `http_request`: GET, POST, PUT or DELETE to a public host by the egress rules. The run's own token,
 * cookies or keys are never sent. Requests other than GET name run and call in `Idempotency-Key`, so that a receiver can
 * tell a repeated one. An answer with a status of 400 or more is marked as an error.
 */
export function createHttpRequest(egress: Egress): Tool {
  return {
    kind: 'builtin',
    name: 'http_request',
    description:
      'Sends an HTTP request to a public https URL and returns the status, the important headers and the beginning of the body (at most 10,000 characters).',
    inputSchema,
    isConcurrencySafe: false,
    // DELETE and PUT repeat well by their definition, but not by everybody's.
    isRetrySafe: ({ method = 'GET' }) => method === 'GET',
    effects: ['egress', 'reads_untrusted'],
    maxResultChars: MAX_CHARS,
    async execute(args, context) {
      const {
        url,
        method = 'GET',
        headers = {},
      } = args as { url: string; method?: string; headers?: Record<string, string> }
      const encoded = encodeBody(args['body'])
      const names = Object.keys(headers).map((name) => name.toLowerCase())
      // A key the model was told to use is the receiver's, and as good as ours.
      const isKeyed = method === 'GET' || names.includes('idempotency-key')
      const key: Record<string, string> = isKeyed ? {} : { 'idempotency-key': context.idempotencyKey }
      const type: Record<string, string> =
        encoded === null || names.includes('content-type') ? {} : { 'content-type': encoded.type }
      try {
        const answer = await egress.fetch(url, {
          method,
          headers: { ...headers, ...type, ...key },
          body: encoded?.body ?? null,
          signal: context.signal,
          timeoutMs: TIMEOUT_MS,
          idleTimeoutMs: TIMEOUT_MS,
          maxBytes: MAX_BYTES,
        })
        return { text: describe(answer, url), ...(answer.status >= 400 ? { isError: true } : {}) }
      } catch (error) {
        return failureResult(error)
      }
    },
  }
}
