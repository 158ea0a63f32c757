import { AppError } from '../errors.ts'
import { McpError, fromEgress } from './errors.ts'
import { readAnswer, unlessAborted } from './json-rpc.ts'
import type { RpcMessage } from './json-rpc.ts'

/** A request as it leaves: everything `fetch` needs, and nothing else. */
export type McpRequestInit = {
  method: 'POST' | 'DELETE'
  headers: Record<string, string>
  body?: string
  /** A redirect would take the credentials to an address that nobody approved. */
  redirect: 'manual'
  signal: AbortSignal
}

/** The way out: the egress guard. @throws EgressError or AppError when it refuses the address. */
export type McpFetch = (url: string, init: McpRequestInit) => Promise<Response>

/** Where a server is, and what opens it. */
export type McpEndpoint = {
  url: string
  /** Sent with every request; secrets among them. */
  headers: Readonly<Record<string, string>>
}

/** What a session has agreed on. */
export type McpSession = { id: string | null; protocolVersion: string | null }

const SESSION_ID = /^[\x21-\x7e]{1,512}$/
/** Requests of a server that are answered while it works on one of ours; a server that asks more gets no more answers. */
const MAX_SERVER_REQUESTS = 10
const METHOD_NOT_FOUND = -32601

/** Headers of a request; the protocol's own go before those of the endpoint. @throws McpError `malformed`. */
function headersOf(
  endpoint: McpEndpoint,
  session: McpSession,
  more: Readonly<Record<string, string>>,
): Record<string, string> {
  let headers: Headers
  try {
    headers = new Headers({ ...endpoint.headers })
    for (const [name, value] of Object.entries(more)) headers.set(name, value)
  } catch (error) {
    throw new McpError('malformed', 'has headers that cannot be sent', { cause: error })
  }
  for (const name of ['mcp-session-id', 'mcp-protocol-version', 'host', 'content-length', 'connection']) {
    headers.delete(name)
  }
  headers.set('accept', 'application/json, text/event-stream')
  headers.set('content-type', 'application/json')
  if (session.id !== null) headers.set('mcp-session-id', session.id)
  if (session.protocolVersion !== null) headers.set('mcp-protocol-version', session.protocolVersion)
  return Object.fromEntries(headers)
}

/** @throws McpError by status; the body is not looked at, because an error page is nobody's answer. */
function checkStatus(response: Response, session: McpSession): void {
  if (response.ok) return
  void response.body?.cancel().catch(() => {})
  const { status } = response
  if (status === 404 && session.id !== null) throw new McpError('session_lost', 'has ended the session')
  if (status === 401 || status === 403) {
    throw new McpError('refused', `does not accept the credentials it was given (HTTP ${status})`)
  }
  if ((status >= 300 && status < 400) || response.type === 'opaqueredirect') {
    throw new McpError('refused', 'redirects to another address; its own address has to be configured')
  }
  throw new McpError('refused', `answered with HTTP ${status}`)
}

/** Sends what is no question: a notification, or an answer to the server. @throws as `post`. */
export async function notify(
  endpoint: McpEndpoint,
  session: McpSession,
  message: { method: string; params?: unknown } | { id: string | number; result?: unknown; error?: unknown },
  fetchWith: McpFetch,
  signal: AbortSignal,
): Promise<void> {
  const response = await post(endpoint, session, message, undefined, fetchWith, signal)
  checkStatus(response, session)
  void response.body?.cancel().catch(() => {})
}

async function post(
  endpoint: McpEndpoint,
  session: McpSession,
  message: Record<string, unknown>,
  headersFor: HeadersFor | undefined,
  fetchWith: McpFetch,
  signal: AbortSignal,
): Promise<Response> {
  const body = JSON.stringify({ jsonrpc: '2.0', ...message })
  const init: McpRequestInit = {
    method: 'POST',
    headers: headersOf(endpoint, session, (await headersFor?.(body)) ?? {}),
    body,
    redirect: 'manual',
    signal,
  }
  return sent(() => fetchWith(endpoint.url, init), signal)
}

/** Failures of the way out as ours; what the egress guard says is passed on. */
async function sent(send: () => Promise<Response>, signal: AbortSignal): Promise<Response> {
  try {
    return await unlessAborted(send(), signal)
  } catch (error) {
    if (signal.aborted) throw signal.reason
    if (error instanceof AppError || error instanceof McpError) throw error
    throw fromEgress(error) ?? new McpError('unreachable', 'cannot be reached', { cause: error })
  }
}

/** Headers that belong to one body, e.g. a token that is bound to its hash. */
export type HeadersFor = (body: string) => Promise<Readonly<Record<string, string>>>

/** One question to a server. */
export type McpQuestion = {
  id: number
  method: string
  params?: unknown
  /** Makes headers for this request alone, from the body as it is sent. */
  headersFor?: HeadersFor | undefined
  /** Bytes that the answer may have. */
  maxBytes: number
}

/**
 * Asks and waits for the answer.
 * @returns the result, and the session id that came with it.
 * @throws McpError; AppError when the egress guard refuses; the reason of `signal`.
 */
export async function ask(
  endpoint: McpEndpoint,
  session: McpSession,
  { id, method, params, headersFor, maxBytes }: McpQuestion,
  fetchWith: McpFetch,
  signal: AbortSignal,
): Promise<{ result: unknown; sessionId: string | null }> {
  const question = { id, method, ...(params === undefined ? {} : { params }) }
  const response = await post(endpoint, session, question, headersFor, fetchWith, signal)
  checkStatus(response, session)
  let answered = 0
  const onOther = (message: RpcMessage) => {
    // A ping wants an answer. Everything else that a server may ask of a client, e.g. to ask our model, we do not do.
    if (message.id === undefined || message.id === null || ++answered > MAX_SERVER_REQUESTS) return
    const answer =
      message.method === 'ping' ? { result: {} } : { error: { code: METHOD_NOT_FOUND, message: 'Method not found' } }
    void notify(endpoint, session, { id: message.id, ...answer }, fetchWith, signal).catch(() => {})
  }
  const { error, result } = await readAnswer(response, { id, maxBytes, signal, onOther })
  if (error) {
    throw new McpError('rpc_error', `answered with error ${Math.trunc(error.code)}`, {
      code: error.code,
      detail: error.message,
    })
  }
  const sessionId = response.headers.get('mcp-session-id')
  if (sessionId !== null && !SESSION_ID.test(sessionId)) {
    throw new McpError('malformed', 'sent a session id that is none')
  }
  return { result, sessionId }
}

/** Ends the session on the server; one that does not support that, or is gone, is left alone. */
export async function endSession(
  endpoint: McpEndpoint,
  session: McpSession,
  fetchWith: McpFetch,
  signal: AbortSignal,
): Promise<void> {
  if (session.id === null) return
  const { 'content-type': _type, ...headers } = headersOf(endpoint, session, {})
  const init: McpRequestInit = { method: 'DELETE', headers, redirect: 'manual', signal }
  try {
    const response = await unlessAborted(fetchWith(endpoint.url, init), signal)
    void response.body?.cancel().catch(() => {})
  } catch {
    // Sessions expire by themselves.
  }
}
