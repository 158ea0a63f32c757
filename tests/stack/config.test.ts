import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, test } from 'vitest'
import { loadSigningKey } from '../../local/auth/signing-key.ts'
import { bannedUntil } from '../../local/auth/users.ts'
import { parseSize, readProjectConfig, readStackConfig } from '../../local/config.ts'
import { snapshotKey } from '../../local/database/snapshot.ts'
import { parseToml } from '../../local/toml.ts'
import { FIXTURE_PROJECT } from '../support/stack-project.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const folder = mkdtempSync(path.join(os.tmpdir(), 'bulkhead-config-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('TOML', () => {
  test('tables, strings, numbers, booleans, arrays and comments', () => {
    const text = `a = 1 # one
      s = "with # and \\"quotes\\"" # comment
      literal = 'C:\\path'
      [t.u."v w"]
      list = ["a", 'b,c', "d"]
      long = [
        "x", # first
        "y",
      ]
      empty = []
      n = -1_000
      f = 1.5
      yes = true`
    expect(JSON.parse(JSON.stringify(parseToml(text, 'f')))).toEqual({
      a: 1,
      s: 'with # and "quotes"',
      literal: 'C:\\path',
      t: { u: { 'v w': { list: ['a', 'b,c', 'd'], long: ['x', 'y'], empty: [], n: -1000, f: 1.5, yes: true } } },
    })
  })

  test('what it does not understand is named with its line', () => {
    expect(() => parseToml('a = 1\nb == what', 'config.toml')).toThrow('config.toml:2')
    expect(() => parseToml('\n\njust words', 'config.toml')).toThrow('config.toml:3')
  })

  test('a key named __proto__ is a key', () => {
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined()
    parseToml('[__proto__]\npolluted = true', 'f')
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined()
  })
})

describe('config.toml', () => {
  test('of this project is read as the CLI reads it', () => {
    const config = readProjectConfig(path.join(ROOT, 'supabase'))
    expect(config).toMatchObject({
      projectId: 'bulkhead',
      schemas: ['public', 'graphql_public', 'ai'],
      maxRows: 1000,
      fileSizeLimitBytes: 50 * 2 ** 20,
      auth: { jwtExpiry: 3600, minimumPasswordLength: 8, accessTokenHook: '"public"."custom_access_token_hook"' },
      functions: { api: { verifyJwt: false }, chat: { verifyJwt: false }, sources: { verifyJwt: false } },
    })
  })

  test('that is missing means the defaults; a wrong type or a foreign hook is refused', () => {
    expect(readProjectConfig(folder)).toMatchObject({
      apiPort: 54321,
      dbPort: 54322,
      schemas: ['public', 'graphql_public'],
    })
    writeFileSync(path.join(folder, 'config.toml'), '[api]\nport = "many"')
    expect(() => readProjectConfig(folder)).toThrow('api.port')
    writeFileSync(
      path.join(folder, 'config.toml'),
      '[auth.hook.custom_access_token]\nenabled = true\nuri = "https://elsewhere.example/hook"',
    )
    expect(() => readProjectConfig(folder)).toThrow('pg-functions')
  })

  test('is overridden by the environment, which must make sense', () => {
    const config = readStackConfig({ BULKHEAD_API_PORT: '0', BULKHEAD_DATA_DIR: '/tmp/x', DATABASE_URL: '' }, ROOT)
    expect(config).toMatchObject({ apiPort: 0, dbPort: 54322, dataDir: '/tmp/x', databaseUrl: undefined })
    expect(() => readStackConfig({ BULKHEAD_DB_PORT: '70000' }, ROOT)).toThrow('BULKHEAD_DB_PORT')
  })

  test.each([
    ['50MiB', 52_428_800],
    ['1 GB', 1e9],
    ['512', 512],
    [1024, 1024],
  ])('the size %s is %i bytes', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes)
  })
})

describe('the signing key', () => {
  test('is made once, for its owner only, and kept', async () => {
    const file = path.join(folder, 'keys/signing-key.json')
    const key = await loadSigningKey(file)
    expect(key).toMatchObject({ kty: 'EC', crv: 'P-256', alg: 'ES256', kid: expect.any(String), d: expect.any(String) })
    expect(statSync(file).mode & 0o077).toBe(0)
    expect(await loadSigningKey(file)).toEqual(key)
  })

  test('that is damaged is named, not replaced: that would sign everybody out', async () => {
    const file = path.join(folder, 'damaged.json')
    writeFileSync(file, '{"kty":"RSA"')
    await expect(loadSigningKey(file)).rejects.toThrow('damaged.json')
    expect(readFileSync(file, 'utf8')).toBe('{"kty":"RSA"')
  })
})

test('durations of bans', () => {
  expect(bannedUntil('none')).toBeNull()
  expect(bannedUntil('1h30m', 0)).toBe('1970-01-01T01:30:00.000Z')
  expect(bannedUntil('876000000h', 0)).toBe('9999-12-31T00:00:00.000Z')
  for (const wrong of ['', '24', 'a day', '-1h', '1h ', 24, null])
    expect(() => bannedUntil(wrong)).toThrow('ban duration')
})

test('the key of a snapshot depends on the project alone', () => {
  expect(snapshotKey(FIXTURE_PROJECT)).toBe(snapshotKey(FIXTURE_PROJECT))
  expect(snapshotKey(FIXTURE_PROJECT)).not.toBe(snapshotKey(path.join(ROOT, 'supabase')))
})
