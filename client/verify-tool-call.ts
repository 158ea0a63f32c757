/**
 * For the backend that a custom tool calls: who is asking, and is it really Bulkhead that calls. Copy this file; it needs
 * nothing but `jose` (6), and runs on Node, Deno and wherever else there are Request and Web Crypto.
 *
 *     const call = await verifyToolCall(request, {
 *       jwksUrl: 'https://<project>.supabase.co/auth/v1/.well-known/jwks.json',
 *       issuer: 'https://<project>.supabase.co/auth/v1',
 *       audience: 'https://tools.example.com', // the origin of your endpoint
 *       tool: 'search_saved_articles',
 *     })
 *     const articles = await findArticles({ owner: call.userId, text: call.arguments.query })
 *
 * Take the person from `userId`, never from the arguments: those were written by a model.
 */
import { createLocalJWKSet, createRemoteJWKSet, errors, jwtVerify } from 'jose'
import type { JSONWebKeySet, JWTPayload, JWTVerifyGetKey } from 'jose'

/** Request header that carries the token. */
export const TOOL_TOKEN_HEADER = 'x-bulkhead-tool-token'

/** A call that Bulkhead has made on behalf of a person. */
export type ToolCall = {
  /** Id of the person the agent acts for. */
  userId: string
  tenantId: string
  agentId: string
  runId: string
  /** Id of this call in its run: the same call is never made twice with one token. */
  callId: string
  tool: string
  /** The JSON body, without `session_token`. */
  arguments: Record<string, unknown>
}

/** What is wrong with a call. All but `keys_unavailable` (answer 503) and `burn_failed` (500) mean: answer 401. */
export type ToolCallErrorCode =
  | 'token_missing'
  | 'token_malformed'
  | 'token_algorithm'
  | 'token_signature'
  | 'token_type'
  | 'token_issuer'
  | 'token_audience'
  | 'token_expired'
  | 'token_claims'
  | 'token_tool'
  | 'token_used'
  | 'body_mismatch'
  | 'keys_unavailable'
  | 'burn_failed'

/** Thrown by `verifyToolCall`. The message is fit to be sent back; it quotes neither token nor body. */
export class ToolCallError extends Error {
  readonly code: ToolCallErrorCode
  /** Status to answer with. */
  readonly status: 401 | 500 | 503

  constructor(code: ToolCallErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = 'ToolCallError'
    this.code = code
    this.status = code === 'keys_unavailable' ? 503 : code === 'burn_failed' ? 500 : 401
  }
}

/** A request: the web's own, or what a server framework has of it. `body` must be the bytes as they came, not parsed. */
export type ToolCallRequest =
  | Request
  | { headers: Headers | Record<string, string | string[] | undefined>; body: string | Uint8Array }

export type VerifyToolCallOptions = {
  /** Where the project publishes its keys; they are kept for ten minutes. This or `jwks` is needed. */
  jwksUrl?: string | URL
  jwks?: JSONWebKeySet
  /** `https://<project>/auth/v1`. */
  issuer: string | string[]
  /** The origin under which Bulkhead calls your endpoint. */
  audience: string | string[]
  /** Name of the tool behind this endpoint. Without it, a call of another tool of the same origin is accepted as well. */
  tool?: string
  /**
   * Marks a token as used until `expiresAt`; false when it was used before. It must decide in one step, as `insert ... on
   * conflict do nothing` does. Default: the memory of this process, which is enough as long as there is only one.
   */
  burn?: (jti: string, expiresAt: Date) => Promise<boolean>
  /**
   * `session_token` takes the token from that field of the body instead of the header, where a framework shows only the
   * body. Default `header`.
   */
  tokenFrom?: 'header' | 'session_token'
}

/** Seconds a token may be good for, and seconds by which clocks may differ. */
const MAX_LIFETIME_S = 60
const CLOCK_SKEW_S = 5
/** Tokens remembered by the default `burn`. It refuses when there are more: forgetting one would let it be used again. */
const MAX_REMEMBERED = 50_000

