import { SignJWT, UnsecuredJWT, decodeJwt } from 'jose'
import type { JWTPayload } from 'jose'
import { createDelegation } from '../../../supabase/functions/_shared/delegation.ts'
import { createToolTokens, sha256 } from '../../../supabase/functions/_shared/tool-tokens.ts'
import { USER_ID, createTestProject } from '../../functions/support/tokens.ts'
import type { TestProject } from '../../functions/support/tokens.ts'

export const ISSUER = 'https://project.example/auth/v1'
export const AUDIENCE = 'https://tools.example.com'
export const TENANT = '11111111-1111-4111-8111-111111111111'
export const BODY = JSON.stringify({ query: 'Grüße 👋', limit: 3 })

export type GivenOptions = { issuer: string; audience: string; tool: string; tokenFrom?: 'header' | 'session_token' }
export type GivenCall = { headers: Record<string, string>; body: string; options: GivenOptions }

const OPTIONS: GivenOptions = { issuer: ISSUER, audience: AUDIENCE, tool: 'search_articles' }
const CALL = {
  tenantId: TENANT,
  userId: USER_ID,
  agentId: '44444444-4444-4444-8444-444444444444',
  runId: 'run_1',
  callId: 'call_1',
  tool: 'search_articles',
  audience: AUDIENCE,
}

/** A call as Bulkhead makes it, with what is different. */
export async function callOf(project: TestProject, change: Partial<typeof CALL> = {}, body = BODY): Promise<GivenCall> {
  const tokens = createToolTokens(JSON.stringify(project.privateJwk), ISSUER)
  const token = await tokens.mint({ ...CALL, ...change, argumentsHash: await sha256(body) })
  return withToken(token, body)
}

/** A call with this token. */
export const withToken = (token: string, body = BODY): GivenCall => ({
  headers: { 'content-type': 'application/json', 'x-bulkhead-tool-token': token },
  body,
  options: OPTIONS,
})

/** A call whose token the project has signed, with these claims instead. */
async function signedWith(project: TestProject, claims: (claims: JWTPayload) => JWTPayload): Promise<GivenCall> {
  const { headers } = await callOf(project)
  const changed = claims(decodeJwt(headers['x-bulkhead-tool-token'] ?? ''))
  const token = await project.sign(changed, { typ: 'tool-call+jwt' } as { kid?: string })
  return withToken(token)
}

/** A call whose token is changed after it was signed. */
function tampered(call: GivenCall, change: (payload: JWTPayload) => JWTPayload): GivenCall {
  const [header, payload = '', signature] = (call.headers['x-bulkhead-tool-token'] ?? '').split('.')
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString())
  const forged = Buffer.from(JSON.stringify(change(claims))).toString('base64url')
  return withToken([header, forged, signature].join('.'))
}

/** Calls that must be refused, each with the code of its refusal. */
export async function refusedCalls(project: TestProject): Promise<[name: string, code: string, call: GivenCall][]> {
  const now = Math.floor(Date.now() / 1000)
  const good = await callOf(project)
  const claims = decodeJwt(good.headers['x-bulkhead-tool-token'] ?? '')
  const delegation = createDelegation(JSON.stringify(project.privateJwk), ISSUER)
  const delegated = await delegation.mint({ sub: USER_ID, tenantId: TENANT, act: { sub: 'agent' } })
  const publicKey = new TextEncoder().encode(JSON.stringify(JSON.parse(project.jwks).keys[0]))
  const confused = new SignJWT(claims).setProtectedHeader({
    alg: 'HS256',
    typ: 'tool-call+jwt',
    kid: project.privateJwk.kid,
  })
  const stranger = await createTestProject(ISSUER, project.privateJwk.kid)
  const forOtherRun = (payload: JWTPayload) => ({ ...payload, act: { ...Object(payload['act']), run_id: 'run_2' } })
  const { session_token: _token, ...otherArguments } = { session_token: '', query: 'other' }
  return [
    ['no token', 'token_missing', { ...good, headers: {} }],
    ['words', 'token_malformed', withToken('not a token')],
    ['T07: the token made out to another run', 'token_signature', tampered(good, forOtherRun)],
    ['T07: the token of another tool', 'token_tool', await callOf(project, { tool: 'delete_articles' })],
    ['T07: the token for another audience', 'token_audience', await callOf(project, { audience: 'https://b.example' })],
    ['T07: the token with another body', 'body_mismatch', { ...good, body: JSON.stringify(otherArguments) }],
    ['T07: the token with the same arguments in other bytes', 'body_mismatch', { ...good, body: ` ${good.body}` }],
    ['T07: the token with an empty body', 'body_mismatch', { ...good, body: '' }],
    ['a body that is no object', 'body_mismatch', await callOf(project, {}, '[1]')],
    [
      'T07: an expired token',
      'token_expired',
      await signedWith(project, (payload) => ({ ...payload, iat: now - 70, exp: now - 10 })),
    ],
    [
      'a token that lives for an hour',
      'token_claims',
      await signedWith(project, (payload) => ({ ...payload, exp: now + 3600 })),
    ],
    [
      'a token from the future',
      'token_claims',
      await signedWith(project, (payload) => ({ ...payload, iat: now + 600, exp: now + 660 })),
    ],
    ['T08: a token without a signature', 'token_algorithm', withToken(new UnsecuredJWT(claims).encode())],
    [
      'T08: a token signed with the public key as HS256 secret',
      'token_algorithm',
      withToken(await confused.sign(publicKey)),
    ],
    ['T08: a token of another project with the same key id', 'token_signature', await callOf(stranger)],
    [
      'T08: a token of another issuer',
      'token_issuer',
      await signedWith(project, (payload) => ({ ...payload, iss: 'https://other.example/auth/v1' })),
    ],
    ['T08: the access token of a person', 'token_type', withToken(await project.sign({ aud: AUDIENCE }))],
    ['T08: a delegated token', 'token_type', withToken(delegated.token)],
    [
      'T08: the access token of a person, signed as a tool token',
      'token_claims',
      await signedWith(
        project,
        ({ iss, aud, iat, exp, jti }) => ({ iss, aud, iat, exp, jti, sub: USER_ID }) as JWTPayload,
      ),
    ],
    [
      'T08: a token with a role of the database',
      'token_claims',
      await signedWith(project, (payload) => ({ ...payload, role: 'authenticated' })),
    ],
    [
      'T08: a token whose sub is a bare id, as that of a person',
      'token_claims',
      await signedWith(project, (payload) => ({ ...payload, sub: USER_ID })),
    ],
    [
      'a token for several audiences',
      'token_claims',
      await signedWith(project, (payload) => ({ ...payload, aud: [AUDIENCE, 'https://b.example'] })),
    ],
    [
      'a token that binds no body',
      'token_claims',
      await signedWith(project, ({ args_sha256: _hash, ...payload }) => payload),
    ],
    [
      'a header token as session_token',
      'body_mismatch',
      {
        headers: {},
        body: JSON.stringify({ query: 'x', session_token: good.headers['x-bulkhead-tool-token'] }),
        options: { ...OPTIONS, tokenFrom: 'session_token' },
      },
    ],
    [
      'a body without session_token where one is looked for',
      'token_missing',
      { ...good, options: { ...OPTIONS, tokenFrom: 'session_token' } },
    ],
  ]
}
