import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { SignJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createVerifier } from '../../supabase/functions/_shared/auth.ts'
import type { VerifierOptions } from '../../supabase/functions/_shared/auth.ts'
import { USER_ID, createTestProject } from './support/tokens.ts'
import type { TestProject } from './support/tokens.ts'

const ISSUER = 'https://project.example/auth/v1'
const SECRET = 'sb_secret_test'
const JWT_SECRET = new TextEncoder().encode('super-secret-jwt-token-with-at-least-32-characters-long')

let project: TestProject
let other: TestProject
let served = ''
let requests = 0
const jwksServer = createServer((_request, response) => {
  requests++
  response.setHeader('content-type', 'application/json')
  response.statusCode = served === '' ? 500 : 200
  response.end(served)
})
let supabaseUrl = ''

const verifier = (options: Partial<VerifierOptions> = {}) =>
  createVerifier({
    supabaseUrl,
    issuers: [ISSUER],
    jwks: project.jwks,
    secretKeys: [SECRET, 'legacy.jwt.key'],
    ...options,
  })

const bearer = async (token: string | Promise<string>) => `Bearer ${await token}`
const legacyKey = (role: string) =>
  new SignJWT({ role, iss: 'supabase-demo', exp: 1983812996 }).setProtectedHeader({ alg: 'HS256' }).sign(JWT_SECRET)

beforeAll(async () => {
  project = await createTestProject(ISSUER)
  // The same issuer and the same key id: only the signature tells them apart.
  other = await createTestProject(ISSUER, project.privateJwk.kid)
  await new Promise<void>((resolve) => jwksServer.listen(0, '127.0.0.1', resolve))
  served = project.jwks
  supabaseUrl = `http://127.0.0.1:${(jwksServer.address() as AddressInfo).port}`
})
afterAll(() => new Promise((resolve) => jwksServer.close(resolve)))

describe('P09 a user token', () => {
  it('of this project identifies its user', async () => {
    const token = await project.sign()
    const identity = await verifier()(await bearer(token))
    expect(identity).toMatchObject({ kind: 'user', userId: USER_ID, token })
  })

  it('is accepted under any spelling of the scheme', async () => {
    expect(await verifier()(`bearer  ${await project.sign()}`)).toMatchObject({ kind: 'user' })
  })

  const now = Math.floor(Date.now() / 1000)
  it.each([
    ['signed by another project', () => other.sign(), 'Invalid token: not signed by this project'],
    ['with an unknown key id', () => project.sign({}, { kid: 'nobody' }), 'Invalid token: not signed by this project'],
    ['that has expired', () => project.sign({ exp: now - 60 }), 'Token has expired'],
    [
      'without an end',
      () => project.sign({ exp: undefined as unknown as number }),
      'Invalid token: unexpected or missing claim exp',
    ],
    ['not valid yet', () => project.sign({ nbf: now + 600 }), 'Invalid token: unexpected or missing claim nbf'],
    ['for another audience', () => project.sign({ aud: 'anon' }), 'Invalid token audience'],
    ['without audience', () => project.sign({ aud: undefined as unknown as string }), 'Invalid token audience'],
    [
      'of another issuer',
      () => project.sign({ iss: 'https://other.example/auth/v1' }),
      'Invalid token: unexpected or missing claim iss',
    ],
    [
      'with role service_role',
      () => project.sign({ role: 'service_role' }),
      'Invalid token: role is not authenticated',
    ],
    ['with role anon', () => project.sign({ role: 'anon' }), 'Invalid token: role is not authenticated'],
    ['whose sub is no uuid', () => project.sign({ sub: "' or 1=1" }), 'Invalid token: sub is not a user id'],
    ['without sub', () => project.sign({ sub: undefined as unknown as string }), 'Invalid token: malformed'],
    [
      'signed with the shared secret',
      () =>
        new SignJWT({ sub: USER_ID, role: 'authenticated', aud: 'authenticated', iss: ISSUER, exp: now + 60 })
          .setProtectedHeader({ alg: 'HS256' })
          .sign(JWT_SECRET),
      'Invalid token: algorithm not allowed',
    ],
  ])('%s is refused', async (_name, sign, message) => {
    await expect(verifier()(await bearer(sign()))).rejects.toMatchObject({ message })
  })

  it('with algorithm none is refused', async () => {
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const claims = { sub: USER_ID, role: 'authenticated', aud: 'authenticated', iss: ISSUER, exp: now + 600 }
    for (const alg of ['none', 'None', 'NONE']) {
      const token = `${part({ alg, typ: 'JWT' })}.${part(claims)}.`
      await expect(verifier()(`Bearer ${token}`)).rejects.toMatchObject({ code: 'unauthenticated' })
    }
  })

  it('whose HMAC key is the public key is refused', async () => {
    const publicKey = new TextEncoder().encode(project.jwks)
    const token = new SignJWT({ sub: USER_ID, role: 'authenticated', aud: 'authenticated', iss: ISSUER, exp: now + 60 })
      .setProtectedHeader({ alg: 'HS256', kid: project.privateJwk.kid })
      .sign(publicKey)
    await expect(verifier()(await bearer(token))).rejects.toMatchObject({
      message: 'Invalid token: algorithm not allowed',
    })
  })

  it('changed after signing is refused', async () => {
    const [head, , signature] = (await project.sign()).split('.')
    const claims = Buffer.from(
      JSON.stringify({
        sub: crypto.randomUUID(),
        role: 'authenticated',
        aud: 'authenticated',
        iss: ISSUER,
        exp: now + 60,
      }),
    ).toString('base64url')
    await expect(verifier()(`Bearer ${head}.${claims}.${signature}`)).rejects.toMatchObject({ code: 'unauthenticated' })
  })
})

