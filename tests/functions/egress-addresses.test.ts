import { describe, expect, it } from 'vitest'
import { addressKind } from '../../supabase/functions/_shared/egress/addresses.ts'
import { createEgress, type EgressErrorCode } from '../../supabase/functions/_shared/egress/index.ts'
import { networkOf, PUBLIC_1, PUBLIC_V6, refusal, resolverOf } from './support/egress.ts'

const OWN = ['https://abcdefghijklmnopqrst.supabase.co', 'https://api.bulkhead-customer.com/']

/** An egress on which every name resolves to a public address, so that only the rules can refuse. */
function guarded(names: Record<string, string[][]> = {}) {
  const network = networkOf({})
  const resolver = resolverOf(names)
  const egress = createEgress({ ownUrls: OWN, resolver, connector: network })
  return { egress, network, resolver }
}

/** Refused with this code before a name was asked for or a connection opened. */
async function refusedAtSight(url: string, code: EgressErrorCode): Promise<void> {
  const { egress, network, resolver } = guarded()
  await refusal(egress.fetch(url), code)
  expect([network.connected, resolver.asked], url).toEqual([[], []])
}

describe('N01: addresses that lead inside', () => {
  it.each([
    '169.254.169.254',
    '[::ffff:a9fe:a9fe]',
    '[::ffff:169.254.169.254]',
    '127.1',
    '127.0.0.1',
    '127.0.0.1.',
    '0',
    '0.0.0.0',
    '2130706433',
    '0x7f.1',
    '0x7f000001',
    '017700000001',
    '0177.0.0.1',
    '%31%32%37.0.0.1',
    '１２７.０.０.１',
    '127。0。0。1',
    '①②⑦.0.0.1',
    '10.0.0.1',
    '172.16.0.1',
    '172.31.255.255',
    '192.168.1.1',
    '100.64.0.1',
    '100.100.100.200',
    '168.63.129.16',
    '192.0.0.192',
    '192.0.2.1',
    '198.18.0.1',
    '198.51.100.7',
    '203.0.113.7',
    '224.0.0.1',
    '240.0.0.1',
    '255.255.255.255',
    '[::]',
    '[::1]',
    '[::127.0.0.1]',
    '[::ffff:127.0.0.1]',
    '[::ffff:0:127.0.0.1]',
    '[64:ff9b::7f00:1]',
    '[64:ff9b::8.8.8.8]',
    '[64:ff9b:1::a9fe:a9fe]',
    '[2002:7f00:1::]',
    '[2002:a9fe:a9fe::1]',
    '[2001:0:7f00:1::]',
    '[2001:db8::1]',
    '[3fff::1]',
    '[100::1]',
    '[fc00::1]',
    '[fd00:ec2::254]',
    '[fd12:3456:789a::1]',
    '[fe80::1]',
    '[fec0::1]',
    '[ff02::1]',
    'localhost',
    'localhost.',
    'LOCALHOST',
    'app.localhost',
    'printer.local',
    'metadata.google.internal',
    'metadata.google.internal.',
    'api.supabase.internal',
    'ｍetadata.google.internal',
    'metadata',
    'kong',
    'kubernetes.default.svc',
    'db.cluster.local',
    'nas.lan',
    'router.home.arpa',
  ])('https and http to %s are refused before anything is asked or connected', async (host) => {
    await refusedAtSight(`https://${host}/latest/meta-data/`, 'blocked_address')
    await refusedAtSight(`http://${host}/`, 'blocked_address')
  })

  it.each([
    '[fe80::1%25eth0]',
    '[fe80::1%eth0]',
    '127.0.0.1..',
    'a..b.com',
    '-x-.com',
    '256.256.256.256',
    '1.2.3.4.5',
    'exa mple.com',
    '[::1',
    '',
    'x'.repeat(64) + '.com',
  ])('the malformed host %j is refused', async (host) => refusedAtSight(`https://${host}/`, 'bad_url'))

  it.each([
    'https://abcdefghijklmnopqrst.supabase.co/rest/v1/sources?apikey=sb_secret_x',
    'https://ABCDEFGHIJKLMNOPQRST.supabase.co./rest/v1/',
    'https://abcdefghijklmnopqrst.functions.supabase.co/api/runs',
    'https://abcdefghijklmnopqrst.storage.supabase.co/',
    'https://db.abcdefghijklmnopqrst.supabase.co/',
    'https://api.bulkhead-customer.com/rest/v1/',
    'https://x.api.bulkhead-customer.com/',
  ])('the project itself is refused: %s', (url) => refusedAtSight(url, 'blocked_address'))

  it.each([
    '127.0.0.1',
    '10.1.2.3',
    '169.254.169.254',
    '100.64.1.1',
    '0.0.0.0',
    '::1',
    '::',
    'fe80::1',
    'fe80::1%eth0',
    'fd00::1',
    '::ffff:10.0.0.1',
    '64:ff9b::a00:1',
    '2002:a00:1::',
    '2001:0:0:1::',
    '168.63.129.16',
    '0x7f.1',
    '2130706433',
    'not-an-address',
  ])('a public name that resolves to %s is refused, and the answer does not say where it leads', async (address) => {
    const { egress, network } = guarded({ 'innocent.example.com': [[address]] })
    const error = await refusal(egress.fetch('https://innocent.example.com/'), 'blocked_address')
    expect(network.connected).toEqual([])
    expect(error.message).not.toContain(address)
  })

  it('lets public addresses pass, so that the refusals above mean something', async () => {
    const { egress, network } = guarded({
      'other.supabase.co': [[PUBLIC_1]],
      'münchen.example.com': [[PUBLIC_1]],
      'xn--mnchen-3ya.example.com': [[PUBLIC_V6]],
    })
    for (const host of [
      PUBLIC_1,
      `[${PUBLIC_V6}]`,
      'other.supabase.co',
      'münchen.example.com.',
      '%78n--mnchen-3ya.example.com',
    ]) {
      await refusal(egress.fetch(`https://${host}/`), 'connection_failed')
    }
    expect(network.connected.map(({ address }) => address)).toEqual([
      PUBLIC_1,
      PUBLIC_V6,
      PUBLIC_1,
      PUBLIC_V6,
      PUBLIC_V6,
    ])
    expect(network.connected.map(({ tls }) => tls?.serverName)).toEqual([
      null,
      null,
      'other.supabase.co',
      'xn--mnchen-3ya.example.com',
      'xn--mnchen-3ya.example.com',
    ])
  })
})

