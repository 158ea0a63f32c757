import { describe, expect, it } from 'vitest'
import { createEgress, type EgressErrorCode } from '../../supabase/functions/_shared/egress/index.ts'
import { httpServer, httpsServer, networkOf, PUBLIC_1, PUBLIC_2, refusal, resolverOf } from './support/egress.ts'
import { selfSigned } from './support/self-signed.ts'

const NAME = 'start.example.com'
const OTHER = 'other.example.com'
const certificate = selfSigned(NAME)
const otherCertificate = selfSigned(OTHER)

/** A server that answers `/` with a redirect to `location`, everything else with `arrived`, and an egress that reaches it. */
async function redirecting(location: string, status = 302) {
  const server = await httpsServer(certificate, (request, response) => {
    if (request.url === '/') response.writeHead(status, { location }).end('on your way')
    else response.end('arrived')
  })
  const other = await httpsServer(otherCertificate, (_, response) => response.end('other'))
  const network = networkOf({ [PUBLIC_1]: server.port, [PUBLIC_2]: other.port })
  const resolver = resolverOf({ [NAME]: [[PUBLIC_1]], [OTHER]: [[PUBLIC_2]], 'inside.example.com': [['10.0.0.1']] })
  const egress = createEgress({
    resolver,
    connector: network,
    ca: certificate.cert + otherCertificate.cert,
    ownUrls: ['https://own.example.com'],
    allowHosts: ['plain.example.com'],
  })
  return { egress, server, other, network }
}

describe('N03: URLs that must not be fetched', () => {
  const urls: [url: string, code: EgressErrorCode][] = [
    ['file:///etc/passwd', 'blocked_scheme'],
    ['gopher://start.example.com:6379/_FLUSHALL', 'blocked_scheme'],
    ['data:text/html,<script>x</script>', 'blocked_scheme'],
    ['ftp://start.example.com/', 'blocked_scheme'],
    ['ws://start.example.com/', 'blocked_scheme'],
    ['javascript:alert(1)', 'blocked_scheme'],
    ['blob:https://start.example.com/x', 'blocked_scheme'],
    ['http://start.example.com/', 'blocked_scheme'],
    ['https://user:password@start.example.com/', 'bad_url'],
    ['https://token@start.example.com/', 'bad_url'],
    ['https://start.example.com@169.254.169.254/', 'bad_url'],
    ['https://start.example.com:22/', 'blocked_port'],
    ['https://start.example.com:25/', 'blocked_port'],
    ['https://start.example.com:5432/', 'blocked_port'],
    ['https://start.example.com:6379/', 'blocked_port'],
    ['https://start.example.com:8443/', 'blocked_port'],
    ['start.example.com', 'bad_url'],
    ['//start.example.com/', 'bad_url'],
    ['/etc/passwd', 'bad_url'],
    ['', 'bad_url'],
    [`https://start.example.com/${'x'.repeat(9000)}`, 'bad_url'],
  ]
  it.each(urls)('%s', async (url, code) => {
    const { egress, network } = await redirecting('/')
    await refusal(egress.fetch(url), code)
    await refusal(egress.stream(url), code)
    await refusal(egress.check(url), code)
    expect(network.connected).toEqual([])
  })

  it('white space in a URL cannot split the request: it is dropped or escaped', async () => {
    const { egress, server } = await redirecting('/')
    await egress.fetch(`https://${NAME}/a b\r\nx-injected: 1\tc?q= HTTP/1.1\r\n\r\nGET /two`)
    expect(server.seen.map(({ url }) => url)).toEqual(['/a%20bx-injected:%201c?q=%20HTTP/1.1GET%20/two'])
    expect(server.seen[0]?.headers).not.toHaveProperty('x-injected')
  })
})