/**
 * A `burn` that remembers in this process.
 * @param capacity how many unexpired tokens; beyond it calls are refused.
 */
export function createMemoryBurn(capacity = MAX_REMEMBERED): (jti: string, expiresAt: Date) => Promise<boolean> {
  const used = new Map<string, number>()
  return async (jti, expiresAt) => {
    if (used.has(jti)) return false
    if (used.size >= capacity) {
      const now = Date.now()
      for (const [key, until] of used) if (until <= now) used.delete(key)
      if (used.size >= capacity) throw new Error('More calls than can be remembered.')
    }
    used.set(jti, expiresAt.getTime())
    return true
  }
}

const rememberHere = createMemoryBurn()
const keySets = new Map<string, JWTVerifyGetKey>()

function keysOf({ jwksUrl, jwks }: VerifyToolCallOptions): JWTVerifyGetKey {
  if (jwks !== undefined) return createLocalJWKSet(jwks)
  if (jwksUrl === undefined) throw new TypeError('verifyToolCall needs jwksUrl or jwks.')
  let keys = keySets.get(String(jwksUrl))
  if (keys === undefined) {
    keys = createRemoteJWKSet(new URL(jwksUrl))
    keySets.set(String(jwksUrl), keys)
  }
  return keys
}

function headerOf({ headers }: ToolCallRequest, name: string): string | undefined {
  if (headers instanceof Headers) return headers.get(name) ?? undefined
  const entry = Object.entries(headers).find(([key]) => key.toLowerCase() === name)
  return Array.isArray(entry?.[1]) ? undefined : entry?.[1]
}

async function bodyOf(request: ToolCallRequest): Promise<Uint8Array> {
  if (request instanceof Request) return new Uint8Array(await request.arrayBuffer())
  return typeof request.body === 'string' ? new TextEncoder().encode(request.body) : request.body
}

function parsed(body: Uint8Array): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body))
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  } catch {
    // Said below.
  }
  throw new ToolCallError('body_mismatch', 'The body is not a JSON object.')
}

async function sha256(body: Uint8Array): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', new Uint8Array(body)))
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

const CLAIM_ERRORS: Record<string, [ToolCallErrorCode, string]> = {
  typ: ['token_type', 'This is no tool token.'],
  iss: ['token_issuer', 'The tool token is of another issuer.'],
  aud: ['token_audience', 'The tool token is for another audience.'],
}

/** What jose met, in our terms. */
function tokenError(error: unknown): ToolCallError {
  if (error instanceof errors.JWTExpired)
    return new ToolCallError('token_expired', 'The tool token has expired.', error)
  if (error instanceof errors.JWTClaimValidationFailed) {
    const [code, message] = CLAIM_ERRORS[error.claim] ?? ['token_claims', 'The tool token has unexpected claims.']
    return new ToolCallError(code, message, error)
  }
  if (error instanceof errors.JOSEAlgNotAllowed) {
    return new ToolCallError('token_algorithm', 'The tool token is not signed with ES256.', error)
  }
  if (error instanceof errors.JWSSignatureVerificationFailed || error instanceof errors.JWKSNoMatchingKey) {
    return new ToolCallError('token_signature', 'The tool token is not signed by this project.', error)
  }
  const isAboutToken =
    error instanceof errors.JWSInvalid || error instanceof errors.JWTInvalid || error instanceof errors.JOSENotSupported
  if (isAboutToken) return new ToolCallError('token_malformed', 'The tool token is malformed.', error)
  return new ToolCallError('keys_unavailable', 'The signing keys cannot be read.', error)
}

type Claims = Omit<ToolCall, 'arguments'> & { jti: string; bodyHash: string; expiresAt: Date }

