/**
 * Custom HTTP tools: rows of `ai.tools`. The model writes the arguments; where they go, with which credentials and in
 * whose name is settled by the row and the run.
 */
import { AppError, describeError } from '../errors.ts'
import type { SecretBox } from '../secrets.ts'
import { secretHost } from '../secrets.ts'
import type { ToolTokens } from '../tool-tokens.ts'
import { TOOL_TOKEN_HEADER, sha256 } from '../tool-tokens.ts'
import {
  DEFAULT_TIMEOUT_SECONDS,
  HTTP_METHODS,
  MAX_TIMEOUT_SECONDS,
  SESSION_TOKEN,
  takesSessionToken,
  visibleSchema,
} from './custom-definition.ts'
import type { HttpMethod } from './custom-definition.ts'
import { createMask } from './masking.ts'
import type { Tool, ToolCallContext, ToolResult } from './types.ts'

/**
 * One request to the outside, through the guard that checks where it goes. Redirects are not followed: credentials are
 * for the endpoint that an admin has named, and the token for its origin. The text is cut at `maxBytes`.
 * @throws AppError when the address is refused or cannot be reached, or the time is over; an abort by `signal` as it is.
 */
export type EgressFetch = (
  url: string,
  request: {
    method: HttpMethod
    headers: Record<string, string>
    body: string
    signal: AbortSignal
    timeoutMs: number
    /** Milliseconds without a byte. */
    idleTimeoutMs: number
    maxBytes: number
  },
) => Promise<{ status: number; headers: Headers; text: string }>

/** A custom tool as `run_configuration` gives it. */
export type CustomToolRow = {
  tool_id: string
  name: string
  description: string | null
  input_schema: Record<string, unknown>
  config: Record<string, unknown>
  /** Ciphertext of a secret box, or null. */
  secret_headers: string | null
}

export type CustomToolDeps = { egress: EgressFetch; secrets: SecretBox; tokens: ToolTokens }

/** Characters of an answer that the model gets. */
export const CUSTOM_RESULT_CHARS = 10_000
/** Bytes that are read of an answer: that many characters, however wide, and room for what masking takes out. */
const MAX_BYTES = 64 * 1024

const failed = (text: string): ToolResult => ({ text, isError: true })

/** Whether `__proto__` is a name in it: harmless to us, but not to every endpoint that merges what it gets. */
function namesPrototype(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  return Object.hasOwn(value, '__proto__') || Object.values(value).some(namesPrototype)
}

/** Text that can be stored, at most so many characters of it, no character cut in half. */
function presentable(text: string): string {
  const cut = text.length > CUSTOM_RESULT_CHARS ? text.slice(0, CUSTOM_RESULT_CHARS) : text
  const whole = cut.length < text.length ? cut.replace(/[\ud800-\udbff]$/, '') : cut
  return whole.replace(/\0|\p{Surrogate}/gu, '\ufffd')
}

function settingsOf({ config }: CustomToolRow) {
  const endpoint = String(config['endpoint'])
  const method = HTTP_METHODS.find((known) => known === String(config['method'] ?? 'POST').toUpperCase()) ?? 'POST'
  const timeout = Number(config['timeout_seconds'] ?? DEFAULT_TIMEOUT_SECONDS)
  const timeoutSeconds = timeout > 0 && timeout <= MAX_TIMEOUT_SECONDS ? timeout : DEFAULT_TIMEOUT_SECONDS
  const { retry_safe: retrySafe } = config
  return {
    endpoint,
    method,
    timeoutMs: timeoutSeconds * 1000,
    forwardsUser: config['forward_user_jwt'] === true,
    isRetrySafe: typeof retrySafe === 'boolean' ? retrySafe : method === 'GET',
  }
}

