import { describe, expect, it } from 'vitest'
import {
  checkHeaders,
  createSecretBox,
  secretBoxFromEnv,
  secretHost,
} from '../../supabase/functions/_shared/secrets.ts'
import type { SecretContext } from '../../supabase/functions/_shared/secrets.ts'
import { createTestProject } from './support/tokens.ts'

const KEY = 'a key of at least thirty-two characters'
const CANARY = 'canary-7f3a'
const HEADERS = { authorization: `Bearer ${CANARY}`, 'x-api-key': `${CANARY} "quoted"` }
const CONTEXT: SecretContext = {
  tenantId: '11111111-1111-4111-8111-111111111111',
  kind: 'tool',
  id: '5a5a5a5a-0000-4000-8000-000000000001',
  host: 'api.example.com',
}

describe('sealed headers', () => {
  it('open in the context they were sealed in', async () => {
    const box = createSecretBox(KEY)
    const sealed = await box.seal(HEADERS, CONTEXT)
    expect(sealed).toMatch(/^v1\.[\w-]{16}\.[\w-]+$/)
    expect(await box.open(sealed, CONTEXT)).toEqual(HEADERS)
    expect(await createSecretBox(KEY).open(sealed, { ...CONTEXT, host: 'API.example.com' })).toEqual(HEADERS)
  })

  it('say nothing of what is in them, and are never the same twice', async () => {
    const box = createSecretBox(KEY)
    const [first, second] = await Promise.all([box.seal(HEADERS, CONTEXT), box.seal(HEADERS, CONTEXT)])
    expect(first).not.toBe(second)
    for (const part of first.split('.')) {
      expect(Buffer.from(part, 'base64url').toString('latin1')).not.toContain(CANARY)
    }
  })

  it.each([
    ['another tenant', { tenantId: '22222222-2222-4222-8222-222222222222' }],
    ['another kind', { kind: 'mcp_server' as const }],
    ['another row', { id: '5a5a5a5a-0000-4000-8000-000000000002' }],
    ['T13: the host a tool was pointed at later', { host: 'evil.example.com' }],
    ['T13: another port', { host: 'api.example.com:8443' }],
  ])('do not open for %s', async (_case, other) => {
    const box = createSecretBox(KEY)
    const sealed = await box.seal(HEADERS, CONTEXT)
    const opened = box.open(sealed, { ...CONTEXT, ...other })
    await expect(opened).rejects.toMatchObject({ code: 'conflict', message: expect.stringContaining('Set them again') })
  })

  it('do not open with another key, or when a single bit was changed', async () => {
    const box = createSecretBox(KEY)
    const sealed = await box.seal(HEADERS, CONTEXT)
    await expect(createSecretBox(`${KEY}!`).open(sealed, CONTEXT)).rejects.toMatchObject({ code: 'conflict' })
    const [version, iv = '', text = ''] = sealed.split('.')
    for (const [which, part] of [iv, text].entries()) {
      const bytes = Buffer.from(part, 'base64url')
      for (let at = 0; at < bytes.length; at++) {
        const changed = Buffer.from(bytes)
        changed[at] = (changed[at] ?? 0) ^ 1
        const forged = [version, iv, text].with(which + 1, changed.toString('base64url')).join('.')
        await expect(box.open(forged, CONTEXT), forged).rejects.toMatchObject({ code: 'conflict' })
      }
    }
  })

  it.each(['', 'v1', 'v1..', 'v2.AAAAAAAAAAAAAAAA.AAAA', 'v1.AAAA.AAAA', 'v1.!!.??', 'v1.a.b.c', '{"a":"b"}'])(
    'are not what %j is',
    async (text) => {
      await expect(createSecretBox(KEY).open(text, CONTEXT)).rejects.toMatchObject({ code: 'conflict' })
    },
  )
})

describe('the key', () => {
  it('is BULKHEAD_SECRETS_KEY, else the private part of the signing key', async () => {
    const { privateJwk } = await createTestProject('https://project.example/auth/v1')
    const env = { BULKHEAD_SIGNING_JWK: JSON.stringify(privateJwk) }
    const sealed = await secretBoxFromEnv(env).seal(HEADERS, CONTEXT)
    expect(await createSecretBox(String(privateJwk.d)).open(sealed, CONTEXT)).toEqual(HEADERS)
    const withKey = secretBoxFromEnv({ ...env, BULKHEAD_SECRETS_KEY: KEY })
    await expect(withKey.open(sealed, CONTEXT)).rejects.toMatchObject({ code: 'conflict' })
    expect(await createSecretBox(KEY).open(await withKey.seal(HEADERS, CONTEXT), CONTEXT)).toEqual(HEADERS)
  })

  it('may be absent: then nothing is sealed or opened, and the answer says what to set', async () => {
    const box = secretBoxFromEnv({})
    const missing = { code: 'unavailable', message: expect.stringContaining('BULKHEAD_SECRETS_KEY') }
    await expect(box.seal(HEADERS, CONTEXT)).rejects.toMatchObject(missing)
    await expect(box.open('v1.AAAAAAAAAAAAAAAA.AAAA', CONTEXT)).rejects.toMatchObject(missing)
  })

  it('is refused at start when it can be guessed or is no key', () => {
    expect(() => createSecretBox('too short')).toThrow(/BULKHEAD_SECRETS_KEY/)
    for (const jwk of ['{', '{}', 'null', '{"kty":"EC","crv":"P-256","x":"a","y":"b","kid":"1"}']) {
      expect(() => secretBoxFromEnv({ BULKHEAD_SIGNING_JWK: jwk }), jwk).toThrow(/BULKHEAD_SIGNING_JWK/)
    }
  })
})

describe('headers', () => {
  it.each([
    ['a line feed in the value', { 'x-key': `${CANARY}\r\nx-admin: 1` }],
    ['a value that is no text', { 'x-key': 7 as unknown as string }],
    ['a value outside of ASCII', { 'x-key': `${CANARY}é` }],
    ['a name with a colon', { 'x-key: y': CANARY }],
    ['an empty name', { '': CANARY }],
    ['the host', { Host: CANARY }],
    ['the framing', { 'Transfer-Encoding': CANARY }],
    ['our own token', { 'X-Bulkhead-Tool-Token': CANARY }],
    ['the same name twice', { 'x-key': CANARY, 'X-Key': CANARY }],
    ['too many', Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`x-${i}`, CANARY]))],
    ['too long', { 'x-key': CANARY.repeat(1000) }],
  ])('cannot have %s, and the refusal does not quote the value', async (_case, headers) => {
    const refusal = await createSecretBox(KEY)
      .seal(headers, CONTEXT)
      .catch((error: unknown) => error)
    expect(refusal).toMatchObject({ code: 'invalid_request', message: expect.stringMatching(/^headers: /) })
    expect(String(refusal)).not.toContain(CANARY)
  })

  it('are otherwise as HTTP has them', () => {
    expect(() => checkHeaders({ 'X-Api_Key.v2': 'a\tb ~!"#' })).not.toThrow()
  })
})

it('the host of a URL is its name and port', () => {
  expect(secretHost('https://API.example.com/path?x=1')).toBe('api.example.com')
  expect(secretHost('https://api.example.com:443/')).toBe('api.example.com')
  expect(secretHost('http://127.0.0.1:8080/')).toBe('127.0.0.1:8080')
})
