import { describe, expect, it } from 'vitest'
import { createEgress } from '../../supabase/functions/_shared/egress/index.ts'
import {
  httpServer,
  httpsServer,
  networkOf,
  PUBLIC_1,
  PUBLIC_2,
  PUBLIC_V6,
  refusal,
  resolverOf,
} from './support/egress.ts'
import { selfSigned } from './support/self-signed.ts'

const NAME = 'rebind.example.com'
const certificate = selfSigned(NAME)

describe('N02: a name that changes its mind', () => {
  it('is resolved once, and the connection goes to the address that was checked', async () => {
    const vetted = await httpsServer(certificate, (_, response) => response.end('the vetted one'))
    const inside = await httpsServer(certificate, (_, response) => response.end('canary-inside'))
    // What a second look-up would give, and what 127.0.0.1 leads to, is the server inside.
    const resolver = resolverOf({ [NAME]: [[PUBLIC_1], ['127.0.0.1']] })
    const network = networkOf({ [PUBLIC_1]: vetted.port, '127.0.0.1': inside.port })
    const egress = createEgress({ resolver, connector: network, ca: certificate.cert })

    const answer = await egress.fetch(`https://${NAME}/`)
    expect([answer.status, answer.text()]).toEqual([200, 'the vetted one'])
    expect([vetted.seen.length, inside.seen.length, resolver.asked]).toEqual([1, 0, [NAME]])
    expect(network.connected).toEqual([expect.objectContaining({ address: PUBLIC_1, port: 443 })])
    // The next request looks again, and the new answer is refused.
    await refusal(egress.fetch(`https://${NAME}/`), 'blocked_address')
    expect(inside.seen).toEqual([])
  })

  // Only Linux answers on all of 127.0.0.0/8 without being told.
  if (process.platform !== 'linux')
    console.info('Left out: two loopback addresses at once, which only Linux has unasked.')
  it.runIf(process.platform === 'linux')(
    'cannot move a real socket either: 127.0.0.2 answers, not 127.0.0.1',
    async () => {
      const first = await httpServer((_, response) => response.end('first'), { host: '127.0.0.2', port: 0 })
      const second = await httpServer((_, response) => response.end('second'), { host: '127.0.0.1', port: first.port })
      const resolver = resolverOf({ [NAME]: [['127.0.0.2'], ['127.0.0.1']] })
      const egress = createEgress({ resolver, allowHosts: [`${NAME}:${first.port}`] })
      expect((await egress.fetch(`http://${NAME}:${first.port}/`)).text()).toBe('first')
      expect([first.seen[0]?.headers.host, second.seen.length, resolver.asked.length]).toEqual([
        `${NAME}:${first.port}`,
        0,
        1,
      ])
    },
  )

  it('is refused when a single one of many addresses is private, wherever it stands', async () => {
    const publics = Array.from({ length: 30 }, (_, i) => `93.184.215.${i + 1}`)
    for (const position of [0, 15, 30]) {
      const addresses = publics.toSpliced(position, 0, '10.0.0.7')
      const network = networkOf({})
      const egress = createEgress({ resolver: resolverOf({ [NAME]: [addresses] }), connector: network })
      await refusal(egress.fetch(`https://${NAME}/`), 'blocked_address')
      expect(network.connected).toEqual([])
    }
  })

  it('is looked up again for every hop of a redirect, and refused at the hop where it turns private', async () => {
    const server = await httpsServer(certificate, (request, response) =>
      response.writeHead(302, { location: `https://${NAME}${request.url}x` }).end(),
    )
    const network = networkOf({ [PUBLIC_1]: server.port })
    const resolver = resolverOf({ [NAME]: [[PUBLIC_1], [PUBLIC_1], ['192.168.0.1']] })
    const egress = createEgress({ resolver, connector: network, ca: certificate.cert })
    await refusal(egress.fetch(`https://${NAME}/`), 'blocked_address')
    expect(server.seen.map(({ url }) => url)).toEqual(['/', '/x'])
    expect(resolver.asked).toHaveLength(3)
  })

  it('tries the other checked addresses when one does not answer, IPv4 first', async () => {
    const server = await httpsServer(certificate, (_, response) => response.end('found'))
    const network = networkOf({ [PUBLIC_V6]: server.port })
    const resolver = resolverOf({ [NAME]: [[PUBLIC_V6, PUBLIC_2, PUBLIC_1]] })
    const egress = createEgress({ resolver, connector: network, ca: certificate.cert })
    expect((await egress.fetch(`https://${NAME}/`)).text()).toBe('found')
    expect(network.connected.map(({ address }) => address)).toEqual([PUBLIC_2, PUBLIC_1, PUBLIC_V6])
  })

  it('cannot borrow a certificate: one for another name, or signed by nobody, ends the connection before a request', async () => {
    const server = await httpsServer(certificate, (_, response) => response.end('x'))
    const network = networkOf({ [PUBLIC_1]: server.port })
    const resolver = resolverOf({ 'other.example.com': [[PUBLIC_1]], [NAME]: [[PUBLIC_1]] })
    const trusting = createEgress({ resolver, connector: network, ca: certificate.cert })
    await refusal(trusting.fetch('https://other.example.com/'), 'connection_failed')
    await refusal(trusting.fetch(`https://${PUBLIC_1}/`), 'connection_failed')
    await refusal(createEgress({ resolver, connector: network }).fetch(`https://${NAME}/`), 'connection_failed')
    expect(server.seen).toEqual([])
    expect((await trusting.fetch(`https://${NAME}/`)).text()).toBe('x')
  })
})