describe('N03: redirects', () => {
  const hops: [location: string, code: EgressErrorCode][] = [
    ['https://10.0.0.1/', 'blocked_address'],
    ['https://169.254.169.254/latest/', 'blocked_address'],
    ['//169.254.169.254/latest/', 'blocked_address'],
    ['https://[::ffff:a9fe:a9fe]/', 'blocked_address'],
    ['https://2130706433/', 'blocked_address'],
    ['https://localhost/', 'blocked_address'],
    ['https://inside.example.com/', 'blocked_address'],
    ['https://own.example.com/rest/v1/', 'blocked_address'],
    ['http://127.0.0.1:54321/', 'blocked_address'],
    ['http://start.example.com/', 'blocked_scheme'],
    ['http://plain.example.com/', 'dns_failed'],
    ['file:///etc/passwd', 'blocked_scheme'],
    ['gopher://start.example.com/', 'blocked_scheme'],
    ['data:text/plain,x', 'blocked_scheme'],
    ['https://user:pw@other.example.com/', 'bad_url'],
    ['https://other.example.com:6379/', 'blocked_port'],
    ['https://', 'bad_url'],
    ['https://start.example.com/', 'too_many_redirects'],
  ]
  it.each(hops)('to %s are refused', async (location, code) => {
    const { egress, server, other } = await redirecting(location)
    await refusal(egress.fetch(`https://${NAME}/`), code)
    expect(server.seen).toHaveLength(code === 'too_many_redirects' ? 6 : 1)
    expect(other.seen).toEqual([])
  })

  it('from https to http are refused even where http is allowed', async () => {
    const plain = await httpServer((_, response) => response.end('plain'))
    const server = await httpsServer(certificate, (_, response) =>
      response.writeHead(307, { location: `http://plain.example.com:${plain.port}/` }).end(),
    )
    const egress = createEgress({
      resolver: resolverOf({ [NAME]: [[PUBLIC_1]], 'plain.example.com': [['127.0.0.1']] }),
      connector: networkOf({ [PUBLIC_1]: server.port }, true),
      ca: certificate.cert,
      allowHosts: [`plain.example.com:${plain.port}`],
    })
    expect((await egress.fetch(`http://plain.example.com:${plain.port}/`)).text()).toBe('plain')
    await refusal(egress.fetch(`https://${NAME}/`), 'blocked_scheme')
    expect(plain.seen).toHaveLength(1)
  })

  it('within the origin are followed and keep the headers', async () => {
    const { egress, server } = await redirecting('/next?a=1#part')
    const answer = await egress.fetch(`https://${NAME}/`, { headers: { Authorization: 'Bearer canary' } })
    expect([answer.status, answer.text(), answer.url]).toEqual([200, 'arrived', `https://${NAME}/next?a=1#part`])
    expect(server.seen.map(({ url, headers }) => [url, headers.authorization])).toEqual([
      ['/', 'Bearer canary'],
      ['/next?a=1', 'Bearer canary'],
    ])
  })

  it.each([
    ['UTF-8', Buffer.from('/caf\u00e9'), '/caf%C3%A9'],
    ['Latin-1', Buffer.from('/caf\u00e9', 'latin1'), '/caf%C3%A9'],
  ])('to an address in %s are followed there', async (_, location, path) => {
    const { egress, server } = await redirecting(location.toString('latin1'))
    expect((await egress.fetch(`https://${NAME}/`)).text()).toBe('arrived')
    expect(server.seen.at(-1)?.url).toBe(path)
  })

  it('to another origin take no header along that could be a credential', async () => {
    const { egress, other } = await redirecting(`https://${OTHER}/`)
    const secrets = {
      authorization: 'Bearer canary',
      cookie: 'sid=canary',
      'x-api-key': 'canary',
      'x-custom': 'canary',
    }
    const answer = await egress.fetch(`https://${NAME}/`, { headers: { ...secrets, accept: 'text/html' } })
    expect([answer.text(), answer.url]).toEqual(['other', `https://${OTHER}/`])
    expect(other.seen[0]?.headers).toMatchObject({ host: OTHER, accept: 'text/html' })
    expect(JSON.stringify(other.seen)).not.toContain('canary')
  })

  it.each([
    [301, 'POST', 'GET', ''],
    [302, 'POST', 'GET', ''],
    [303, 'POST', 'GET', ''],
    [303, 'PUT', 'GET', ''],
    [301, 'PUT', 'PUT', 'data'],
    [307, 'POST', 'POST', 'data'],
    [308, 'POST', 'POST', 'data'],
  ])('%i makes %s a %s', async (status, method, then, body) => {
    const { egress, server } = await redirecting('/next', status)
    await egress.fetch(`https://${NAME}/`, { method, body: 'data', headers: { 'content-type': 'text/x' } })
    const [first, second] = server.seen
    expect([first?.method, first?.body]).toEqual([method, 'data'])
    expect([second?.method, second?.body]).toEqual([then, body])
    expect(second?.headers['content-type']).toBe(body === '' ? undefined : 'text/x')
  })

  it('are counted, and left alone when asked', async () => {
    const { egress, server } = await redirecting('/next')
    await refusal(egress.fetch(`https://${NAME}/`, { maxRedirects: 0 }), 'too_many_redirects')
    const answer = await egress.fetch(`https://${NAME}/`, { maxRedirects: 'manual' })
    expect([answer.status, answer.headers.get('location'), answer.text()]).toEqual([302, '/next', 'on your way'])
    expect(server.seen).toHaveLength(2)
  })
})
