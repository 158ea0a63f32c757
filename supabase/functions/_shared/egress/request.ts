import { EgressError } from './errors.ts'
import { isHeaderName, isHeaderValue } from './http1.ts'
import type { EgressRequest } from './types.ts'

/** A checked request, without the headers that belong to the connection. */
export type PreparedRequest = {
  method: string
  /** Names in lower case. */
  headers: [name: string, value: string][]
  body: Uint8Array | null
}

const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])
const MAX_BODY_BYTES = 10 * 1024 * 1024
const MAX_HEADER_CHARS = 32 * 1024

/** Headers about the connection or the framing: whoever could set them could make two requests out of one. */
const OURS = new Set([
  'accept-encoding',
  'connection',
  'content-encoding',
  'content-length',
  'expect',
  'host',
  'http2-settings',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'via',
])

/** All that is taken along to another origin. Any other header may be a credential, whatever its name. */
const HARMLESS = new Set(['accept', 'accept-language', 'content-language', 'content-type', 'user-agent'])

const bad = (why: string) => new EgressError('bad_request', `The request cannot be sent: ${why}.`)

/** @throws EgressError `bad_request`, `too_large`. */
export function prepareRequest(request: EgressRequest): PreparedRequest {
  const method = request.method ?? 'GET'
  if (!METHODS.has(method)) throw bad('its method is not allowed')
  const given: [string, unknown][] =
    request.headers instanceof Headers ? [...request.headers] : Object.entries(request.headers ?? {})
  const headers: PreparedRequest['headers'] = []
  let chars = 0
  for (const [name, value] of given) {
    if (!isHeaderName(name)) throw bad('a header name holds characters that are not allowed')
    if (typeof value !== 'string' || !isHeaderValue(value)) {
      throw bad(`the header ${name.slice(0, 100)} holds characters that are not allowed`)
    }
    const lower = name.toLowerCase()
    if (OURS.has(lower) || lower.startsWith('proxy-')) continue
    headers.push([lower, value.trim()])
    chars += name.length + value.length + 4
  }
  if (chars > MAX_HEADER_CHARS) throw bad('its headers are too large')
  const body = typeof request.body === 'string' ? new TextEncoder().encode(request.body) : (request.body ?? null)
  if (body !== null && body.byteLength > MAX_BODY_BYTES) {
    throw new EgressError('too_large', `The body of the request is larger than ${MAX_BODY_BYTES} bytes.`)
  }
  return { method, headers, body }
}

/** Where an answer sends its client, or null when it is no redirect. */
export function redirectTarget(status: number, headers: Headers): string | null {
  const location = [301, 302, 303, 307, 308].includes(status) ? headers.get('location') : null
  return location === null ? null : utf8Of(location)
}

/** A header's value, a character for each byte, as UTF-8, as servers send addresses; as it is when it is none. */
function utf8Of(value: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Uint8Array.from(value, (char) => char.charCodeAt(0)))
  } catch {
    return value
  }
}

/** The request that follows a redirect, by the rules of the Fetch standard, with fewer headers to another origin. */
export function afterRedirect(request: PreparedRequest, status: number, leavesOrigin: boolean): PreparedRequest {
  const isPost = request.method === 'POST'
  const isRead = request.method === 'GET' || request.method === 'HEAD'
  const becomesGet = (status === 303 && !isRead) || ((status === 301 || status === 302) && isPost)
  const headers = request.headers.filter(
    ([name]) => (!leavesOrigin || HARMLESS.has(name)) && (!becomesGet || !name.startsWith('content-')),
  )
  return becomesGet ? { method: 'GET', headers, body: null } : { ...request, headers }
}
