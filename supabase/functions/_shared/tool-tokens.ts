/**
 * Per-call tokens: how the endpoint of a tool learns for whom it is called, and that this very call was made by us. Each
 * is good for one call, one audience, one body and at most a minute. Endpoints verify them with client/verify-tool-call.ts.
 */
import { SignJWT, createLocalJWKSet, createRemoteJWKSet, errors, importJWK, jwtVerify } from 'jose'
import type { JSONWebKeySet, JWTPayload, JWTVerifyGetKey, JWTVerifyResult } from 'jose'
import { AppError } from './errors.ts'
import { isUuid } from './ids.ts'
import { parseSigningJwk } from './signing-key.ts'

/** Seconds a token lives. */
export const TOOL_TOKEN_SECONDS = 60
/** `typ` of its header. */
export const TOOL_TOKEN_TYPE = 'tool-call+jwt'
/** Request header that carries it. */
export const TOOL_TOKEN_HEADER = 'x-bulkhead-tool-token'

/**
 * `role` of a tool token: not a role of the database. PostgREST would take a token without role for anon and still show its
 * claims to policies; with this one it refuses the request.
 */
const ROLE = 'tool_call'
/**
 * Before the user's id in `sub`. The auth server lets any token signed by the project act on the account whose id is in
 * `sub`, password included; an id with this in front is none.
 */
const SUBJECT_PREFIX = 'user:'
/** Seconds by which clocks may differ. */
const CLOCK_SKEW_SECONDS = 5

/** One call of a tool. */
export type ToolTokenRequest = {
  tenantId: string
  /** For whom the run acts. */
  userId: string
  agentId: string
  /** Public id, `run_...`. */
  runId: string
  callId: string
  tool: string
  /** Origin of the endpoint. */
  audience: string
  /** `sha256` of the body's bytes. */
  argumentsHash: string
}

export type ToolTokens = {
  /** A token for this call; each one is good once. @throws AppError `unavailable` without a signing key. */
  mint(request: ToolTokenRequest): Promise<string>
}

