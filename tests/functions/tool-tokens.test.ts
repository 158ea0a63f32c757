import { decodeJwt, decodeProtectedHeader } from 'jose'
import { beforeAll, describe, expect, it } from 'vitest'
import { createVerifier } from '../../supabase/functions/_shared/auth.ts'
import {
  TOOL_TOKEN_SECONDS,
  createToolTokenVerifier,
  createToolTokens,
  sha256,
} from '../../supabase/functions/_shared/tool-tokens.ts'
import { useStack } from '../support/stack.ts'
import { USER_ID, createTestProject } from './support/tokens.ts'
import type { TestProject } from './support/tokens.ts'

const ISSUER = 'http://127.0.0.1:9/auth/v1'
const AUDIENCE = 'https://tools.example.com'
const CALL = {
  tenantId: '11111111-1111-4111-8111-111111111111',
  userId: USER_ID,
  agentId: '44444444-4444-4444-8444-444444444444',
  runId: 'run_1',
  callId: 'call_1',
  tool: 'search_articles',
  audience: AUDIENCE,
}
let project: TestProject
let argumentsHash = ''
beforeAll(async () => {
  project = await createTestProject(ISSUER)
  argumentsHash = await sha256('{"query":"x"}')
})
const mint = (change: Partial<typeof CALL> = {}, signer: TestProject = project, issuer = ISSUER) =>
  createToolTokens(JSON.stringify(signer.privateJwk), issuer).mint({ ...CALL, argumentsHash, ...change })
const verifier = () =>
  createToolTokenVerifier({
    supabaseUrl: 'http://127.0.0.1:9',
    jwks: project.jwks,
    issuers: [ISSUER],
    audiences: [AUDIENCE],
  })

describe('a tool token', () => {
  it('names person, tenant, agent, run, call, tool, audience and body, and lives for a minute at most', async () => {
    const token = await mint()
    const claims = decodeJwt(token)
    expect(claims).toEqual({
      iss: ISSUER,
      sub: `user:${USER_ID}`,
      aud: AUDIENCE,
      role: 'tool_call',
      tenant_id: CALL.tenantId,
      act: { agent_id: CALL.agentId, run_id: CALL.runId },
      call_id: CALL.callId,
      tool: CALL.tool,
      args_sha256: argumentsHash,
      jti: expect.stringMatching(/^[0-9a-f-]{36}$/),
      iat: expect.any(Number),
      exp: (claims.iat ?? 0) + TOOL_TOKEN_SECONDS,
    })
    expect(TOOL_TOKEN_SECONDS).toBeLessThanOrEqual(60)
    expect(decodeProtectedHeader(token)).toEqual({ alg: 'ES256', kid: project.privateJwk.kid, typ: 'tool-call+jwt' })
  })

  it('has an id of its own each time', async () => {
    expect(decodeJwt(await mint()).jti).not.toBe(decodeJwt(await mint()).jti)
  })

  it('is read by a tool of the project', async () => {
    const { audience: _audience, ...call } = CALL
    const token = await mint()
    expect(await verifier()(token)).toEqual({
      ...call,
      argumentsHash,
      jti: decodeJwt(token).jti,
      // Five seconds for clocks that differ.
      expiresAt: new Date(((decodeJwt(token).exp ?? 0) + 5) * 1000),
    })
  })

  it('cannot be minted without a key', async () => {
    await expect(createToolTokens(null, ISSUER).mint({ ...CALL, argumentsHash })).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('BULKHEAD_SIGNING_JWK'),
    })
    expect(() => createToolTokens('{}', ISSUER)).toThrow(/BULKHEAD_SIGNING_JWK/)
  })
})

