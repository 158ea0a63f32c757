import { createHmac, createPublicKey } from 'node:crypto'
import { SignJWT } from 'jose'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import { createTokenAuthority, generateSigningKey } from '../../local/auth/tokens.ts'
import { ALICE, FIXTURE_PROJECT } from '../support/stack-project.ts'
import { useStack } from '../support/stack.ts'

const stack = useStack({ projectDir: FIXTURE_PROJECT })
const now = () => Math.floor(Date.now() / 1000)
const claims = () => ({ sub: ALICE.id, role: 'authenticated', aud: 'authenticated', iat: now(), exp: now() + 60 })
const base64url = (value: object | string | Buffer) =>
  Buffer.from(Buffer.isBuffer(value) || typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')

const read = async (token: string, path = '/rest/v1/notes?select=body') => {
  const headers = { apikey: stack.keys.publishable, authorization: `Bearer ${token}` }
  const response = await fetch(stack.url + path, { headers })
  return { status: response.status, body: await response.json(), challenge: response.headers.get('www-authenticate') }
}

let bad: Record<string, string>
beforeAll(async () => {
  const { signingKey, tokens } = stack.stack
  const { d: _d, ...publicJwk } = signingKey
  const publicPem = createPublicKey({ key: publicJwk as never, format: 'jwk' }).export({ type: 'spki', format: 'pem' })
  const hmac = (secret: string | Buffer, header: object) => {
    const input = `${base64url(header)}.${base64url(claims())}`
    return `${input}.${base64url(createHmac('sha256', secret).update(input).digest())}`
  }
  const good = await tokens.sign(claims())
  const [header = '', payload = '', signature = ''] = good.split('.')
  const stranger = await createTokenAuthority({ ...(await generateSigningKey()), kid: signingKey.kid }, 'other-secret')
  const elsewhere = await createTokenAuthority(await generateSigningKey(), 'other-secret')
  bad = {
    'signed by another key under our kid': await stranger.sign(claims()),
    'of another project': await elsewhere.sign(claims()),
    'of another project, HS256': await new SignJWT(claims())
      .setProtectedHeader({ alg: 'HS256' })
      .sign(Buffer.from('other-secret-other-secret-other-')),
    'without a signature (alg none)': `${base64url({ alg: 'none', typ: 'JWT' })}.${payload}.`,
    'without a signature under our header': `${header}.${payload}.`,
    'alg none with our kid': `${base64url({ alg: 'none', kid: signingKey.kid })}.${payload}.${signature}`,
    'HS256 keyed with our public key (PEM)': hmac(publicPem as string, { alg: 'HS256', kid: signingKey.kid }),
    'HS256 keyed with our public key (JWK)': hmac(JSON.stringify(publicJwk), { alg: 'HS256', kid: signingKey.kid }),
    'HS256 with an empty secret': hmac('', { alg: 'HS256' }),
    'with a changed payload': `${header}.${base64url({ ...claims(), sub: crypto.randomUUID() })}.${signature}`,
    'HS512 with the shared secret': await new SignJWT(claims())
      .setProtectedHeader({ alg: 'HS512' })
      .sign(new TextEncoder().encode(stack.keys.jwtSecret)),
    'of our own inner engine': hmac('0'.repeat(64), { alg: 'HS256', typ: 'JWT' }),
  }
})

describe('a token that is not ours', () => {
  test.each([
    'signed by another key under our kid',
    'of another project',
    'of another project, HS256',
    'without a signature (alg none)',
    'without a signature under our header',
    'alg none with our kid',
    'HS256 keyed with our public key (PEM)',
    'HS256 keyed with our public key (JWK)',
    'HS256 with an empty secret',
    'with a changed payload',
    'HS512 with the shared secret',
    'of our own inner engine',
  ])('%s → 401 PGRST301 from REST, 403 bad_jwt from Auth, never anonymous', async (name) => {
    const token = bad[name] ?? ''
    const rest = await read(token)
    expect(rest).toMatchObject({ status: 401, body: { code: 'PGRST301' } })
    expect(rest.challenge).toContain('invalid_token')
    expect(await read(token, '/auth/v1/user')).toMatchObject({ status: 403, body: { error_code: 'bad_jwt' } })
    const { error } = await stack.client(token).from('notes').select()
    expect(error).not.toBeNull()
  })

  test('beside them: the same claims signed by us are accepted', async () => {
    expect(await read(await stack.stack.tokens.sign(claims()))).toMatchObject({
      status: 200,
      body: [{ body: 'alice one' }, { body: 'alice two' }],
    })
  })
})

describe('a token of ours', () => {
  const sign = (changes: object) => stack.stack.tokens.sign({ ...claims(), ...changes })

  test('expired → 401 PGRST303 JWT expired; Auth says bad_jwt', async () => {
    const token = await sign({ iat: now() - 120, exp: now() - 60 })
    expect(await read(token)).toMatchObject({ status: 401, body: { code: 'PGRST303', message: 'JWT expired' } })
    expect(await read(token, '/auth/v1/user')).toMatchObject({ status: 403, body: { error_code: 'bad_jwt' } })
  })

  test('that was accepted is refused from the second on in which it expires', async () => {
    const tokens = await createTokenAuthority(await generateSigningKey(), 'a-secret')
    const end = now() + 60
    const token = await tokens.sign({ ...claims(), exp: end })
    vi.useFakeTimers({ toFake: ['Date'] })
    try {
      vi.setSystemTime((end - 1) * 1000)
      for (let i = 0; i < 2; i++) expect(await tokens.verify(token)).toMatchObject({ sub: ALICE.id, exp: end })
      vi.setSystemTime(end * 1000)
      for (let i = 0; i < 2; i++) await expect(tokens.verify(token)).rejects.toMatchObject({ reason: 'expired' })
    } finally {
      vi.useRealTimers()
    }
  })

  test('has the same claims each time, whatever became of those it had before', async () => {
    const token = await sign({})
    const first = await stack.stack.tokens.verify(token)
    Object.assign(first, { sub: 'somebody else', role: 'service_role' })
    expect(await stack.stack.tokens.verify(token)).toMatchObject({ sub: ALICE.id, role: 'authenticated' })
  })

  test('not yet valid, or issued in the future → 401 PGRST303', async () => {
    expect(await read(await sign({ nbf: now() + 60 }))).toMatchObject({ status: 401, body: { code: 'PGRST303' } })
    expect(await read(await sign({ iat: now() + 300, exp: now() + 600 }))).toMatchObject({
      status: 401,
      body: { code: 'PGRST303' },
    })
  })

  test.each(['postgres', 'supabase_admin', 'authenticator', 'supabase_auth_admin', 'nobody', 'anon; reset role', ''])(
    'with the role %j → 403 42501',
    async (role) => {
      expect(await read(await sign({ role }))).toMatchObject({ status: 403, body: { code: '42501' } })
    },
  )

  test('without a role is anon; malformed is refused', async () => {
    expect(await read(await sign({ role: undefined }), '/rest/v1/rpc/whoami')).toMatchObject({
      status: 200,
      body: { user: 'anon' },
    })
    for (const token of ['x', 'a.b', 'a.b.c.d']) {
      expect(await read(token)).toMatchObject({ status: 401, body: { code: 'PGRST301' } })
    }
    expect((await read('...')).status).toBe(401)
    expect((await read('a.b.c')).status).toBe(401)
  })

  test('of a user who does not exist: RLS finds nothing, Auth says so', async () => {
    const token = await sign({ sub: crypto.randomUUID() })
    expect(await read(token)).toMatchObject({ status: 200, body: [] })
    expect(await read(token, '/auth/v1/user')).toMatchObject({ status: 403, body: { error_code: 'user_not_found' } })
  })
})

describe('an API key', () => {
  test.each([
    ['publishable', 'anon'],
    ['anon', 'anon'],
    ['secret', 'service_role'],
    ['serviceRole', 'service_role'],
  ] as const)('%s makes a request run as %s', async (name, role) => {
    const key = stack.keys[name]
    const { data } = await stack.client(key).rpc('whoami')
    expect(data.user).toBe(role)
    const keyOnly = await fetch(`${stack.url}/rest/v1/rpc/whoami`, { headers: { apikey: key } })
    expect(await keyOnly.json()).toMatchObject({ user: role })
  })

  test('missing or unknown → 401, also when it comes as bearer only, or is the token of a user', async () => {
    const get = async (headers: Record<string, string>) =>
      (await fetch(`${stack.url}/rest/v1/notes`, { headers })).status
    expect(await get({})).toBe(401)
    expect(await get({ apikey: 'sb_secret_guess' })).toBe(401)
    expect(await get({ authorization: `Bearer ${stack.keys.secret}` })).toBe(401)
    expect(await get({ apikey: await stack.stack.tokens.sign(claims()) })).toBe(401)
  })

  test('sb_secret_ from a browser → 401', async () => {
    const headers = { apikey: stack.keys.secret, 'user-agent': 'Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0' }
    expect((await fetch(`${stack.url}/rest/v1/notes`, { headers })).status).toBe(401)
  })

  test('a user token goes before the key: alice with the secret key sees what alice sees', async () => {
    const headers = { apikey: stack.keys.secret, authorization: `Bearer ${await stack.stack.tokens.sign(claims())}` }
    const response = await fetch(`${stack.url}/rest/v1/rpc/whoami`, { headers })
    expect(await response.json()).toMatchObject({ user: 'authenticated', uid: ALICE.id })
  })
})
