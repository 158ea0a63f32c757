import { readdirSync, readlinkSync, statSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { beforeAll, describe, expect, test } from 'vitest'
import { SERVICE_KEY, useStorageStack } from './storage-support.ts'

const stack = useStorageStack()
const service = { authorization: `Bearer ${SERVICE_KEY}` }

const put = async (name: string, body: BodyInit, headers: Record<string, string> = {}) =>
  await fetch(`${stack.url}/storage/v1/object/files/${name}`, {
    method: 'PUT',
    body,
    headers: { ...service, ...headers },
  })
const get = async (headers: Record<string, string> = {}, name = 'http/digits.txt', method = 'GET') =>
  await fetch(`${stack.url}/storage/v1/object/files/${name}`, { method, headers: { ...service, ...headers } })

describe('ranges and conditions', () => {
  beforeAll(async () => {
    expect((await put('http/digits.txt', '0123456789', { 'content-type': 'text/plain' })).status).toBe(200)
  })

  test.each([
    ['bytes=0-3', 206, '0123', 'bytes 0-3/10'],
    ['bytes=7-', 206, '789', 'bytes 7-9/10'],
    ['bytes=-2', 206, '89', 'bytes 8-9/10'],
    ['bytes=-99', 206, '0123456789', 'bytes 0-9/10'],
    ['bytes=8-99', 206, '89', 'bytes 8-9/10'],
    ['bytes=5-4', 200, '0123456789', null],
    ['bytes=0-1,4-5', 200, '0123456789', null],
    ['lines=1-2', 200, '0123456789', null],
  ])('Range: %s → %i', async (range, status, text, contentRange) => {
    const response = await get({ range })
    expect([response.status, await response.text()]).toEqual([status, text])
    expect(response.headers.get('content-range')).toBe(contentRange)
    expect(response.headers.get('content-length')).toBe(String(text.length))
    expect(response.headers.get('accept-ranges')).toBe('bytes')
  })

  test.each(['bytes=10-', 'bytes=99-100', 'bytes=-0'])('Range: %s → 416', async (range) => {
    const response = await get({ range })
    expect(response.status).toBe(416)
    expect(response.headers.get('content-range')).toBe('bytes */10')
    expect(await response.json()).toMatchObject({ statusCode: '416', code: 'InvalidRange' })
  })

  test('ETag, If-None-Match, If-Modified-Since, If-Match and If-Range decide as HTTP says', async () => {
    const response = await get()
    const etag = response.headers.get('etag') ?? ''
    const modified = response.headers.get('last-modified') ?? ''
    expect(etag).toBe('"781e5e245d69b566979b86e28d23f2c7"')
    expect((await get({ 'if-none-match': etag })).status).toBe(304)
    expect((await get({ 'if-none-match': `"x", W/${etag}` })).status).toBe(304)
    expect((await get({ 'if-none-match': '"x"', 'if-modified-since': modified })).status).toBe(200)
    expect((await get({ 'if-modified-since': modified })).status).toBe(304)
    expect((await get({ 'if-match': '"x"' })).status).toBe(412)
    expect((await get({ 'if-match': etag })).status).toBe(200)
    expect((await get({ range: 'bytes=0-1', 'if-range': '"x"' })).status).toBe(200)
    expect((await get({ range: 'bytes=0-1', 'if-range': etag })).status).toBe(206)
  })

  test('HEAD has the headers and no body', async () => {
    const response = await get({}, 'http/digits.txt', 'HEAD')
    expect([response.status, await response.text()]).toEqual([200, ''])
    expect(response.headers.get('content-length')).toBe('10')
  })

  test('an empty object is empty, and has no satisfiable range', async () => {
    await put('http/empty.txt', '')
    const response = await get({}, 'http/empty.txt')
    expect([response.status, await response.text(), response.headers.get('content-length')]).toEqual([200, '', '0'])
    expect((await get({ range: 'bytes=0-' }, 'http/empty.txt')).status).toBe(416)
  })
})

describe('what browsers get', () => {
  test.each([
    ['text/html', 'text/plain'],
    ['TEXT/HTML; charset=utf-8', 'text/plain'],
    ['application/xhtml+xml', 'text/plain'],
    ['image/svg+xml', 'image/svg+xml'],
    ['text/plain;charset=UTF-8', 'text/plain;charset=UTF-8'],
  ])('%s is served as %s, unsniffed and sandboxed', async (stored, served) => {
    await put('http/page', '<script>alert(1)</script>', { 'content-type': stored })
    const response = await get({}, 'http/page')
    expect(response.headers.get('content-type')).toBe(served)
    expect(response.headers.get('x-content-type-options')).toBe('nosniff')
    expect(response.headers.get('content-security-policy')).toMatch(/default-src 'none'.*sandbox/)
  })

  test('a stored type or cache control cannot smuggle headers', async () => {
    for (const [field, value] of [
      ['contentType', 'text/plain\r\nx-evil: 1'],
      ['cacheControl', '1\r\nx-evil: 1'],
    ] as const) {
      const form = new FormData()
      form.append(field, value)
      form.append('', new Blob(['x']))
      const response = await put('http/smuggle', form)
      expect(response.status).toBe(400)
    }
    expect((await put('http/smuggle', 'x', { 'content-type': 'nonsense' })).status).toBe(400)
  })
})

describe('path tricks', () => {
  beforeAll(async () => {
    expect((await put('tricks/a.txt', 'a')).status).toBe(200)
  })

  test.each([
    ['/storage/v1/object/files/x/../tricks/a.txt', 200],
    ['/storage/v1/object/files/x/%2e%2e/tricks/a.txt', 200],
    ['/storage/v1/object/files/tricks%2Fa.txt', 200],
    ['/storage/v1/object/files/tricks/%252e%252e/a.txt', 400],
    ['/storage/v1/object/files/x%2F..%2Ftricks%2Fa.txt', 400],
    ['/storage/v1/object/files/tricks//a.txt', 400],
    ['/storage/v1/object/files//tricks/a.txt', 400],
    ['/storage/v1/object/files/tricks/a.txt%00', 400],
    ['/storage/v1/object/files/tricks/a.txt.', 400],
    ['/storage/v1/object/files/tricks/%C3%A1.txt', 400],
    ['/storage/v1/object/files/tricks/%EF%BC%8E%EF%BC%8E/a.txt', 400],
    ['/storage/v1/object/files/tricks/%ff.txt', 400],
    ['/storage/v1/object/files/tricks/..%5ca.txt', 400],
    ['/storage/v1/object/files/../../../../../../etc/passwd', 404],
    ['/storage/v1/object/files/..%2F..%2F..%2Fetc%2Fpasswd', 400],
    ['/storage/v1/object/%2e%2e%2Ffiles/tricks/a.txt', 400],
  ])('GET %s → %i', async (trick, status) => {
    const response = await stack.raw({ path: trick, headers: service })
    expect(response.status).toBe(status)
    if (status === 200) expect(response.text).toBe('a')
  })

  test('a resolved path is judged as what it resolves to', async () => {
    const form = { method: 'POST', body: 'x' }
    const token = await stack.token({ sub: 'b0b00000-0000-4000-8000-000000000002' })
    const into = (name: string) => `/storage/v1/object/files/b0b00000-0000-4000-8000-000000000002/${name}`
    const headers = { authorization: `Bearer ${token}` }
    expect((await stack.raw({ ...form, headers, path: into('ok.txt') })).status).toBe(200)
    for (const name of ['../tricks/x.txt', '%2e%2e/tricks/x.txt', '..%2Ftricks%2Fx.txt', '..%5c..%5cx.txt']) {
      expect((await stack.raw({ ...form, headers, path: into(name) })).status).toBe(400)
    }
    const names = await stack.db.query<{ name: string }>(`select name from storage.objects where name like '%x.txt'`)
    expect(names).toEqual([])
  })

  test('names never become names on disk', async () => {
    expect((await put("odd/na me!-.*'()&$@=;:+,.txt", 'odd')).status).toBe(200)
    expect(await (await get({}, "odd/na me!-.*'()&$@=;:+,.txt")).text()).toBe('odd')
    const stored = readdirSync(join(stack.files.root, 'objects'), { recursive: true, encoding: 'utf8' })
    const onlyHashes = /^[0-9a-f]{2}(\/[0-9a-f]{64}\.[0-9a-f-]{36})?$/
    expect(stored.length).toBeGreaterThan(1)
    expect(stored.filter((name) => !onlyHashes.test(name))).toEqual([])
  })
})

describe('large bodies', () => {
  const chunk = Buffer.alloc(1024 * 1024, 'x')
  const temporary = () =>
    readdirSync(join(stack.files.root, 'tmp')).map((name) => statSync(join(stack.files.root, 'tmp', name)).size)
  const until = async (condition: () => boolean) => {
    for (let i = 0; i < 400 && !condition(); i++) await sleep(25)
    expect(condition()).toBe(true)
  }
  const begin = (target: string, headers: Record<string, string>) => {
    const { port } = new URL(stack.url)
    const outgoing = request({
      host: '127.0.0.1',
      port,
      method: 'POST',
      path: target,
      headers: { ...service, ...headers },
    })
    const status = new Promise<number>((resolve, reject) => {
      outgoing.on('response', (response) => resolve(response.resume().statusCode ?? 0)).on('error', reject)
    })
    return { outgoing, status }
  }

  test('20 MB, raw and as a form, are on disk before the body has ended', async () => {
    const boundary = 'boundary-of-this-form'
    const head = `--${boundary}\r\ncontent-disposition: form-data; name=""; filename="blob"\r\ncontent-type: text/plain\r\n\r\n`
    const kinds = {
      raw: { type: 'text/plain', head: '', tail: '' },
      form: { type: `multipart/form-data; boundary=${boundary}`, head, tail: `\r\n--${boundary}--\r\n` },
    }
    for (const [name, kind] of Object.entries(kinds)) {
      const { outgoing, status } = begin(`/storage/v1/object/files/large/${name}`, { 'content-type': kind.type })
      outgoing.write(kind.head)
      for (let i = 0; i < 10; i++) outgoing.write(chunk)
      await until(() => temporary().some((size) => size >= 9 * chunk.length))
      for (let i = 0; i < 10; i++) outgoing.write(chunk)
      outgoing.end(kind.tail)
      expect(await status).toBe(200)
      expect(temporary()).toEqual([])
      const response = await get({}, `large/${name}`, 'HEAD')
      expect(response.headers.get('content-length')).toBe(String(20 * chunk.length))
    }
  })

  test('a slow reader does not make the server read ahead', async () => {
    const before = process.memoryUsage().arrayBuffers
    const { port } = new URL(stack.url)
    const incoming = await new Promise<import('node:http').IncomingMessage>((resolve, reject) => {
      request({ host: '127.0.0.1', port, path: '/storage/v1/object/files/large/raw', headers: service }, resolve)
        .on('error', reject)
        .end()
    })
    await sleep(500)
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8 * chunk.length)
    let received = 0
    for await (const piece of incoming) received += (piece as Buffer).length
    expect(received).toBe(20 * chunk.length)
  })

  // Elsewhere there is no /proc to see open files in.
  if (process.platform !== 'linux') console.info('Left out: open files, which only Linux shows in /proc.')
  test.runIf(process.platform === 'linux')('a reader that goes away leaves no open file (Linux)', async () => {
    const openFiles = () =>
      readdirSync('/proc/self/fd').filter((fd) => {
        try {
          return readlinkSync(`/proc/self/fd/${fd}`).startsWith(stack.files.root)
        } catch {
          return false
        }
      }).length
    const forgotten: string[] = []
    const onWarning = ({ message }: Error) => message.includes('file descriptor') && forgotten.push(message)
    process.on('warning', onWarning)
    const { port } = new URL(stack.url)
    const target = { host: '127.0.0.1', port, path: '/storage/v1/object/files/large/raw', headers: service }
    for (const leave of ['early', 'midway'] as const) {
      const outgoing = request(target).on('error', () => {})
      outgoing.end()
      await new Promise((resolve) => outgoing.on(leave === 'early' ? 'socket' : 'response', resolve))
      if (leave === 'early') await sleep(3)
      else await until(() => openFiles() === 1)
      outgoing.destroy()
      await until(() => openFiles() === 0)
    }
    const results = await Promise.allSettled(
      Array.from({ length: 20 }, (_, i) =>
        fetch(`${stack.url}${target.path}`, { headers: service, signal: AbortSignal.timeout(5 + i * 3) }),
      ),
    )
    for (const result of results) if (result.status === 'fulfilled') await result.value.body?.cancel().catch(() => {})
    await until(() => openFiles() === 0)
    process.off('warning', onWarning)
    expect(forgotten).toEqual([])
  })

  test('more than the limit is refused while it is being sent, and leaves nothing', async () => {
    const { outgoing, status } = begin('/storage/v1/object/small/large.txt', { 'content-type': 'text/plain' })
    outgoing.write(chunk)
    outgoing.write(chunk)
    expect(await status).toBe(400)
    outgoing.on('error', () => {}).destroy()
    await until(() => temporary().length === 0)
    const declared = await fetch(`${stack.url}/storage/v1/object/files/large/declared`, {
      method: 'POST',
      headers: service,
      body: Buffer.alloc(60 * 1024 * 1024),
    })
    expect(await declared.json()).toMatchObject({ statusCode: '413' })
  })

  test('a body cut off leaves neither row nor bytes', async () => {
    const cut = begin('/storage/v1/object/files/large/cut', {
      'content-type': 'text/plain',
      'content-length': '5000000',
    })
    cut.outgoing.write(chunk)
    await until(() => temporary().some((size) => size > 0))
    cut.status.catch(() => {})
    cut.outgoing.destroy()
    await until(() => temporary().length === 0)
    const form = begin('/storage/v1/object/files/large/cut', { 'content-type': 'multipart/form-data; boundary=b' })
    form.outgoing.end('--b\r\ncontent-disposition: form-data; name=""; filename="f"\r\n\r\nhalf a file')
    expect(await form.status).toBe(400)
    expect((await get({}, 'large/cut')).status).toBe(400)
    expect(temporary()).toEqual([])
  })
})