describe('a header', () => {
  it.each([undefined, '', 'Bearer', 'Bearer ', 'Basic dXNlcjpwdw==', 'Bearer a b', 'token'])(
    '%j is no authorization',
    async (header) => {
      await expect(verifier()(header)).rejects.toMatchObject({
        code: 'unauthenticated',
        message: 'Authorization header required',
      })
    },
  )

  it('with garbage is refused as malformed', async () => {
    await expect(verifier()('Bearer abc')).rejects.toMatchObject({ message: 'Invalid token: malformed' })
    await expect(verifier()('Bearer a.b.c')).rejects.toMatchObject({ message: 'Invalid token: malformed' })
  })
})

describe('a key', () => {
  it('that is secret makes a service caller, the legacy one too', async () => {
    expect(await verifier()(`Bearer ${SECRET}`)).toEqual({ kind: 'service' })
    expect(await verifier()('Bearer legacy.jwt.key')).toEqual({ kind: 'service' })
  })

  it.each(['sb_secret_tes', 'sb_secret_test1', 'SB_SECRET_TEST', 'sb_publishable_x'])(
    '%s is not that key',
    async (key) => {
      await expect(verifier()(`Bearer ${key}`)).rejects.toMatchObject({ code: 'unauthenticated' })
    },
  )

  it('that is anonymous, or a service_role token other than the configured one, is refused', async () => {
    for (const role of ['anon', 'service_role']) {
      await expect(verifier()(await bearer(legacyKey(role)))).rejects.toMatchObject({ code: 'unauthenticated' })
    }
  })

  it('that is empty never makes a service caller', async () => {
    await expect(verifier({ secretKeys: [] })('Bearer x')).rejects.toMatchObject({ code: 'unauthenticated' })
  })
})

describe('signing keys', () => {
  it('are read from the project when none are given, once', async () => {
    served = project.jwks
    requests = 0
    // A URL of its own each time: the keys of a project are kept for the life of the process.
    const verify = verifier({ jwks: null, supabaseUrl: `${supabaseUrl}/once` })
    await verify(await bearer(project.sign()))
    await verify(await bearer(project.sign()))
    expect(requests).toBe(1)
  })

  it('that were rotated in after deployment are found at the project', async () => {
    served = project.jwks
    const verify = verifier({ jwks: JSON.stringify({ keys: [] }) })
    expect(await verify(await bearer(project.sign()))).toMatchObject({ kind: 'user' })
  })

  it('that cannot be read are our fault, not the caller’s', async () => {
    served = ''
    const verify = verifier({ jwks: null, supabaseUrl: `${supabaseUrl}/unreadable` })
    await expect(verify(await bearer(project.sign()))).rejects.toMatchObject({ code: 'unavailable' })
  })
})
