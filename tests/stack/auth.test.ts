import { createRemoteJWKSet, decodeProtectedHeader, jwtVerify } from 'jose'
import { describe, expect, test } from 'vitest'
import { ALICE, BOB, FIXTURE_PASSWORD, FIXTURE_PROJECT } from '../support/stack-project.ts'
import { useStack } from '../support/stack.ts'

const stack = useStack({ projectDir: FIXTURE_PROJECT })
let counter = 0
const newEmail = () => `person-${++counter}@fixture.example`

const claimsOf = (token: string) => JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString())
const tokenOf = async (client: Awaited<ReturnType<typeof stack.signIn>>) =>
  (await client.auth.getSession()).data.session?.access_token ?? ''

describe('signing in', () => {
  test("gives the platform's token: ES256 with kid, all claims, the hook's claim, verifiable by the JWKS", async () => {
    const client = await stack.signIn(ALICE.email, FIXTURE_PASSWORD)
    const token = await tokenOf(client)
    const jwks = createRemoteJWKSet(new URL(`${stack.url}/auth/v1/.well-known/jwks.json`))
    const { payload, protectedHeader } = await jwtVerify(token, jwks, { audience: 'authenticated' })
    expect(protectedHeader).toMatchObject({ alg: 'ES256', typ: 'JWT', kid: expect.any(String) })
    expect(payload).toMatchObject({
      iss: `${stack.url}/auth/v1`,
      sub: ALICE.id,
      email: ALICE.email,
      phone: '',
      role: 'authenticated',
      aal: 'aal1',
      amr: [{ method: 'password', timestamp: expect.any(Number) }],
      session_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      is_anonymous: false,
      app_metadata: { provider: 'email', providers: ['email'], tenant_id: 't-1' },
      user_metadata: {},
      hook: 'supabase_auth_admin:password',
    })
    expect(Number(payload.exp) - Number(payload.iat)).toBe(600)
    const { data } = await client.auth.getClaims()
    expect(data?.claims.sub).toBe(ALICE.id)
    expect(await (await fetch(`${stack.url}/auth/v1/.well-known/jwks.json`)).text()).not.toContain('"d"')
  })

  test('with a wrong password, or as nobody → 400 invalid_credentials', async () => {
    for (const email of [ALICE.email, 'nobody@fixture.example']) {
      const { data, error } = await stack.client().auth.signInWithPassword({ email, password: 'wrong' })
      expect([error?.status, error?.code, data.session]).toEqual([400, 'invalid_credentials', null])
    }
  })

  test('without an API key, or with an unknown one → 401', async () => {
    const signIn = (headers: Record<string, string>) =>
      fetch(`${stack.url}/auth/v1/token?grant_type=password`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify({ email: ALICE.email, password: FIXTURE_PASSWORD }),
      })
    expect((await signIn({})).status).toBe(401)
    expect((await signIn({ apikey: 'sb_publishable_other' })).status).toBe(401)
    expect((await signIn({ apikey: stack.keys.publishable })).status).toBe(200)
    expect((await signIn({ apikey: stack.keys.anon, authorization: 'Bearer stale.token.here' })).status).toBe(200)
  })
})

describe('signing up', () => {
  test('makes a user who is signed in and has a working token', async () => {
    const client = stack.client()
    const { data, error } = await client.auth.signUp({
      email: newEmail().toUpperCase(),
      password: 'long enough',
      options: { data: { name: 'N', tenant_id: 'wanted' } },
    })
    expect(error).toBeNull()
    const claims = claimsOf(data.session?.access_token ?? '')
    expect(claims).toMatchObject({ user_metadata: { name: 'N', tenant_id: 'wanted' }, email: data.user?.email })
    // What a person says about themselves is never app metadata.
    expect(claims.app_metadata).toEqual({ provider: 'email', providers: ['email'] })
    expect(data.user?.email).toBe(data.user?.email?.toLowerCase())
    expect((await client.from('notes').insert({ body: 'mine' })).status).toBe(201)
    expect((await client.from('notes').select('body')).data).toEqual([{ body: 'mine' }])
  })

  test('refuses short passwords, addresses in use and what is no address', async () => {
    const signUp = async (email: string, password = 'long enough') => {
      const { error } = await stack.client().auth.signUp({ email, password })
      return error?.status
    }
    expect(await signUp(newEmail(), 'short')).toBe(422)
    expect(await signUp(ALICE.email)).toBe(422)
    expect(await signUp('not an address')).toBe(400)
  })
})

