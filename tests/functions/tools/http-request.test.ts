import { Validator } from '@cfworker/json-schema'
import { describe, expect, it } from 'vitest'
import { createEgress } from '../../../supabase/functions/_shared/egress/index.ts'
import { createHttpRequest } from '../../../supabase/functions/_shared/tools/http-request.ts'
import { httpServer, networkOf, resolverOf } from '../support/egress.ts'
import { outsideContext } from '../support/tool-context.ts'

/** The tool, and a server it may reach that answers `body` with these headers and status. */
async function scene(body: string | Buffer = 'ok', headers: Record<string, string> = {}, status = 200) {
  const server = await httpServer((request, response) => {
    if (request.url === '/moved') response.writeHead(302, { location: '/' }).end()
    else response.writeHead(status, headers).end(body)
  })
  const tool = createHttpRequest(createEgress({ allowHosts: [`127.0.0.1:${server.port}`] }))
  const url = `http://127.0.0.1:${server.port}/`
  const call = (args: Record<string, unknown> = {}) => tool.execute({ url, ...args }, outsideContext())
  return { server, tool, url, call }
}

describe('http_request', () => {
  it('returns status, telling headers and body', async () => {
    const { call, server, url } = await scene('{"a":1}', {
      'content-type': 'application/json',
      'set-cookie': 'canary=1',
      server: 'x',
    })
    expect(await call()).toEqual({ text: 'HTTP 200\ncontent-type: application/json\n\n{"a":1}' })
    expect(server.seen[0]?.headers).toEqual({
      host: new URL(url).host,
      'user-agent': 'bulkhead',
      accept: '*/*',
      'accept-encoding': 'gzip, deflate',
      connection: 'close',
    })
    expect(await call({ url: `${url}moved` })).toMatchObject({
      text: expect.stringContaining(`HTTP 200\nurl: ${url}\n`),
    })
  })

  it('sends what the model wrote, JSON as JSON', async () => {
    const { call, server } = await scene()
    await call({ method: 'POST', body: { a: [1] }, headers: { 'X-Api-Key': 'from the instructions' } })
    await call({ method: 'PUT', body: 'plain', headers: {} })
    await call({ method: 'POST', body: '<x/>', headers: { 'Content-Type': 'application/xml' } })
    await call({ method: 'DELETE' })
    expect(server.seen.map(({ method, body, headers }) => [method, headers['content-type'], body])).toEqual([
      ['POST', 'application/json', '{"a":[1]}'],
      ['PUT', 'text/plain; charset=utf-8', 'plain'],
      ['POST', 'application/xml', '<x/>'],
      ['DELETE', undefined, ''],
    ])
    expect(server.seen[0]?.headers['x-api-key']).toBe('from the instructions')
  })

  it('names run and call to the receiver of what may have effects, unless the model names a key', async () => {
    const { call, server } = await scene()
    for (const method of ['POST', 'PUT', 'DELETE', 'GET']) await call({ method })
    await call({ method: 'POST', headers: { 'Idempotency-Key': 'order-7' } })
    expect(server.seen.map(({ headers }) => headers['idempotency-key'])).toEqual([
      ...Array(3).fill('run_1:call_1'),
      undefined,
      'order-7',
    ])
  })

  it('may be made again if it only reads', async () => {
    const { tool } = await scene()
    const isSafe = tool.isRetrySafe as (args: Record<string, unknown>) => boolean
    const asked = [{}, { method: 'GET' }, { method: 'POST' }, { method: 'PUT' }, { method: 'DELETE' }]
    expect(asked.map(isSafe)).toEqual([true, true, false, false, false])
  })

  it('gives 10,000 characters and says that there are more', async () => {
    const { call } = await scene('x'.repeat(500_000), { 'content-type': 'text/plain' })
    const { text } = await call()
    expect(text.length).toBe(10_000)
    expect(text).toMatch(/x\n\[Cut off: only the beginning is shown\.\]$/)
    const wide = await scene('€'.repeat(30_000), { 'content-type': 'text/plain' })
    expect((await wide.call()).text.length).toBe(10_000)
  })

  it('marks a status of 400 or more as an error, and still shows the answer', async () => {
    const { call } = await scene('{"error":"no such order"}', { 'content-type': 'application/json' }, 404)
    expect(await call()).toEqual({
      isError: true,
      text: 'HTTP 404\ncontent-type: application/json\n\n{"error":"no such order"}',
    })
  })

  it.each([
    ['a PNG', Buffer.from('89504e470d0a1a0a0000', 'hex'), 'image/png', '[10 bytes of image/png that are not text]'],
    [
      'a program that calls itself HTML',
      Buffer.from('7f454c460201010000', 'hex'),
      'text/html',
      '[9 bytes of text/html that are not text]',
    ],
    [
      'a NUL in what calls itself JSON',
      Buffer.from('{"a":"\0"}'),
      'application/json',
      '[9 bytes of application/json that are not text]',
    ],
    ['text without a type', Buffer.from('hello'), '', 'hello'],
    ['Latin-1', Buffer.from('caf\xe9', 'latin1'), 'text/plain; charset=iso-8859-1', 'café'],
    ['UTF-16', Buffer.from('hi', 'utf16le'), 'text/plain; charset=utf-16le', 'hi'],
    ['a charset that does not exist', Buffer.from('hi'), 'text/plain; charset=klingon', 'hi'],
    ['no valid UTF-8', Buffer.from('a\xffb', 'latin1'), 'text/plain', 'a\ufffdb'],
  ])('N04: %s is what its bytes are', async (_, body, type, shown) => {
    const { call } = await scene(body, type === '' ? {} : { 'content-type': type })
    expect((await call()).text.split('\n').at(-1)).toBe(shown)
  })

  it('N01: refuses addresses inside, with a text that says no more than that', async () => {
    const network = networkOf({})
    const tool = createHttpRequest(
      createEgress({ connector: network, resolver: resolverOf({ 'sly.example.com': [['10.1.2.3']] }) }),
    )
    for (const url of [
      'https://169.254.169.254/latest/',
      'https://sly.example.com/',
      'http://localhost:54321/rest/v1/',
      'https://[::1]/',
    ]) {
      expect(await tool.execute({ url }, outsideContext())).toEqual({
        isError: true,
        text: 'This host may not be contacted.',
      })
    }
    expect(await tool.execute({ url: 'file:///etc/passwd' }, outsideContext())).toMatchObject({ isError: true })
    expect(
      await tool.execute({ url: 'https://x.example.com', headers: { a: 'b\r\nc: d' } }, outsideContext()),
    ).toMatchObject({ isError: true })
    expect(network.connected).toEqual([])
  })

  it('ends with the reason of the run when the run ends', async () => {
    const { tool, url } = await scene()
    const reason = new Error('cancelled')
    await expect(tool.execute({ url }, outsideContext(AbortSignal.abort(reason)))).rejects.toBe(reason)
  })

  it('T05: takes four arguments and no others', async () => {
    const { tool } = await scene()
    const valid = (args: unknown) => new Validator(tool.inputSchema, '2020-12').validate(args).valid
    expect(valid({ url: 'https://a.example', method: 'DELETE', headers: { a: 'b' }, body: [1] })).toBe(true)
    for (const args of [
      {},
      { url: 1 },
      { url: 'x', method: 'TRACE' },
      { url: 'x', user_id: 'u' },
      { url: 'x', headers: { a: 1 } },
    ]) {
      expect(valid(args), JSON.stringify(args)).toBe(false)
    }
    expect([tool.kind, tool.isConcurrencySafe, tool.effects, tool.maxResultChars]).toEqual([
      'builtin',
      false,
      ['egress', 'reads_untrusted'],
      10_000,
    ])
  })
})
