import { SignJWT, importJWK } from 'jose'
import { AppError } from './errors.ts'
import { parseSigningJwk } from './signing-key.ts'

/** Seconds a delegated token lives. Long enough for one request's reads, too short to be worth stealing. */
export const DELEGATED_TOKEN_SECONDS = 300

/** For whom a delegated token is minted. */
export type DelegationRequest = {
  /** The user acted for, or the tenant's service principal. */
  sub: string
  /** The one tenant the token is good for. */
  tenantId: string
  /** Who acts (RFC 8693), e.g. `{ sub: 'service_key' }`; audit and policies can tell it from the person. */
  act: Record<string, string>
}

/** A token of ours that the database accepts as the user's own, in one tenant, for minutes. */
export type DelegatedToken = { token: string; expiresAt: number }

export type Delegation = { mint: (request: DelegationRequest) => Promise<DelegatedToken> }

/**
 * Signs delegated tokens with the project's ES256 key.
 * @param signingJwk private JWK with `kid` as JSON text, or null: then every `mint` fails with `unavailable`.
 * @param issuer `iss` of the tokens.
 * @throws Error when the text is no private ES256 JWK with a `kid`.
 */
export function createDelegation(signingJwk: string | null, issuer: string): Delegation {
  if (signingJwk === null) {
    return {
      mint: () =>
        Promise.reject(
          new AppError('unavailable', 'Calls with a secret key need the signing key BULKHEAD_SIGNING_JWK.', {
            hint: 'Set the secret, or call with a user token.',
          }),
        ),
    }
  }
  const jwk = parseSigningJwk(signingJwk)
  const key = importJWK(jwk, 'ES256')
  return {
    async mint({ sub, tenantId, act }) {
      const issuedAt = Math.floor(Date.now() / 1000)
      const expiresAt = issuedAt + DELEGATED_TOKEN_SECONDS
      const token = await new SignJWT({ role: 'authenticated', tenant_id: tenantId, act })
        .setProtectedHeader({ alg: 'ES256', kid: jwk.kid, typ: 'JWT' })
        .setIssuer(issuer)
        .setSubject(sub)
        .setAudience('authenticated')
        .setIssuedAt(issuedAt)
        .setExpirationTime(expiresAt)
        .setJti(crypto.randomUUID())
        .sign(await key)
      return { token, expiresAt }
    },
  }
}
