import type { JWK } from 'jose'

/** A private P-256 key with a key id: what the project signs its own tokens with. */
export type SigningJwk = JWK & { kid: string; d: string }

/**
 * The key in BULKHEAD_SIGNING_JWK.
 * @throws Error when the text is no private P-256 JWK with a `kid`; the text itself is not in the message.
 */
export function parseSigningJwk(text: string): SigningJwk {
  let jwk: JWK | null
  try {
    jwk = JSON.parse(text)
  } catch {
    throw new Error('BULKHEAD_SIGNING_JWK is not JSON.')
  }
  if (jwk?.kty !== 'EC' || jwk.crv !== 'P-256' || !jwk.d || !jwk.kid) {
    throw new Error('BULKHEAD_SIGNING_JWK is not a private P-256 JWK with a kid.')
  }
  // Web Crypto refuses a key whose `key_ops` or `use` were written for another purpose.
  const { key_ops: _keyOps, use: _use, ...rest } = jwk
  return { ...rest, kid: jwk.kid, d: jwk.d }
}
