import { describe, expect, it } from 'vitest'
import { createEgress, egressFromEnv, type EgressRequest } from '../../supabase/functions/_shared/egress/index.ts'
import { httpServer, networkOf, PUBLIC_1, refusal, resolverOf, tcpServer } from './support/egress.ts'

/** A server that answers `ok`, and an egress that may reach it. */
async function reachable() {
  const server = await httpServer((_, response) => response.setHeader('x-answer', 'yes').end('ok'))
  const url = `http://127.0.0.1:${server.port}`
  return { server, url, egress: createEgress({ allowHosts: [`127.0.0.1:${server.port}`] }) }
}

describe('a request through the egress', () => {
  it('arrives as it was asked for, and the answer comes back', async () => {
    const { server, url, egress } = await reachable()
    const answer = await egress.fetch(`${url}/a?b=c#d`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'X-Custom': ' Grüße ' },
      body: '{"name":"Jürgen"}',
    })
    expect([answer.status, answer.headers.get('x-answer'), answer.text(), answer.truncated]).toEqual([
      200,
      'yes',
      'ok',
      false,
    ])
    const [seen] = server.seen
    expect([seen?.method, seen?.url, seen?.body]).toEqual(['POST', '/a?b=c', '{"name":"Jürgen"}'])
    expect(seen?.headers).toEqual({
      host: `127.0.0.1:${server.port}`,
      'user-agent': 'bulkhead',
      accept: '*/*',
      'content-type': 'application/json',
      'x-custom': 'Grüße',
      'accept-encoding': 'gzip, deflate',
      'content-length': '18',
      connection: 'close',
    })
  })

  it('may have a body of bytes, or a body with GET, or none with POST', async () => {
    const { server, url, egress } = await reachable()
    await egress.fetch(url, {
      method: 'PUT',
      body: new Uint8Array([104, 105]),
      headers: new Headers({ accept: 'a/b' }),
    })
    await egress.fetch(url, { method: 'GET', body: '{}' })
    await egress.fetch(url, { method: 'POST' })
    await egress.fetch(url)
    expect(server.seen.map(({ method, body, headers }) => [method, body, headers['content-length']])).toEqual([
      ['PUT', 'hi', '2'],
      ['GET', '{}', '2'],
      ['POST', '', '0'],
      ['GET', '', undefined],
    ])
    expect(server.seen[0]?.headers['accept']).toBe('a/b')
  })

  it('a body of 5 MB arrives whole, and one beyond the limit is not sent', async () => {
    const { server, url, egress } = await reachable()
    await egress.fetch(url, { method: 'POST', body: 'x'.repeat(5_000_000) })
    expect(server.seen[0]?.body.length).toBe(5_000_000)
    await refusal(egress.fetch(url, { method: 'POST', body: 'x'.repeat(11_000_000) }), 'too_large')
    expect(server.seen).toHaveLength(1)
  })

  it('cannot set headers about the connection', async () => {
    const { server, url, egress } = await reachable()
    const headers: Record<string, string> = {
      Host: 'internal.example',
      'Content-Length': '3',
      'Transfer-Encoding': 'chunked',
      Connection: 'keep-alive, x-custom',
      'Proxy-Authorization': 'Basic canary',
      'Accept-Encoding': 'br',
      Expect: '100-continue',
      Upgrade: 'h2c',
      TE: 'trailers',
    }
    await egress.fetch(url, { method: 'POST', body: 'hello', headers })
    const [seen] = server.seen
    expect(seen?.body).toBe('hello')
    expect(seen?.headers).toEqual({
      host: `127.0.0.1:${server.port}`,
      'user-agent': 'bulkhead',
      accept: '*/*',
      'accept-encoding': 'gzip, deflate',
      'content-length': '5',
      connection: 'close',
    })
  })

  it.each<[string, EgressRequest]>([
    ['CRLF in a value', { headers: { x: 'a\r\nx-injected: 1' } }],
    ['LF in a value', { headers: { x: 'a\nx-injected: 1' } }],
    ['CR in a value', { headers: { x: 'a\rb' } }],
    ['NUL in a value', { headers: { x: 'a\0b' } }],
    ['a character that would become a line feed when cut to a byte', { headers: { x: 'a\u010Ab\u010D' } }],
    ['CRLF in a name', { headers: { 'x: a\r\ny': 'b' } }],
    ['a space in a name', { headers: { 'x y': 'b' } }],
    ['a colon in a name', { headers: { 'host:': 'b' } }],
    ['an empty name', { headers: { '': 'b' } }],
    ['a value that is no text', { headers: { x: 1 as unknown as string } }],
    ['too many headers', { headers: { x: 'y'.repeat(40_000) } }],
    ['CRLF in the method', { method: 'GET / HTTP/1.1\r\nx: y' }],
    ['the method CONNECT', { method: 'CONNECT' }],
    ['the method TRACE', { method: 'TRACE' }],
    ['a method in lower case', { method: 'get' }],
  ])('with %s is not sent', async (_, request) => {
    const { server, url, egress } = await reachable()
    await refusal(egress.fetch(url, request), 'bad_request')
    expect(server.seen).toEqual([])
  })

  it('to nobody fails without saying where it went', async () => {
    const { server } = await reachable()
    const closed = createEgress({ allowHosts: ['127.0.0.1:1'] })
    const error = await refusal(closed.fetch('http://127.0.0.1:1/'), 'connection_failed')
    expect(error.message).toBe('The server could not be reached.')
    const unknown = createEgress({ resolver: resolverOf({ 'empty.example.com': [[]] }) })
    const texts = [
      await refusal(unknown.fetch('https://nobody.example.com/'), 'dns_failed'),
      await refusal(unknown.fetch('https://empty.example.com/'), 'dns_failed'),
    ].map(({ message }) => message)
    expect(new Set(texts)).toEqual(new Set(['The host name could not be resolved.']))
    expect(server.seen).toEqual([])
  })

  it('asks the system for addresses unless told otherwise, and never for one that a URL may not name', async () => {
    const { server } = await reachable()
    const allowed = createEgress({ allowHosts: [`localhost:${server.port}`] })
    expect((await allowed.fetch(`http://localhost:${server.port}/`)).text()).toBe('ok')
    expect(server.seen[0]?.headers.host).toBe(`localhost:${server.port}`)
    await refusal(createEgress().fetch(`http://localhost:${server.port}/`), 'blocked_address')
  })

  it('can be read as it comes', async () => {
    const port = await tcpServer((socket) => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n')
      socket.once('data', () => {})
    })
    const egress = createEgress({ allowHosts: [`127.0.0.1:${port}`] })
    const answer = await egress.stream(`http://127.0.0.1:${port}/events`)
    for await (const piece of answer.body) {
      expect(new TextDecoder().decode(piece)).toBe('data: 1\n\n')
      break
    }
    const again = await egress.stream(`http://127.0.0.1:${port}/events`)
    expect([again.status, again.headers.get('content-type'), again.url]).toEqual([
      200,
      'text/event-stream',
      `http://127.0.0.1:${port}/events`,
    ])
    again.close()
  })

  it('check tells whether a URL would be fetched, without contacting it', async () => {
    const network = networkOf({})
    const egress = createEgress({
      resolver: resolverOf({ 'good.example.com': [[PUBLIC_1]], 'bad.example.com': [['10.0.0.1']] }),
      connector: network,
    })
    await expect(egress.check('https://good.example.com/x')).resolves.toBeUndefined()
    await refusal(egress.check('https://bad.example.com/x'), 'blocked_address')
    await refusal(egress.check('https://none.example.com/x'), 'dns_failed')
    expect(network.connected).toEqual([])
  })
})