/** SHA-256 of bytes, or of a text as UTF-8, in lower-case hex. */
export async function sha256(data: string | Uint8Array): Promise<string> {
  const bytes = typeof data === 'string' ? new TextEncoder().encode(data) : new Uint8Array(data)
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
  return [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}

/**
 * Signs tokens for calls of tools with the project's ES256 key.
 * @param signingJwk private JWK with `kid` as JSON text, or null: then every `mint` fails with `unavailable`.
 * @param issuer `iss` of the tokens.
 * @throws Error when the text is no private ES256 JWK with a `kid`.
 */
export function createToolTokens(signingJwk: string | null, issuer: string): ToolTokens {
  if (signingJwk === null) {
    return {
      mint: () =>
        Promise.reject(new AppError('unavailable', 'Calls of custom tools need the signing key BULKHEAD_SIGNING_JWK.')),
    }
  }
  const jwk = parseSigningJwk(signingJwk)
  const key = importJWK(jwk, 'ES256')
  return {
    async mint(request) {
      const issuedAt = Math.floor(Date.now() / 1000)
      return await new SignJWT({
        role: ROLE,
        tenant_id: request.tenantId,
        act: { agent_id: request.agentId, run_id: request.runId },
        call_id: request.callId,
        tool: request.tool,
        args_sha256: request.argumentsHash,
      })
        .setProtectedHeader({ alg: 'ES256', kid: jwk.kid, typ: TOOL_TOKEN_TYPE })
        .setIssuer(issuer)
        .setSubject(`${SUBJECT_PREFIX}${request.userId}`)
        .setAudience(request.audience)
        .setIssuedAt(issuedAt)
        .setExpirationTime(issuedAt + TOOL_TOKEN_SECONDS)
        .setJti(crypto.randomUUID())
        .sign(await key)
    },
  }
}

/** What a verified token says. */
export type ToolCallClaims = Omit<ToolTokenRequest, 'audience'> & {
  /** Id of the token, to be burnt. */
  jti: string
  /** From then on the token is refused for its age. */
  expiresAt: Date
}

/** Options of `createToolTokenVerifier`. */
export type ToolTokenVerifierOptions = {
  /** Base URL of the project; its JWKS is read from there. */
  supabaseUrl: string
  /** Inline JWKS as JSON text, tried before the project's; or null. */
  jwks: string | null
  /** Accepted `iss` values. */
  issuers: string[]
  /** Origins under which the tools are reached. */
  audiences: string[]
}

const refused = (message: string, cause?: unknown) => new AppError('unauthenticated', message, { cause })

function claimsOf(payload: JWTPayload): ToolCallClaims {
  const { sub, jti, iat = 0, exp = 0, role, tenant_id: tenantId, call_id: callId, tool, args_sha256: hash } = payload
  const { agent_id: agentId, run_id: runId } = Object(payload['act']) as Record<string, unknown>
  const userId = sub?.startsWith(SUBJECT_PREFIX) ? sub.slice(SUBJECT_PREFIX.length) : undefined
  const texts = [callId, tool, hash, agentId, runId]
  if (role !== ROLE || !isUuid(userId) || !isUuid(tenantId) || !isUuid(jti) || exp - iat > TOOL_TOKEN_SECONDS) {
    throw refused('Invalid tool token: unexpected claims')
  }
  if (!texts.every((text) => typeof text === 'string' && text !== '')) {
    throw refused('Invalid tool token: missing claims')
  }
  const [call = '', name = '', argumentsHash = '', agent = '', run = ''] = texts as string[]
  const expiresAt = new Date((exp + CLOCK_SKEW_SECONDS) * 1000)
  return { userId, tenantId, agentId: agent, runId: run, callId: call, tool: name, argumentsHash, jti, expiresAt }
}

/**
 * Makes the function by which a tool of this project reads its token. It does not see the body and burns nothing: the
 * caller compares `argumentsHash` with `sha256` of the bytes it got and then burns `jti`.
 * The returned function throws AppError `unauthenticated`; `unavailable` when the signing keys cannot be read.
 */
export function createToolTokenVerifier(
  options: ToolTokenVerifierOptions,
): (token: string | undefined) => Promise<ToolCallClaims> {
  const project: JWTVerifyGetKey = createRemoteJWKSet(new URL(`${options.supabaseUrl}/auth/v1/.well-known/jwks.json`))
  const inline: JWTVerifyGetKey | null =
    options.jwks === null ? null : createLocalJWKSet(JSON.parse(options.jwks) as JSONWebKeySet)
  const verifyWith = (token: string, keys: JWTVerifyGetKey): Promise<JWTVerifyResult> =>
    jwtVerify(token, keys, {
      algorithms: ['ES256'],
      typ: TOOL_TOKEN_TYPE,
      issuer: options.issuers,
      audience: options.audiences,
      clockTolerance: CLOCK_SKEW_SECONDS,
      requiredClaims: ['iat', 'exp', 'jti', 'sub'],
    })

  return async (token) => {
    if (!token) throw refused('Tool token required')
    try {
      // An inline set is a copy of deploy time: a key rotated in later is only in the project's own.
      const verified = await verifyWith(token, inline ?? project).catch((error: unknown) => {
        if (inline !== null && error instanceof errors.JWKSNoMatchingKey) return verifyWith(token, project)
        throw error
      })
      return claimsOf(verified.payload)
    } catch (error) {
      if (error instanceof AppError) throw error
      if (error instanceof errors.JWTExpired) throw refused('Tool token has expired', error)
      const isOurs = error instanceof errors.JOSEError && error.code !== 'ERR_JOSE_GENERIC'
      if (!isOurs || error instanceof errors.JWKSTimeout || error instanceof errors.JWKSInvalid) {
        throw new AppError('unavailable', 'The signing keys cannot be read. Try again.', { cause: error })
      }
      throw refused('Invalid tool token', error)
    }
  }
}
