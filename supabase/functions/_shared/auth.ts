import { createLocalJWKSet, createRemoteJWKSet, errors, jwtVerify } from 'jose'
import type { JWTPayload, JWTVerifyGetKey } from 'jose'
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
const CLOCK_TOLERANCE_SECONDS = 5

const digest = async (text: string): Promise<Uint8Array> =>
  new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text)))

/** Compares digests, all bytes always, so that the time taken tells nothing about a key. */
const sameDigest = (left: Uint8Array, right: Uint8Array): boolean => {
  let difference = left.length ^ right.length
  for (let i = 0; i < left.length; i++) difference |= (left[i] ?? 0) ^ (right[i] ?? 0)
  return difference === 0
}

function keySource(options: VerifierOptions): JWTVerifyGetKey {
  const remote = createRemoteJWKSet(new URL(`${options.supabaseUrl}/auth/v1/.well-known/jwks.json`), {
    timeoutDuration: 5000,
    cooldownDuration: 30_000,
  })
  if (options.jwks === null) return remote
  const local = createLocalJWKSet(JSON.parse(options.jwks))
  // An inline set is a copy of deploy time: a key rotated in later is only in the project's own set.
  return async (header, token) => {
    try {
      return await local(header, token)
    } catch (error) {
      if (error instanceof errors.JWKSNoMatchingKey) return remote(header, token)
      throw error
    }
  }
}

const unauthenticated = (message: string, cause?: unknown) => new AppError('unauthenticated', message, { cause })

function tokenError(error: unknown): AppError {
  if (error instanceof errors.JWTExpired) return unauthenticated('Token has expired', error)
  if (error instanceof errors.JWTClaimValidationFailed) {
    if (error.claim === 'aud') return unauthenticated('Invalid token audience', error)
    return unauthenticated(`Invalid token: unexpected or missing claim ${error.claim}`, error)
  }
  if (error instanceof errors.JWKSTimeout || !(error instanceof errors.JOSEError)) {
    return new AppError('unavailable', 'The signing keys cannot be read. Try again.', { cause: error })
  }
  if (error instanceof errors.JWSSignatureVerificationFailed || error instanceof errors.JWKSNoMatchingKey) {
    return unauthenticated('Invalid token: not signed by this project', error)
  }
  if (error instanceof errors.JOSEAlgNotAllowed) return unauthenticated('Invalid token: algorithm not allowed', error)
  // What jose throws for a bad answer of the JWKS endpoint has no class of its own.
  if (error.code === 'ERR_JOSE_GENERIC') {
    return new AppError('unavailable', 'The signing keys cannot be read. Try again.', { cause: error })
  }
  return unauthenticated('Invalid token: malformed', error)
}

/**
 * Makes the function that identifies callers by their Authorization header: a user token of this project, or a secret
 * key. The anonymous key identifies nobody and is refused like any other non-token.
 * The returned function throws AppError `unauthenticated`, with the texts clients of the agent API know, when the header is
 * absent or the token malformed, expired, forged or another project's; `unavailable` when the signing keys cannot be read.
 */
export function createVerifier(options: VerifierOptions): (authorization: string | undefined) => Promise<Identity> {
  const keys = keySource(options)
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

    let claims: JWTPayload
    try {
      const verified = await jwtVerify(token, keys, {
        algorithms: ALGORITHMS,
        issuer: options.issuers,
        audience: 'authenticated',
        requiredClaims: ['sub', 'exp'],
        clockTolerance: CLOCK_TOLERANCE_SECONDS,
      })
      claims = verified.payload
    } catch (error) {
      throw tokenError(error)
    }
    // A project-signed token may carry another role; only this one is subject to row-level security as a person.
    if (claims['role'] !== 'authenticated') throw unauthenticated('Invalid token: role is not authenticated')
    if (!isUuid(claims.sub)) throw unauthenticated('Invalid token: sub is not a user id')
    return { kind: 'user', userId: claims.sub, token, claims }
  }
}