describe('addressKind', () => {
  it('knows what is global at the edges of the ranges that are not', () => {
    const global = [
      '9.255.255.255',
      '11.0.0.0',
      '100.63.255.255',
      '100.128.0.0',
      '126.255.255.255',
      '128.0.0.1',
      '169.253.0.1',
      '172.15.0.1',
      '172.32.0.1',
      '192.167.0.1',
      '192.169.0.1',
      '198.17.0.1',
      '198.20.0.1',
      '223.255.255.255',
      '1.1.1.1',
      '2606:4700::1111',
      '2a00:1450::1',
      '2001:4860:4860::8888',
      '2003::1',
    ]
    expect(global.filter((address) => addressKind(address) !== 'global')).toEqual([])
    const internal = [
      '127.255.255.254',
      '10.255.255.255',
      '172.31.0.1',
      '192.168.255.255',
      '100.127.255.255',
      '::1',
      'fdff::1',
    ]
    expect(internal.filter((address) => addressKind(address) !== 'internal')).toEqual([])
    const never = [
      '0.1.2.3',
      '169.254.1.1',
      '224.0.0.251',
      '255.255.255.255',
      '192.88.99.1',
      '4000::1',
      '5f00::1',
      '::',
      'fe80::1',
      'ff02::1',
      '2001:db8::1',
      '2002::1',
      '::ffff:8.8.8.8',
      '',
      '1',
      '1.2.3',
      '01.2.3.4',
      '1.2.3.4/8',
      'fd00:ec2::254',
      '100.100.100.200',
    ]
    expect(never.filter((address) => addressKind(address) !== 'never')).toEqual([])
  })
})

