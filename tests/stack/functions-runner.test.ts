import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { serve } from '@hono/node-server'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { allowedHosts } from '../../local/functions/deno-command.ts'
import { startFunctions, type FunctionsOptions, type FunctionsRunner } from '../../local/functions/runner.ts'
import { eventually } from '../support/eventually.ts'

const FIXTURES = 'tests/fixtures/functions'
const get = (runner: FunctionsRunner, path: string, init?: RequestInit) =>
  runner.fetch(new Request(`http://127.0.0.1:54321/functions/v1${path}`, init))

/** Starts a runner whose log can be read. The fixtures do not check tokens themselves, and need not. */
function start(options: Partial<FunctionsOptions> = {}): { runner: FunctionsRunner; log: string[] } {
  const log: string[] = []
  const settings = Object.fromEntries(
    ['echo', 'stream', 'crash', 'one', 'two'].map((name) => [name, { verifyJwt: false }]),
  )
  const denoBin = process.env.DENO_BIN
  return {
    log,
    runner: startFunctions({ root: FIXTURES, env: {}, denoBin, settings, log: (line) => log.push(line), ...options }),
  }
}

describe('requests through the runner', () => {
  let runner: FunctionsRunner
  let log: string[]
  let allowed: { url: string; close: () => void }
  let other: { url: string; close: () => void }

  const listen = () =>
    new Promise<{ url: string; close: () => void }>((resolve) => {
      const server = createServer((_request, response) => response.end('reached'))
      server.listen(0, '127.0.0.1', () => {
        resolve({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close: () => server.close() })
      })
    })

  beforeAll(async () => {
    allowed = await listen()
    other = await listen()
    process.env.RUNNER_PRIVATE = 'must not reach functions'
    ;({ runner, log } = start({ env: { FIXTURE_SECRET: 's3cret', AGENT_BASE_URL: `${allowed.url}/v1` } }))
    expect(await runner.ready()).toEqual([])
  })
  afterAll(async () => {
    await runner.stop()
    allowed.close()
    other.close()
    delete process.env.RUNNER_PRIVATE
  })

  test('folders that begin with an underscore are not functions', () => {
    expect(runner.functions.map(({ name }) => name)).toEqual(['crash', 'echo', 'stream'])
  })

  test('the function sees its own name in the path, the query, the method and the host', async () => {
    const response = await get(runner, '/echo/a%20b?q=1', { method: 'PUT', body: 'ü', headers: { 'x-one': '1' } })
    expect(response.status).toBe(200)
    const seen = await response.json()
    expect(seen).toMatchObject({ method: 'PUT', path: '/echo/a%20b?q=1', host: '127.0.0.1:54321', body_bytes: 2 })
    expect(seen.headers).toMatchObject({ 'x-one': '1' })
  })

  test('the function has the environment it was given and nothing of the stack itself', async () => {
    const { environment, secret } = await (await get(runner, '/echo')).json()
    expect(secret).toBe('s3cret')
    expect(environment).not.toContain('RUNNER_PRIVATE')
    expect(environment).not.toContain('HOME')
  })

  test('a function reaches the hosts of its environment and no others', async () => {
    const reach = async (url: string) => (await get(runner, `/echo/reach?url=${encodeURIComponent(url)}`)).text()
    expect(await reach(allowed.url)).toBe('status 200')
    expect(await reach(other.url)).toMatch(/NotCapable|PermissionDenied/)
  })

  test('every cookie and an answer without a body come through', async () => {
    const response = await get(runner, '/echo/empty')
    expect(response.status).toBe(204)
    expect(response.headers.getSetCookie()).toEqual(['a=1', 'b=2'])
    expect(response.body).toBeNull()
  })

  test('HEAD gives the headers of GET and no body', async () => {
    const response = await get(runner, '/echo', { method: 'HEAD' })
    expect(response.headers.get('x-greeting')).toBe('hello')
    expect(await response.text()).toBe('')
  })

  test('an unknown function → 404', async () => {
    for (const path of ['/nowhere', '/_shared', '/', '/..%2fecho']) {
      const response = await get(runner, path)
      expect(response.status, path).toBe(404)
      expect(await response.json()).toEqual({ code: 'NOT_FOUND', message: 'Requested function was not found' })
    }
  })

  test('five megabytes go through in both directions', async () => {
    const body = new Uint8Array(5_000_000).map((_, i) => i % 251)
    const response = await get(runner, '/stream', { method: 'POST', body })
    expect(Buffer.compare(Buffer.from(await response.arrayBuffer()), Buffer.from(body))).toBe(0)
  })

  test('a request body streams: the answer begins before the body has ended', async () => {
    let send: ReadableStreamDefaultController<Uint8Array> | undefined
    const body = new ReadableStream<Uint8Array>({ start: (controller) => void (send = controller) })
    send?.enqueue(new TextEncoder().encode('one'))
    const response = await get(runner, '/stream', { method: 'POST', body, duplex: 'half' } as RequestInit)
    const reader = response.body!.getReader()
    expect(new TextDecoder().decode((await reader.read()).value)).toBe('one')
    send?.enqueue(new TextEncoder().encode('two'))
    expect(new TextDecoder().decode((await reader.read()).value)).toBe('two')
    send?.close()
    expect((await reader.read()).done).toBe(true)
  })

  test('over HTTP, events arrive one by one and a caller that leaves ends the stream in the function', async () => {
    const server = serve({ fetch: (request: Request) => runner.fetch(request), port: 0, hostname: '127.0.0.1' })
    await new Promise((resolve) => server.once('listening', resolve))
    const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}/functions/v1/stream`
    try {
      const before = (await (await fetch(`${base}/closed`)).json()).closed
      const caller = new AbortController()
      const response = await fetch(base, { signal: caller.signal })
      expect(response.headers.get('content-type')).toBe('text/event-stream')
      const reader = response.body!.getReader()
      // On a busy machine two may come in one piece; the stream itself never ends.
      const events: string[] = []
      while (events.length < 3) {
        const piece = new TextDecoder().decode((await reader.read()).value)
        events.push(...piece.split(/(?<=\n\n)/))
      }
      expect(events.slice(0, 3)).toEqual(['data: 1\n\n', 'data: 2\n\n', 'data: 3\n\n'])
      caller.abort()
      await eventually(async () => expect((await (await fetch(`${base}/closed`)).json()).closed).toBe(before + 1))
    } finally {
      server.close()
    }
  })

  test('a reader that cancels the body ends the stream in the function', async () => {
    const before = (await (await get(runner, '/stream/closed')).json()).closed
    const response = await get(runner, '/stream')
    await response.body!.cancel()
    await eventually(async () => expect((await (await get(runner, '/stream/closed')).json()).closed).toBe(before + 1))
  })

  test('a function that dies gives 503 BOOT_ERROR, leaves the others alone and comes back by itself', async () => {
    expect(await (await get(runner, '/crash')).text()).toBe('alive')
    const fatal = await get(runner, '/crash/now')
    expect(fatal.status).toBe(503)
    expect(await fatal.json()).toMatchObject({ code: 'BOOT_ERROR' })
    expect((await get(runner, '/crash')).status).toBe(503)
    expect((await get(runner, '/echo')).status).toBe(200)
    await eventually(async () => expect((await get(runner, '/crash')).status).toBe(200))
    expect(log.join('\n')).toContain('[crash] ended (code 3)')
  })

  test('a function that dies in the middle of an answer breaks it off instead of ending it', async () => {
    await eventually(async () => expect((await get(runner, '/crash')).status).toBe(200))
    const response = await get(runner, '/crash/midway')
    await expect(response.text()).rejects.toThrow()
  })
})

describe('the token check of the gateway', () => {
  let runner: FunctionsRunner
  beforeAll(async () => {
    const verifyToken = async (token: string) => {
      if (token !== 'good') throw new Error('bad signature')
    }
    ;({ runner } = start({ settings: { echo: { verifyJwt: true } }, verifyToken }))
    await runner.ready()
  })
  afterAll(() => runner.stop())

  test('verify_jwt = true asks for a token of the project, except for preflights', async () => {
    const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}` } })
    expect((await get(runner, '/echo')).status).toBe(401)
    expect((await get(runner, '/echo', bearer('forged'))).status).toBe(401)
    expect((await get(runner, '/echo', bearer('good'))).status).toBe(200)
    expect((await get(runner, '/echo', { method: 'OPTIONS' })).status).toBe(200)
  })

  test('a function that config.toml does not name is checked, as on the platform', async () => {
    expect((await get(runner, '/crash')).status).toBe(401)
  })
})