/** The tool of a row, ready to be called. @throws TypeError when its endpoint is no URL. */
export function createCustomTool(row: CustomToolRow, deps: CustomToolDeps): Tool {
  const { endpoint, method, timeoutMs, forwardsUser, isRetrySafe } = settingsOf(row)
  const audience = new URL(endpoint).origin
  const fillsSessionToken = row.config['session_token'] === true || takesSessionToken(row.input_schema)

  const secretHeaders = (tenantId: string): Promise<Record<string, string>> =>
    row.secret_headers === null
      ? Promise.resolve({})
      : deps.secrets.open(row.secret_headers, { tenantId, kind: 'tool', id: row.tool_id, host: secretHost(endpoint) })

  /** The request's body and headers, and all in them that must not come back. */
  async function prepare(args: Record<string, unknown>, { principal, callId, idempotencyKey }: ToolCallContext) {
    const { tenantId, userId, agentId, runId } = principal
    const mint = async (body: string) =>
      deps.tokens.mint({
        tenantId,
        userId,
        agentId,
        runId,
        callId,
        tool: row.name,
        audience,
        argumentsHash: await sha256(body),
      })
    const headers: Record<string, string> = {
      accept: 'application/json, text/plain, */*',
      'idempotency-key': idempotencyKey,
    }
    const credentials: string[] = []
    for (const [name, value] of Object.entries(await secretHeaders(tenantId))) {
      headers[name.toLowerCase()] = value
      credentials.push(value)
    }
    let body = JSON.stringify(args)
    if (fillsSessionToken) {
      // A token of its own, bound to the arguments as the model wrote them: the other one is bound to this body.
      const sessionToken = await mint(body)
      credentials.push(sessionToken)
      body = JSON.stringify({ ...args, [SESSION_TOKEN]: sessionToken })
    }
    if (forwardsUser) {
      // Never the person's own: that is good in each of their tenants, and for longer.
      const authorization = `Bearer ${(await principal.actingCaller()).token}`
      credentials.push(authorization)
      headers['authorization'] = authorization
    }
    const token = await mint(body)
    credentials.push(token)
    headers['content-type'] = 'application/json'
    headers[TOOL_TOKEN_HEADER] = token
    return { body, headers, mask: createMask(credentials) }
  }

  async function execute(args: Record<string, unknown>, context: ToolCallContext): Promise<ToolResult> {
    if (Object.hasOwn(args, SESSION_TOKEN)) {
      return failed(`${SESSION_TOKEN} is not an argument of this tool. Leave it out; it is filled in by the system.`)
    }
    if (namesPrototype(args)) return failed('An argument must not be called __proto__.')
    const startedAt = Date.now()
    const log = (outcome: Record<string, unknown>) =>
      context.log.info('custom_tool_called', {
        tool_id: row.tool_id,
        call_id: context.callId,
        duration_ms: Date.now() - startedAt,
        ...outcome,
      })
    let mask = (text: string) => text
    try {
      const request = await prepare(args, context)
      mask = request.mask
      const { status, text } = await deps.egress(endpoint, {
        method,
        headers: request.headers,
        body: request.body,
        signal: context.signal,
        timeoutMs,
        // A tool may think for as long as it has.
        idleTimeoutMs: timeoutMs,
        maxBytes: MAX_BYTES,
      })
      log({ status })
      const shown = presentable(mask(text))
      if (status >= 200 && status < 300) return { text: shown }
      return failed(shown === '' ? `The tool answered with HTTP ${status}.` : `HTTP ${status}: ${shown}`)
    } catch (error) {
      context.signal.throwIfAborted()
      log({ code: error instanceof AppError ? error.code : 'internal' })
      if (error instanceof AppError) return failed(mask(error.message))
      context.log.error('custom_tool_failed', { call_id: context.callId, error: mask(describeError(error)) })
      return failed('The tool could not be called.')
    }
  }

  return {
    kind: 'custom',
    name: row.name,
    description: row.description ?? '',
    inputSchema: visibleSchema(row.input_schema),
    isConcurrencySafe: method === 'GET',
    isRetrySafe,
    effects: method === 'GET' ? ['reads_untrusted', 'egress'] : ['reads_untrusted', 'writes', 'egress'],
    // Cut here, after masking: a cut made later could leave half of a credential.
    maxResultChars: null,
    execute,
  }
}
