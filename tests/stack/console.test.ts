import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { startConsole, type ConsoleServer } from '../../local/console/console.ts'
import { startGuard, type ProcessGuard } from '../../local/process/guard.ts'
import { processIdentity } from '../../local/process/identity.ts'
import { contentSecurityPolicy, headersFile, originsOfProject } from '../../web/build/content-security-policy.ts'
import { originsFromSettings } from '../../web/build/settings.ts'
import { eventually } from '../support/eventually.ts'

// How the local stack builds and serves the console, with a small program in place of Vite. The real build is served to
// a browser in tests/console.

/** Copies web/text.txt into a page; ends as the text says. */
const BUILDER = `
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
const out = process.argv.at(-1)
const text = readFileSync('web/text.txt', 'utf8')
mkdirSync(out + '/assets', { recursive: true })
writeFileSync(out + '/started', '')
if (text === 'slow') await sleep(60_000)
if (text === 'broken') { console.error('<b>cannot</b> build'); process.exit(1) }
writeFileSync(out + '/index.html', text + ' ' + process.env.VITE_SUPABASE_PUBLISHABLE_KEY)
writeFileSync(out + '/assets/a-1.js', 'export {}')
writeFileSync(out + '/_headers', 'for other hosts')
`

let root: string
let guard: ProcessGuard
const running: ConsoleServer[] = []
const lines: string[] = []

const cacheDir = () => join(root, 'node_modules/.cache/bulkhead-console')
const write = (text: string) => writeFileSync(join(root, 'web/text.txt'), text)
const start = (options: { watch?: boolean } = {}): ConsoleServer => {
  const server = startConsole({
    rootDir: root,
    publishableKey: 'sb_publishable_x',
    origins: () => ['http://127.0.0.1:1', 'ws://127.0.0.1:1'],
    guard,
    log: (line) => lines.push(line),
    ...options,
  })
  running.push(server)
  return server
}
const ask = (server: ConsoleServer, path: string, init: RequestInit = {}) =>
  server.fetch(new Request(`http://127.0.0.1:1${path}`, init))
const textAt = async (server: ConsoleServer, path: string) => (await ask(server, path)?.text()) ?? null

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'bulkhead-console-'))
  mkdirSync(join(root, 'web/build'), { recursive: true })
  mkdirSync(join(root, 'client'))
  writeFileSync(join(root, 'package-lock.json'), '{}')
  writeFileSync(join(root, 'web/build/main.ts'), BUILDER)
  write('first')
  guard = startGuard()
  lines.length = 0
})
afterEach(async () => {
  await Promise.all(running.splice(0).map((server) => server.stop()))
  guard.stop()
  rmSync(root, { recursive: true })
})

describe('serving', () => {
  test('a page that asks again by itself, then the console', async () => {
    const server = start()
    const waiting = ask(server, '/')
    expect(waiting?.status).toBe(503)
    expect(await waiting?.text()).toContain('http-equiv="refresh"')
    expect(ask(server, '/assets/a-1.js')).toBeNull()
    expect(await server.ready()).toBeNull()
    expect(await textAt(server, '/')).toBe('first sb_publishable_x')
    expect(await textAt(server, '/index.html')).toBe('first sb_publishable_x')
    expect(await textAt(server, '/assets/a-1.js')).toBe('export {}')
  })

  test('only files of the build, only to read', async () => {
    const server = start()
    await server.ready()
    for (const path of [
      '/_headers',
      '/assets/',
      '/assets',
      '/%2e%2e/text.txt',
      '/..%2f..%2fpackage-lock.json',
      '/assets/..%5c..%5cindex.html',
      '//index.html',
      '/index.html/',
      '/web/text.txt',
    ]) {
      expect.soft(ask(server, path), path).toBeNull()
    }
    expect(ask(server, '/', { method: 'POST' })).toBeNull()
    expect(ask(server, '/', { method: 'OPTIONS' })).toBeNull()
    const head = ask(server, '/', { method: 'HEAD' })
    expect(head?.status).toBe(200)
    expect(head?.headers.get('content-length')).toBe(String('first sb_publishable_x'.length))
    expect(await head?.text()).toBe('')
  })

  test('types, caching and the policy', async () => {
    const server = start()
    await server.ready()
    const page = ask(server, '/')
    expect(page?.headers.get('content-type')).toBe('text/html; charset=utf-8')
    expect(page?.headers.get('cache-control')).toBe('no-cache')
    expect(page?.headers.get('x-content-type-options')).toBe('nosniff')
    expect(page?.headers.get('referrer-policy')).toBe('no-referrer')
    const policy = page?.headers.get('content-security-policy')
    expect(policy).toContain("connect-src 'self' http://127.0.0.1:1 ws://127.0.0.1:1;")
    expect(policy).toContain("frame-ancestors 'none'")

    const asset = ask(server, '/assets/a-1.js')
    expect(asset?.headers.get('content-type')).toBe('text/javascript; charset=utf-8')
    expect(asset?.headers.get('cache-control')).toContain('immutable')

    const etag = page?.headers.get('etag') ?? ''
    for (const known of [etag, `"other", W/${etag}`]) {
      expect(ask(server, '/', { headers: { 'if-none-match': known } })?.status).toBe(304)
    }
    expect(ask(server, '/', { headers: { 'if-none-match': '"other"' } })?.status).toBe(200)
  })
})