describe('reload on change', () => {
  let root: string
  let runner: FunctionsRunner
  let log: string[]
  const write = (path: string, text: string) => writeFile(join(root, path), text)
  const answering = (text: string) => `export default { fetch: () => new Response('${text}') }\n`
  const body = async (path: string) => (await get(runner, path)).text()

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'bulkhead-functions-'))
    for (const folder of ['one', 'two', '_shared']) await mkdir(join(root, folder))
    await write('one/index.ts', answering('one'))
    await write('_shared/text.ts', `export const text = 'shared'\n`)
    await write(
      'two/index.ts',
      `import { text } from '../_shared/text.ts'\nexport default { fetch: () => new Response(text) }\n`,
    )
    ;({ runner, log } = start({ root, watch: true }))
    expect(await runner.ready()).toEqual([])
  })
  afterAll(async () => {
    await runner.stop()
    await rm(root, { recursive: true })
  })
  afterEach(() => void (log.length = 0))

  test('a changed function answers with its new code, and no request fails meanwhile', async () => {
    expect(await body('/one')).toBe('one')
    await write('one/index.ts', answering('uno'))
    const seen = new Set<string>()
    await eventually(async () => {
      const response = await get(runner, '/one')
      seen.add(String(response.status))
      expect(await response.text()).toBe('uno')
    })
    expect([...seen]).toEqual(['200'])
    expect(log.join('\n')).not.toContain('[two]')
  })

  test('a change in a shared folder reaches the functions that use it', async () => {
    expect(await body('/two')).toBe('shared')
    await write('_shared/text.ts', `export const text = 'shared anew'\n`)
    await eventually(async () => expect(await body('/two')).toBe('shared anew'))
  })

  test('a broken edit → 503 with the reason in the log, and the next good edit mends it', async () => {
    await write('one/index.ts', 'export default {')
    await eventually(async () => expect((await get(runner, '/one')).status).toBe(503))
    expect(log.join('\n')).toContain('waiting for a change of its files')
    await write('one/index.ts', answering('mended'))
    await eventually(async () => expect(await body('/one')).toBe('mended'))
  })

  test('a new folder becomes a function and a removed one stops being one', async () => {
    await mkdir(join(root, 'three'))
    await write('three/index.ts', answering('three'))
    await eventually(() => expect(runner.functions.map(({ name }) => name)).toContain('three'))
    await rm(join(root, 'three'), { recursive: true })
    await eventually(async () => expect((await get(runner, '/three')).status).toBe(404))
  })
})

