import { decodeJwt, decodeProtectedHeader } from 'jose'
import { beforeAll, describe, expect, it } from 'vitest'
import { createVerifier } from '../../supabase/functions/_shared/auth.ts'
import { DELEGATED_TOKEN_SECONDS, createDelegation } from '../../supabase/functions/_shared/delegation.ts'
import { USER_ID, createTestProject } from './support/tokens.ts'
import type { TestProject } from './support/tokens.ts'

const ISSUER = 'http://127.0.0.1:9/auth/v1'
const TENANT = '11111111-1111-4111-8111-111111111111'
let project: TestProject
beforeAll(async () => {
  project = await createTestProject(ISSUER)
})

describe('a delegated token', () => {
  it('acts for one user in one tenant, says who acts, and lives for minutes', async () => {
    const delegation = createDelegation(JSON.stringify(project.privateJwk), ISSUER)
    const { token, expiresAt } = await delegation.mint({ sub: USER_ID, tenantId: TENANT, act: { sub: 'service_key' } })
    const claims = decodeJwt(token)
    expect(claims).toMatchObject({
      sub: USER_ID,
      role: 'authenticated',
      aud: 'authenticated',
      iss: ISSUER,
      tenant_id: TENANT,
      act: { sub: 'service_key' },
      exp: expiresAt,
    })
    expect(expiresAt - (claims.iat ?? 0)).toBe(DELEGATED_TOKEN_SECONDS)
    expect(DELEGATED_TOKEN_SECONDS).toBeLessThanOrEqual(300)
    expect(decodeProtectedHeader(token)).toMatchObject({ alg: 'ES256', kid: project.privateJwk.kid })
    expect(JSON.stringify(claims)).not.toContain(String(project.privateJwk.d))
  })

  it('is a token of the project', async () => {
    const { token } = await createDelegation(JSON.stringify(project.privateJwk), ISSUER).mint({
      sub: USER_ID,
      tenantId: TENANT,
      act: { sub: 'service_key' },
    })
    const verify = createVerifier({
      supabaseUrl: 'http://127.0.0.1:9',
      issuers: [ISSUER],
      jwks: project.jwks,
      secretKeys: [],
    })
    expect(await verify(`Bearer ${token}`)).toMatchObject({ kind: 'user', userId: USER_ID })
  })

  it('is never the same twice', async () => {
    const delegation = createDelegation(JSON.stringify(project.privateJwk), ISSUER)
    const mint = () => delegation.mint({ sub: USER_ID, tenantId: TENANT, act: {} })
    const [first, second] = await Promise.all([mint(), mint()])
    expect(first.token).not.toBe(second.token)
  })
})

describe('createDelegation', () => {
  it('without a key refuses each call and says what to set', async () => {
    const mint = createDelegation(null, ISSUER).mint({ sub: USER_ID, tenantId: TENANT, act: {} })
    await expect(mint).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('BULKHEAD_SIGNING_JWK'),
    })
  })

  it.each([
    '{',
    '{}',
    '{"kty":"oct","k":"x","kid":"1"}',
    '{"kty":"EC","crv":"P-256","x":"a","y":"b","kid":"1"}',
    'null',
  ])('refuses %s as a key at start', (jwk) => {
    expect(() => createDelegation(jwk, ISSUER)).toThrow(/BULKHEAD_SIGNING_JWK/)
  })
})