describe('a session', () => {
  test('is refreshed: a new token of the same session, whose method stays and whose hook runs again', async () => {
    const client = await stack.signIn(ALICE.email, FIXTURE_PASSWORD)
    const before = claimsOf(await tokenOf(client))
    const { data, error } = await client.auth.refreshSession()
    expect(error).toBeNull()
    const after = claimsOf(data.session?.access_token ?? '')
    expect(decodeProtectedHeader(data.session?.access_token ?? '').alg).toBe('ES256')
    expect(after).toMatchObject({
      session_id: before.session_id,
      amr: before.amr,
      hook: 'supabase_auth_admin:token_refresh',
    })
    expect((await client.auth.getUser()).data.user?.id).toBe(ALICE.id)
  })

  test('has what changed since: new metadata is in the next token', async () => {
    const client = stack.client()
    const { data } = await client.auth.signUp({ email: newEmail(), password: 'long enough' })
    const id = data.user?.id ?? ''
    await stack.service.auth.admin.updateUserById(id, { app_metadata: { tenant_id: 't-2' } })
    await client.auth.updateUser({ data: { color: 'red' } })
    const refreshed = await client.auth.refreshSession()
    expect(claimsOf(refreshed.data.session?.access_token ?? '')).toMatchObject({
      app_metadata: { tenant_id: 't-2', provider: 'email' },
      user_metadata: { color: 'red' },
    })
  })

  test('is gone after signing out: no refresh, no user; the token itself lives on until it expires', async () => {
    const client = await stack.signIn(BOB.email, FIXTURE_PASSWORD)
    const other = await stack.signIn(BOB.email, FIXTURE_PASSWORD)
    const { session } = (await client.auth.getSession()).data
    const token = session?.access_token ?? ''
    expect((await client.auth.signOut({ scope: 'local' })).error).toBeNull()
    const refreshed = await stack.client().auth.refreshSession({ refresh_token: session?.refresh_token ?? '' })
    expect(refreshed.error?.status).toBe(400)
    const user = await stack.client().auth.getUser(token)
    expect(user.error?.name).toBe('AuthSessionMissingError') // how auth-js calls 403 session_not_found
    expect((await other.auth.getUser()).error).toBeNull()
  })

  test('ends with a changed password only for the password: the old one no longer signs in', async () => {
    const email = newEmail()
    const client = stack.client()
    await client.auth.signUp({ email, password: 'first password' })
    expect((await client.auth.updateUser({ password: 'second password' })).error).toBeNull()
    expect((await stack.client().auth.signInWithPassword({ email, password: 'first password' })).error?.status).toBe(
      400,
    )
    expect((await stack.client().auth.signInWithPassword({ email, password: 'second password' })).error).toBeNull()
  })
})

describe('the access token hook', () => {
  const signUpWith = async (hook: string) => {
    const email = newEmail()
    const result = await stack.client().auth.signUp({ email, password: 'long enough', options: { data: { hook } } })
    const [sessions] = await stack.db.query<{ n: number }>(
      'select count(*)::int as n from auth.sessions join auth.users on users.id = sessions.user_id where users.email = $1',
      [email],
    )
    return { ...result, sessions: sessions?.n }
  }

  test('that refuses → its status and message, and no session is left behind', async () => {
    const { data, error, sessions } = await signUpWith('refuse')
    expect([error?.status, error?.message, data.session, sessions]).toEqual([403, 'Not today.', null, 0])
  })

  test('that fails → 500 without its text, and no session is left behind', async () => {
    const { data, error, sessions } = await signUpWith('break')
    expect([error?.status, data.session, sessions]).toEqual([500, null, 0])
    expect(error?.message).not.toContain('secret')
  })
})

test('links in messages lead to a session with a token of the platform', async () => {
  const email = newEmail()
  await stack.client().auth.signUp({ email, password: 'long enough' })
  expect((await stack.client().auth.resetPasswordForEmail(email)).error).toBeNull()
  const [message] = stack.stack.auth.emailsTo(email)
  const link = /https?:\/\/\S*\/auth\/v1\/verify\S*/.exec(message?.text ?? '')?.[0]
  expect(link).toBeDefined()
  const { search } = new URL(link ?? '')
  const response = await fetch(`${stack.url}/auth/v1/verify${search}`, { redirect: 'manual' })
  const session = new URLSearchParams(new URL(response.headers.get('location') ?? '').hash.slice(1))
  const token = session.get('access_token') ?? ''
  expect(decodeProtectedHeader(token).alg).toBe('ES256')
  expect(claimsOf(token)).toMatchObject({ email, amr: [{ method: 'otp' }] })
  expect((await stack.client().auth.getUser(token)).data.user?.email).toBe(email)
})