describe('trusting', () => {
  it('opens one origin, the project’s own included, and nothing else', async () => {
    const { server, url } = await reachable()
    const egress = createEgress({ ownUrls: [url], denyHosts: ['*'] })
    await refusal(egress.fetch(url), 'blocked_address')
    const trusting = egress.trusting(`${url}/search?x=1`)
    expect((await trusting.fetch(`${url}/other`)).status).toBe(200)
    for (const other of ['http://127.0.0.1:1/', `https://127.0.0.1:${server.port}/`, 'https://10.0.0.1/']) {
      await refusal(trusting.fetch(other), 'blocked_address')
    }
    await refusal(egress.fetch(url), 'blocked_address')
  })
})

describe('egressFromEnv', () => {
  it('reads what is allowed, denied and ours', async () => {
    const { server, url } = await reachable()
    const network = networkOf({}, true)
    const means = {
      resolver: resolverOf({ 'api.example.com': [[PUBLIC_1]], 'bad.example.com': [[PUBLIC_1]] }),
      connector: network,
    }
    const env = {
      SUPABASE_URL: 'http://127.0.0.1:54321',
      SUPABASE_PUBLIC_URL: 'https://app.example.com',
      BULKHEAD_EGRESS_ALLOW_HOSTS: `127.0.0.1:${server.port}, 127.0.0.1:54321`,
      BULKHEAD_EGRESS_DENY_HOSTS: 'bad.example.com',
      BULKHEAD_EGRESS_PORTS: '8443',
    }
    const egress = egressFromEnv(env, means)
    expect((await egress.fetch(url)).text()).toBe('ok')
    for (const refused of ['http://127.0.0.1:54321/', 'https://app.example.com/', 'https://bad.example.com/']) {
      await refusal(egress.check(refused), 'blocked_address')
    }
    await egress.check('https://api.example.com:8443/')
    await refusal(egress.check('https://api.example.com:9443/'), 'blocked_port')
    await refusal(egressFromEnv({}, means).fetch(url), 'blocked_address')
  })

  it('refuses settings that are malformed', () => {
    expect(() => egressFromEnv({ BULKHEAD_EGRESS_PORTS: '80,http' })).toThrow(/BULKHEAD_EGRESS_PORTS/)
    expect(() => egressFromEnv({ BULKHEAD_EGRESS_ALLOW_HOSTS: 'http://x' })).toThrow(/allowHosts/)
  })
})
