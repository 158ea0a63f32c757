import { verifyCredentials } from '@supabase/server/core'
import { decodeProtectedHeader, errors } from 'jose'
import type { JSONWebKeySet, JWTPayload } from 'jose'
import { AppError } from './errors.ts'
import { isUuid } from './ids.ts'

/** Who sent a request, before it is known which tenant it acts in. */
export type Identity =
  | { kind: 'user'; userId: string; token: string; claims: JWTPayload }
  /** Holder of a secret key: the trusted backend of the application. */
  | { kind: 'service' }

/** Options of `createVerifier`. */
export type VerifierOptions = {
  /** Base URL of the project; its JWKS is read from there. */
  supabaseUrl: string
  /** Accepted `iss` values. */
  issuers: string[]
  /** Inline JWKS as JSON text, tried before the project's; saves the first request a fetch. */
  jwks: string | null
  /** Keys that make a caller the trusted backend. Only their digests are kept. */
  secretKeys: string[]
}

/** Algorithms of Supabase signing keys. The shared-secret HS256 is not among them: it would let a leaked secret sign users. */
const ALGORITHMS = ['ES256', 'RS256']

const digest = async (text: string): Promise<Uint8Array> =>
  new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text)))

/** Compares digests, all bytes always, so that the time taken tells nothing about a key. */
const sameDigest = (left: Uint8Array, right: Uint8Array): boolean => {
  let difference = left.length ^ right.length
  for (let i = 0; i < left.length; i++) difference |= (left[i] ?? 0) ^ (right[i] ?? 0)
  return difference === 0
}

const unauthenticated = (message: string, cause?: unknown) => new AppError('unauthenticated', message, { cause })

/** What the caller is told about a token that did not verify; `cause` is what @supabase/server met underneath. */
function tokenError(code: string, cause: unknown): AppError {
  if (code === 'JWKS_FETCH_FAILED' || code === 'JWKS_NOT_CONFIGURED') {
    return new AppError('unavailable', 'The signing keys cannot be read. Try again.', { cause })
  }
  if (cause instanceof errors.JWTExpired) return unauthenticated('Token has expired', cause)
  if (cause instanceof errors.JWTClaimValidationFailed) {
    if (cause.claim === 'aud') return unauthenticated('Invalid token audience', cause)
    return unauthenticated(`Invalid token: unexpected or missing claim ${cause.claim}`, cause)
  }
  if (cause instanceof errors.JWSSignatureVerificationFailed || cause instanceof errors.JWKSNoMatchingKey) {
    return unauthenticated('Invalid token: not signed by this project', cause)
  }
  return unauthenticated('Invalid token: malformed', cause)
}

const algorithmOf = (token: string): unknown => {
  try {
    return decodeProtectedHeader(token).alg
  } catch (error) {
    throw unauthenticated('Invalid token: malformed', error)
  }
}

/**
 * Claims of a user token that one of the key sets verifies. The sets are tried in turn: an inline one is a copy of deploy
 * time, and a key rotated in later is only in the project's own.
 */
async function verifiedClaims(
  token: string,
  keySets: (JSONWebKeySet | URL)[],
  options: VerifierOptions,
): Promise<JWTPayload> {
  if (!ALGORITHMS.includes(String(algorithmOf(token)))) throw unauthenticated('Invalid token: algorithm not allowed')
  for (const [i, jwks] of keySets.entries()) {
    const { data, error } = await verifyCredentials(
      { token, apikey: null },
      { auth: 'user', audience: 'authenticated', issuer: options.issuers, env: { url: options.supabaseUrl, jwks } },
    )
    if (data?.jwtClaims) return data.jwtClaims
    const isLast = i === keySets.length - 1
    if (isLast || !(error?.cause instanceof errors.JWKSNoMatchingKey)) throw tokenError(error?.code ?? '', error?.cause)
  }
  throw unauthenticated('Invalid token: not signed by this project')
}

/**
 * Makes the function that identifies callers by their Authorization header: a user token of this project, or a secret
 * key. The anonymous key identifies nobody and is refused like any other non-token.
 * The returned function throws AppError `unauthenticated`, with the texts clients of the agent API know, when the header is
 * absent or the token malformed, expired, forged or another project's; `unavailable` when the signing keys cannot be read.
 */
export function createVerifier(options: VerifierOptions): (authorization: string | undefined) => Promise<Identity> {
  const project = new URL(`${options.supabaseUrl}/auth/v1/.well-known/jwks.json`)
  const keySets = options.jwks === null ? [project] : [JSON.parse(options.jwks) as JSONWebKeySet, project]
  const secrets = Promise.all(options.secretKeys.map(digest))
  return async (authorization) => {
    const [scheme, token, ...rest] = (authorization ?? '').trim().split(/\s+/)
    if (!scheme || !token || rest.length > 0 || scheme.toLowerCase() !== 'bearer') {
      throw unauthenticated('Authorization header required')
    }
    const presented = await digest(token)
    let isSecret = false
    for (const secret of await secrets) isSecret = sameDigest(secret, presented) || isSecret
    if (isSecret) return { kind: 'service' }

    const claims = await verifiedClaims(token, keySets, options)
    for (const claim of ['sub', 'exp']) {
      if (claims[claim] === undefined) throw unauthenticated(`Invalid token: unexpected or missing claim ${claim}`)
    }
    // A project-signed token may carry another role; only this one is subject to row-level security as a person.
    if (claims['role'] !== 'authenticated') throw unauthenticated('Invalid token: role is not authenticated')
    if (!isUuid(claims.sub)) throw unauthenticated('Invalid token: sub is not a user id')
    return { kind: 'user', userId: claims.sub, token, claims }
  }
}