describe('building', () => {
  test('a build is kept by its sources and not made again; of many the latest few stay', async () => {
    for (const text of ['first', 'b', 'c', 'd', 'e', 'f']) {
      write(text)
      await start().ready()
    }
    expect(lines.filter((line) => line.startsWith('built'))).toHaveLength(6)
    expect(readdirSync(cacheDir())).toHaveLength(4)
    const again = start()
    await again.ready()
    expect(await textAt(again, '/')).toBe('f sb_publishable_x')
    expect(lines.filter((line) => line.startsWith('built'))).toHaveLength(6)
  })

  test('two at once get the same build', async () => {
    const [one, other] = [start(), start()]
    expect(await Promise.all([one.ready(), other.ready()])).toEqual([null, null])
    expect(await textAt(one, '/')).toBe(await textAt(other, '/'))
    expect(readdirSync(cacheDir())).toHaveLength(1)
  })

  test('what failed is shown and said, as text, and nothing is kept', async () => {
    write('broken')
    const server = start()
    expect(await server.ready()).toContain('cannot')
    const page = ask(server, '/')
    expect(page?.status).toBe(500)
    const html = await page?.text()
    expect(html).toContain('&#60;b&#62;cannot')
    expect(html).not.toContain('<b>')
    expect(lines).toContain('<b>cannot</b> build')
    expect(readdirSync(cacheDir())).toEqual([])
  })

  test('stopping in the middle leaves neither process nor files', async () => {
    write('slow')
    const pids: number[] = []
    const { add } = guard
    guard = { ...guard, add: (pid) => (pids.push(pid), add(pid)) }
    const server = start()
    await eventually(() => expect(readdirSync(cacheDir(), { recursive: true }).join()).toContain('started'))
    await server.stop()
    expect(readdirSync(cacheDir())).toEqual([])
    expect(pids.map(processIdentity)).toEqual([null])
    expect(lines).toEqual([])
  })

  test('what a killed stack has left is removed by the next one', async () => {
    const left = join(cacheDir(), 'building-999999999-1')
    mkdirSync(left, { recursive: true })
    await start().ready()
    expect(readdirSync(cacheDir())).toHaveLength(1)
    expect(readdirSync(cacheDir())).not.toContain('building-999999999-1')
  })

  test('watching, it is built again after a change, also when the last build failed', async () => {
    const server = start({ watch: true })
    await server.ready()
    write('broken')
    await eventually(() => expect(ask(server, '/')?.status).toBe(500), 15_000)
    write('mended')
    await eventually(async () => expect(await textAt(server, '/')).toBe('mended sb_publishable_x'), 15_000)
  })
})

describe('a build for a host', () => {
  const key = 'sb_publishable_x'

  test('reaches its project and nothing else', () => {
    const origins = originsFromSettings({
      VITE_SUPABASE_URL: 'https://abcdefgh.supabase.co/',
      VITE_SUPABASE_PUBLISHABLE_KEY: key,
    })
    expect(origins).toEqual([
      'https://abcdefgh.supabase.co',
      'wss://abcdefgh.supabase.co',
      'https://abcdefgh.storage.supabase.co',
    ])
    expect(originsOfProject('http://10.0.0.1:8000')).toEqual(['http://10.0.0.1:8000', 'ws://10.0.0.1:8000'])
    expect(contentSecurityPolicy(origins)).toContain(`connect-src 'self' ${origins.join(' ')};`)
    expect(headersFile(origins)).toMatch(
      /^\/\*\n {2}content-security-policy: default-src 'none'; .*frame-ancestors 'none'\n/,
    )
  })

  test('and the store that is named', () => {
    const settings = { VITE_SUPABASE_URL: 'https://db.acme.example', VITE_SUPABASE_PUBLISHABLE_KEY: key }
    expect(originsFromSettings(settings)).toHaveLength(2)
    expect(originsFromSettings({ ...settings, VITE_STORE_ORIGIN: 'https://acme.r2.example/bucket' })).toContain(
      'https://acme.r2.example',
    )
  })

  const legacy = (role: string) => `e30.${Buffer.from(JSON.stringify({ role })).toString('base64url')}.x`
  test.each([
    ['nothing set', {}, /VITE_SUPABASE_URL.* and VITE_SUPABASE_PUBLISHABLE_KEY/],
    ['no key', { VITE_SUPABASE_URL: 'https://x.example' }, /VITE_SUPABASE_PUBLISHABLE_KEY/],
    [
      'no address',
      { VITE_SUPABASE_URL: 'x.example; script-src *', VITE_SUPABASE_PUBLISHABLE_KEY: key },
      /VITE_SUPABASE_URL is not/,
    ],
    [
      'a secret key',
      { VITE_SUPABASE_URL: 'https://x.example', VITE_SUPABASE_PUBLISHABLE_KEY: 'sb_secret_x' },
      /secret key/,
    ],
    [
      'a legacy secret key',
      { VITE_SUPABASE_URL: 'https://x.example', VITE_SUPABASE_PUBLISHABLE_KEY: legacy('service_role') },
      /secret key/,
    ],
  ])('is refused with %s', (_what, settings, message) => {
    expect(() => originsFromSettings(settings)).toThrow(message)
  })

  test('takes a legacy key of the role anon', () => {
    const settings = { VITE_SUPABASE_URL: 'https://x.example', VITE_SUPABASE_PUBLISHABLE_KEY: legacy('anon') }
    expect(originsFromSettings(settings)).toContain('https://x.example')
  })
})
