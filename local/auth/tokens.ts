import {
  calculateJwkThumbprint,
  decodeProtectedHeader,
  errors,
  exportJWK,
  generateKeyPair,
  importJWK,
  jwtVerify,
  SignJWT,
} from 'jose'
import type { JWK, JWTPayload } from 'jose'

/** Tokens whose claims are kept: enough for those who use a stack at the same time. */
const MOST_KNOWN = 200

/** A private ES256 key as a JWK with `kid`. */
export type SigningKey = JWK & { kid: string; d: string }

export interface TokenAuthority {
  /** The public keys, as served at /auth/v1/.well-known/jwks.json. */
  jwks: { keys: object[] }
  /** Signs claims with ES256; `iat` and `exp` in seconds. */
  sign(claims: { iat?: number; exp?: number } & Record<string, unknown>): Promise<string>
  /**
   * Claims of a token of this project: ES256 by its `kid`, or HS256 with the shared secret.
   * @throws TokenError otherwise.
   */
  verify(token: string): Promise<Record<string, unknown>>
}

/** Claims of an `apikey` value: sb_publishable_, sb_secret_ or a legacy JWT of either role; null when unknown. */
export type ResolveApiKey = (
  key: string | null | undefined,
) => Promise<{ role: 'anon' | 'service_role'; claims: Record<string, unknown> } | null>

/** Why a token was refused; `expired` is told apart because clients refresh on it. */
export class TokenError extends Error {
  override name = 'TokenError'
  readonly reason: 'malformed' | 'expired' | 'not_yet_valid' | 'invalid'
  constructor(reason: TokenError['reason'], message: string) {
    super(message)
    this.reason = reason
  }
}

/** The role claims a request may run with. Any other would let a token choose a role of the platform. */
export const REQUEST_ROLES = ['anon', 'authenticated', 'service_role'] as const
export type RequestRole = (typeof REQUEST_ROLES)[number]
export const isRequestRole = (role: unknown): role is RequestRole => REQUEST_ROLES.includes(role as RequestRole)

export const generateSigningKey = async (): Promise<SigningKey> => {
  const { privateKey } = await generateKeyPair('ES256', { extractable: true })
  const jwk = await exportJWK(privateKey)
  return { ...jwk, kid: await calculateJwkThumbprint(jwk), alg: 'ES256', use: 'sig' } as SigningKey
}

/** @param sharedSecret of the legacy HS256 keys. */
export const createTokenAuthority = async (signingKey: SigningKey, sharedSecret: string): Promise<TokenAuthority> => {
  const { d: _private, ...publicJwk } = signingKey
  const privateKey = await importJWK(signingKey, 'ES256')
  const publicKey = await importJWK(publicJwk, 'ES256')
  const secret = new TextEncoder().encode(sharedSecret)
  /** Claims of tokens whose signature was right, by token. Clients send theirs with every request; what may change is time. */
  const known = new Map<string, JWTPayload>()

  return {
    jwks: { keys: [{ ...publicJwk, key_ops: ['verify'] }] },
    sign({ iat, exp, ...claims }) {
      const token = new SignJWT(claims).setProtectedHeader({ alg: 'ES256', typ: 'JWT', kid: signingKey.kid })
      token.setIssuedAt(iat)
      if (exp !== undefined) token.setExpirationTime(exp)
      return token.sign(privateKey)
    },
    async verify(token) {
      const claims = known.get(token)
      if (claims && !hasExpired(claims)) return { ...claims }
      known.delete(token)
      try {
        const { alg, kid } = decodeProtectedHeader(token)
        // The algorithm picks the key and each key takes one algorithm: `none`, and HS256 keyed with the public key, fail.
        const { payload } =
          alg === 'ES256' && kid === signingKey.kid
            ? await jwtVerify(token, publicKey, { algorithms: ['ES256'] })
            : await jwtVerify(token, secret, { algorithms: ['HS256'] })
        const [oldest] = known.keys()
        if (oldest !== undefined && known.size >= MOST_KNOWN) known.delete(oldest)
        known.set(token, payload)
        return { ...payload }
      } catch (error) {
        throw toTokenError(error)
      }
    },
  }
}

/** As jose counts, in whole seconds. */
const hasExpired = ({ exp }: JWTPayload): boolean => exp !== undefined && exp <= Math.floor(Date.now() / 1000)

const toTokenError = (error: unknown): TokenError => {
  if (error instanceof errors.JWTExpired) return new TokenError('expired', 'JWT expired')
  if (error instanceof errors.JWTClaimValidationFailed && error.claim === 'nbf') {
    return new TokenError('not_yet_valid', 'JWT not yet valid')
  }
  if (error instanceof errors.JWTInvalid || error instanceof errors.JWSInvalid || error instanceof TypeError) {
    return new TokenError('malformed', 'JWT malformed')
  }
  return new TokenError('invalid', 'No suitable key or wrong key type')
}
