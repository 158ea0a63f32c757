import { SignJWT, exportJWK, generateKeyPair } from 'jose'
import type { JWK, JWTPayload } from 'jose'

/** A project's signing key with its public set, and a signer of user tokens. */
export type TestProject = {
  issuer: string
  privateJwk: JWK & { kid: string }
  jwks: string
  sign: (claims?: JWTPayload, header?: { alg?: string; kid?: string }) => Promise<string>
}

export const USER_ID = '7a5d7d3e-3b3c-4d7e-9f46-1f0f1d6c0a01'

/** Makes the keys of a project. @param kid given to tell projects apart or to make them clash. */
export async function createTestProject(issuer: string, kid: string = crypto.randomUUID()): Promise<TestProject> {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
  const privateJwk = { ...(await exportJWK(privateKey)), kid, alg: 'ES256' }
  const publicJwk = { ...(await exportJWK(publicKey)), kid, alg: 'ES256', use: 'sig' }
  return {
    issuer,
    privateJwk,
    jwks: JSON.stringify({ keys: [publicJwk] }),
    sign(claims = {}, header = {}) {
      const now = Math.floor(Date.now() / 1000)
      return new SignJWT({
        sub: USER_ID,
        role: 'authenticated',
        aud: 'authenticated',
        iss: issuer,
        iat: now,
        exp: now + 600,
        ...claims,
      })
        .setProtectedHeader({ alg: 'ES256', kid, ...header })
        .sign(privateKey)
    },
  }
}