describe('what the operator allows and denies', () => {
  const names = {
    'tools.internal': [['10.0.0.5']],
    'api.example.com': [[PUBLIC_1]],
    'www.example.com': [[PUBLIC_1]],
    'evil.example.net': [[PUBLIC_1]],
    'sly.example.org': [['203.0.113.9']],
  }
  const egress = (allowHosts: string[], denyHosts: string[] = [], ports: number[] = []) => {
    const network = networkOf({})
    return {
      network,
      egress: createEgress({
        allowHosts,
        denyHosts,
        ports,
        ownUrls: ['http://127.0.0.1:54321'],
        resolver: resolverOf(names),
        connector: network,
      }),
    }
  }

  it('opens http, an internal address and a port for a named host only', async () => {
    const { egress: open, network } = egress(['tools.internal:8080', '127.0.0.1:4000', '[::1]:4000'])
    for (const url of [
      'http://tools.internal:8080/',
      'http://127.0.0.1:4000/',
      'http://[::1]:4000/',
      'http://0x7f.1:4000/',
    ]) {
      await refusal(open.fetch(url), 'connection_failed')
    }
    expect(network.connected.map(({ address, port }) => `${address} ${port}`)).toEqual([
      '10.0.0.5 8080',
      '127.0.0.1 4000',
      '::1 4000',
      '127.0.0.1 4000',
    ])
    await refusal(open.fetch('http://tools.internal/'), 'blocked_address')
    await refusal(open.fetch('http://127.0.0.1:4001/'), 'blocked_address')
    await refusal(open.fetch('http://api.example.com/'), 'blocked_scheme')
    await refusal(open.fetch('https://api.example.com:8080/'), 'blocked_port')
    expect(network.connected).toHaveLength(4)
  })

  it('never opens metadata addresses, nor the project itself, whatever is allowed', async () => {
    const { egress: open, network } = egress([
      '169.254.169.254',
      '100.100.100.200',
      '127.0.0.1',
      'localhost',
      '127.0.0.1:54321',
      'localhost:54321',
    ])
    for (const url of ['http://169.254.169.254/', 'http://100.100.100.200/', 'http://127.0.0.1:54321/rest/v1/']) {
      await refusal(open.fetch(url), 'blocked_address')
    }
    const other = createEgress({
      allowHosts: ['localhost:54321'],
      ownUrls: ['http://127.0.0.1:54321'],
      resolver: resolverOf({ localhost: [['127.0.0.1']] }),
      connector: network,
    })
    await refusal(other.fetch('http://localhost:54321/rest/v1/'), 'blocked_address')
    expect(network.connected).toEqual([])
  })

  it('denies hosts with all below them, networks, and with * all that is not allowed', async () => {
    const { egress: closed, network } = egress(
      ['*.example.org', 'evil.example.net'],
      ['example.com', 'evil.example.net', '203.0.113.0/24'],
    )
    for (const host of ['api.example.com', 'www.example.com.', 'evil.example.net', 'sly.example.org']) {
      await refusal(closed.fetch(`https://${host}/`), 'blocked_address')
    }
    expect(network.connected).toEqual([])
    const { egress: only, network: reached } = egress(['api.example.com'], ['*'])
    await refusal(only.fetch('https://www.example.com/'), 'blocked_address')
    await refusal(only.fetch('https://api.example.com/'), 'connection_failed')
    expect(reached.connected).toHaveLength(1)
  })

  it('refuses settings that are no hosts instead of guessing', () => {
    for (const entry of [
      'https://x.com',
      'x.com/path',
      'a b',
      '*',
      'x.com:0',
      'x.com:99999',
      '*.*',
      'user@x.com',
      '',
    ]) {
      expect(() => createEgress({ allowHosts: [entry] }), entry).toThrow(/allowHosts/)
    }
    expect(() => createEgress({ denyHosts: ['10.0.0.0/99'] })).toThrow(/denyHosts/)
  })
})