describe('a tool of the project refuses', () => {
  const claims = async (change: Record<string, unknown>, header: Record<string, string> = {}) =>
    project.sign({ ...decodeJwt(await mint()), ...change }, { typ: 'tool-call+jwt', ...header } as { kid?: string })
  const now = () => Math.floor(Date.now() / 1000)

  it.each<[string, () => Promise<string | undefined>]>([
    ['no token', async () => undefined],
    ['words', async () => 'a.b.c'],
    ['T08: the access token of a person', () => project.sign()],
    ['T08: a token for another audience', () => mint({ audience: 'https://other.example.com' })],
    ['a token of another project', async () => mint({}, await createTestProject(ISSUER, project.privateJwk.kid))],
    ['a token of another issuer', () => mint({}, project, 'https://other.example/auth/v1')],
    ['T07: an expired token', () => claims({ iat: now() - 120, exp: now() - 60 })],
    ['a token that lives for long', () => claims({ exp: now() + 3600 })],
    ['a tool token without its type', () => claims({}, { typ: 'JWT' })],
    ['a token whose role is one of the database', () => claims({ role: 'authenticated' })],
    ['a token whose sub is a bare id', () => claims({ sub: USER_ID })],
    ['a token whose sub is no id', () => claims({ sub: 'user:x' })],
    ['a token without a run', () => claims({ act: { agent_id: CALL.agentId } })],
    ['a token without a body', () => claims({ args_sha256: '' })],
    ['a token without an id', () => claims({ jti: 'x' })],
  ])('%s', async (_case, token) => {
    await expect(verifier()(await token())).rejects.toMatchObject({ code: 'unauthenticated' })
  })

  it('nobody for want of keys, but says that it cannot tell', async () => {
    const verify = createToolTokenVerifier({
      supabaseUrl: 'http://127.0.0.1:9',
      jwks: null,
      issuers: [ISSUER],
      audiences: [AUDIENCE],
    })
    await expect(verify(await mint())).rejects.toMatchObject({ code: 'unavailable' })
  })
})

describe('T08: a tool token presented as the token of a person', () => {
  const stack = useStack()

  it('is refused by the functions, whatever its audience', async () => {
    const verify = createVerifier({
      supabaseUrl: 'http://127.0.0.1:9',
      issuers: [ISSUER],
      jwks: project.jwks,
      secretKeys: [],
    })
    for (const audience of [AUDIENCE, 'authenticated']) {
      await expect(verify(`Bearer ${await mint({ audience })}`)).rejects.toMatchObject({ code: 'unauthenticated' })
    }
  })

  it('is refused by the data API, storage and auth, which all know the key it is signed with', async () => {
    const { data } = await (await stack.signIn('owner@harbor.example')).auth.getUser()
    const userId = data.user?.id ?? ''
    const tokens = createToolTokens(JSON.stringify(stack.stack.signingKey), `${stack.url}/auth/v1`)
    const token = await tokens.mint({ ...CALL, userId, argumentsHash, audience: 'authenticated' })
    const ask = (path: string, init: RequestInit = {}, bearer = token) =>
      fetch(`${stack.url}${path}`, {
        ...init,
        headers: {
          apikey: stack.keys.publishable,
          authorization: `Bearer ${bearer}`,
          'content-type': 'application/json',
        },
      })
    // The control: why there is a role, and why the id in `sub` is no bare one. Without both, auth would let the endpoint of
    // a tool have the account, and the data API would take it for anon, with claims that policies can read.
    const { role: _role, ...claims } = decodeJwt(token)
    const bare = await stack.stack.tokens.sign({ ...claims, sub: userId })
    expect((await ask('/auth/v1/user', {}, bare)).status).toBe(200)
    const refusals = await Promise.all(
      [token, bare].map(async (bearer) => (await ask('/rest/v1/memories', {}, bearer)).json()),
    )
    expect(refusals).toMatchObject([
      { message: 'permission denied to set role "tool_call"' },
      { message: expect.stringMatching(/^permission denied for table/) },
    ])
    for (const [path, init] of [
      ['/rest/v1/memories?select=body'],
      ['/rest/v1/rpc/custom_access_token_hook', { method: 'POST', body: '{}' }],
      ['/auth/v1/user'],
      ['/auth/v1/user', { method: 'PUT', body: JSON.stringify({ password: 'stolen-password' }) }],
      ['/storage/v1/bucket'],
    ] as [string, RequestInit?][]) {
      const response = await ask(path, init)
      const text = await response.text()
      expect(response.status, `${path}: ${text}`).toBeGreaterThanOrEqual(400)
      expect(text).not.toContain('@harbor.example')
    }
    await stack.signIn('owner@harbor.example')
  })
})