describe('processes', () => {
  const isAlive = (pid: number) => {
    try {
      process.kill(pid, 0)
      return true
    } catch {
      return false
    }
  }

  test('stop ends every process, also one that hangs', async () => {
    const root = await mkdtemp(join(tmpdir(), 'bulkhead-functions-'))
    await mkdir(join(root, 'one'))
    await writeFile(join(root, 'one/index.ts'), 'export default { fetch() { for (;;); } }\n')
    const { runner } = start({ root })
    await runner.ready()
    void get(runner, '/one').catch(() => {})
    await new Promise((resolve) => setTimeout(resolve, 200))
    const pid = runner.functions[0]!.pid!
    expect(isAlive(pid)).toBe(true)
    await runner.stop()
    expect(isAlive(pid)).toBe(false)
    await rm(root, { recursive: true })
  })

  test('a Deno that cannot be run → 503 and a line that says so', async () => {
    const { runner, log } = start({ denoBin: '/nonexistent/deno' })
    expect(await runner.ready()).toEqual(['crash', 'echo', 'stream'])
    expect((await get(runner, '/echo')).status).toBe(503)
    expect(log.join('\n')).toContain('cannot run /nonexistent/deno')
    await runner.stop()
  })
})

test('on demand: a function starts with its first request, and no other does', async () => {
  const { runner } = start({ onDemand: true })
  expect(await runner.ready()).toEqual([])
  expect(runner.functions).toEqual([])
  expect((await get(runner, '/nothing')).status).toBe(404)
  expect((await get(runner, '/echo/first')).status).toBe(200)
  expect(runner.functions.map(({ name }) => name)).toEqual(['echo'])
  await runner.stop()
})

test('allowed hosts are those of the environment, with the port that the scheme implies', () => {
  expect(
    allowedHosts({
      SUPABASE_URL: 'http://127.0.0.1:54321',
      S3_ENDPOINT: 'https://s3.example.com/bucket',
      OPENAI_API_KEY: 'k',
      RERANK_URL: 'https://rerank.example.com/v1/rerank',
      BULKHEAD_ALLOW_NET: 'hooks.example.com:8443, mcp.example.com',
      BULKHEAD_CORS_ORIGINS: 'https://app.example.com',
    }),
  ).toEqual([
    '127.0.0.1:54321',
    's3.example.com:443',
    'rerank.example.com:443',
    'api.openai.com:443',
    'hooks.example.com:8443',
    'mcp.example.com',
  ])
  expect(allowedHosts({ OPENAI_API_KEY: 'k', OPENAI_BASE_URL: 'http://localhost:11434/v1' })).toEqual([
    'localhost:11434',
  ])
})