function claimsOf(payload: JWTPayload): Claims {
  const { iat = NaN, exp = NaN, act } = payload
  const text = (value: unknown): string => {
    if (typeof value !== 'string' || value === '') {
      throw new ToolCallError('token_claims', 'The tool token lacks a claim.')
    }
    return value
  }
  const subject = text(payload.sub)
  // A token of a person has another role, or a bare id here.
  const isToolToken = payload['role'] === 'tool_call' && subject.startsWith('user:') && typeof payload.aud === 'string'
  const isShortLived = exp - iat <= MAX_LIFETIME_S && iat <= Date.now() / 1000 + CLOCK_SKEW_S
  if (!isToolToken || !isShortLived) {
    throw new ToolCallError('token_claims', 'The tool token has unexpected claims.')
  }
  const actor = Object(act) as Record<string, unknown>
  return {
    userId: text(subject.slice('user:'.length)),
    tenantId: text(payload['tenant_id']),
    agentId: text(actor['agent_id']),
    runId: text(actor['run_id']),
    callId: text(payload['call_id']),
    tool: text(payload['tool']),
    jti: text(payload.jti),
    bodyHash: text(payload['args_sha256']),
    expiresAt: new Date((exp + CLOCK_SKEW_S) * 1000),
  }
}

async function verifiedClaims(token: string | undefined, options: VerifyToolCallOptions): Promise<Claims> {
  if (!token) throw new ToolCallError('token_missing', 'A tool token is required.')
  const keys = keysOf(options)
  const { payload } = await jwtVerify(token, keys, {
    algorithms: ['ES256'],
    typ: 'tool-call+jwt',
    issuer: options.issuer,
    audience: options.audience,
    clockTolerance: CLOCK_SKEW_S,
    requiredClaims: ['iat', 'exp', 'jti', 'sub'],
  }).catch((error: unknown) => {
    throw tokenError(error)
  })
  const claims = claimsOf(payload)
  if (options.tool !== undefined && claims.tool !== options.tool) {
    throw new ToolCallError('token_tool', 'The tool token is for another tool.')
  }
  return claims
}

/**
 * Verifies a call and tells for whom it is made: the signature (ES256 only), that it is a tool token and no other, issuer,
 * audience, age (at most a minute), that it was made for exactly this body, and that it has not been used before. A
 * Request is read by this; use `arguments` afterwards.
 * @throws ToolCallError with the first thing that is wrong; TypeError when the options name no keys.
 */
export async function verifyToolCall(request: ToolCallRequest, options: VerifyToolCallOptions): Promise<ToolCall> {
  let claims: Claims
  let bytes: Uint8Array
  let args: Record<string, unknown>
  if (options.tokenFrom === 'session_token') {
    const { session_token: token, ...rest } = parsed(await bodyOf(request))
    args = rest
    // This token was made before it stood in the body, over the other arguments.
    bytes = new TextEncoder().encode(JSON.stringify(rest))
    claims = await verifiedClaims(typeof token === 'string' ? token : undefined, options)
  } else {
    // The token first: nobody without one gets to send a body.
    claims = await verifiedClaims(headerOf(request, TOOL_TOKEN_HEADER), options)
    bytes = await bodyOf(request)
    const { session_token: _credential, ...rest } = parsed(bytes)
    args = rest
  }
  const { jti, bodyHash, expiresAt, ...call } = claims
  if ((await sha256(bytes)) !== bodyHash) {
    throw new ToolCallError('body_mismatch', 'The tool token was made for another body.')
  }
  // Last: a call that is refused for another reason must not use up somebody's token.
  const isFirstUse = await (options.burn ?? rememberHere)(jti, expiresAt).catch((error: unknown) => {
    throw new ToolCallError('burn_failed', 'Whether the tool token was used before cannot be told.', error)
  })
  if (!isFirstUse) throw new ToolCallError('token_used', 'The tool token has been used before.')
  return { ...call, arguments: args }
}
