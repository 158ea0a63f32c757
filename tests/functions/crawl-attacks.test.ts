import type { ServerResponse } from 'node:http'
import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { PUBLIC_1, PUBLIC_2 } from './support/egress.ts'
import { SITE, linking, robots, sitemap, sitemapIndex, startSites } from './support/sites.ts'
import type { At } from './support/sites.ts'

const MEGABYTE = 1024 * 1024

/** Ways to write places that no page of the web is at. */
const INSIDE = [
  'https://169.254.169.254/latest/meta-data/',
  'https://[::ffff:a9fe:a9fe]/',
  'https://127.1/',
  'https://0/',
  'https://2130706433/',
  'https://0x7f.1/',
  'https://localhost/',
  'https://localhost./',
  'https://[fd00::1]/',
  'https://[fe80::1]/',
  'https://metadata.internal/',
  'https://api.supabase.internal/',
  'https://10.0.0.1/',
  'https://inside.example.com/',
  'https://own.example.com/rest/v1/sources?apikey=x',
]

/** What is no address that may be asked for at all. */
const FORBIDDEN = [
  'file:///etc/passwd',
  'gopher://port.example.com:6379/_FLUSHALL',
  'data:text/html,<p>x</p>',
  'http://port.example.com/',
  'https://user:password@port.example.com/',
  'https://port.example.com:25/',
  'https://port.example.com:5432/',
  'https://port.example.com:6379/',
]

const refused = { code: 'invalid_request' }

type Sites = Awaited<ReturnType<typeof startSites>>
/** Nobody was connected to but the one site. */
const expectOnlyTheSite = ({ network, other }: Sites) => {
  expect([...new Set(network.connected.map(({ address }) => address))]).toEqual([PUBLIC_1])
  expect(other.seen).toEqual([])
}

describe.each(['crawl', 'sitemap'] as const)('N01, N03: where mode %s may begin', (mode) => {
  it('addresses inside and forbidden ones are refused before anybody is connected to', async () => {
    const sites = await startSites({ '/': linking('/a') })
    for (const url of [...INSIDE, ...FORBIDDEN, 'port.example.com', '']) {
      await expect(sites.crawl({ mode, url }), url).rejects.toMatchObject(refused)
    }
    expect(sites.network.connected).toEqual([])
  })

  it('redirects to them are refused', async () => {
    const hops = [...INSIDE, ...FORBIDDEN].map((to, index): [string, At] => [`/${index}`, { to }])
    const sites = await startSites(Object.fromEntries(hops))
    for (const [path, hop] of hops) {
      await expect(sites.crawl({ mode, url: SITE + path }), JSON.stringify(hop)).rejects.toMatchObject(refused)
    }
    expectOnlyTheSite(sites)
    expect(sites.asked().filter((path) => path !== '/robots.txt')).toEqual(hops.map(([path]) => path))
  })

  it('a robots.txt that redirects inside is refused', async () => {
    const sites = await startSites({ '/robots.txt': { to: 'https://10.0.0.1/' }, '/a': 'canary' })
    await expect(sites.crawl({ mode, url: `${SITE}/a` })).rejects.toMatchObject(refused)
    expectOnlyTheSite(sites)
    expect(sites.asked()).toEqual(['/robots.txt'])
  })
})

describe('N01, N03: what pages and sitemaps name', () => {
  it('links and redirects of pages lead nowhere but to the site', async () => {
    const hops = Object.fromEntries(
      [...INSIDE, ...FORBIDDEN].map((to, index): [string, At] => [`/hop${index}`, { to }]),
    )
    const sites = await startSites({
      ...hops,
      '/': linking(...INSIDE, ...FORBIDDEN, '/fine', ...Object.keys(hops)),
      '/fine': `<base href="https://10.0.0.1/">${linking('x')}`,
    })
    expect(await sites.crawl()).toMatchObject({ kept: ['/', '/fine'] })
    expectOnlyTheSite(sites)
    expect(sites.asked()).toContain('/hop3')
  })

  it('entries of sitemaps, of indexes and of robots.txt lead nowhere but to the site', async () => {
    const evil = [...INSIDE, ...FORBIDDEN].map((url) => url.replaceAll('<', '&lt;'))
    const sites = await startSites({
      '/robots.txt': robots(...INSIDE.map((url) => `Sitemap: ${url}`), `Sitemap: ${SITE}/index.xml`),
      '/index.xml': sitemapIndex(...evil, `${SITE}/map.xml`),
      '/map.xml': sitemap(...evil, `${SITE}/fine`, `${SITE}/hop`),
      '/fine': 'Fine.',
      '/hop': { to: 'https://169.254.169.254/' },
    })
    const { kept, failed, warnings } = await sites.crawl({ mode: 'sitemap', url: SITE })
    expect([kept, failed]).toEqual([['/fine'], {}])
    expect(warnings).toEqual([`${2 * evil.length} entries of the sitemap are on other sites and were left out.`])
    expectOnlyTheSite(sites)
  })
})

describe('N02: names that lead elsewhere the second time', () => {
  it('a name that was public for robots.txt and is private for the page is not connected to', async () => {
    const sites = await startSites({ '/': 'canary' }, [[PUBLIC_1], ['10.0.0.1']])
    await expect(sites.crawl()).rejects.toMatchObject(refused)
    expectOnlyTheSite(sites)
    expect(sites.asked()).toEqual(['/robots.txt'])
  })

  it('nor is one that turns in the middle of a crawl, or of a sitemap', async () => {
    const inside = [[PUBLIC_1], [PUBLIC_1], ['127.0.0.1']]
    const pages = await startSites({ '/': linking('/a', '/b'), '/a': 'canary' }, inside)
    const crawled = await pages.crawl()
    expect([crawled.kept, Object.keys(crawled.failed)]).toEqual([['/'], ['/a', '/b']])
    expectOnlyTheSite(pages)
    const mapped = await startSites({ '/map.xml': sitemap('/a'), '/a': 'canary' }, inside)
    const listed = await mapped.crawl({ mode: 'sitemap', url: `${SITE}/map.xml` })
    expect([listed.kept, Object.keys(listed.failed)]).toEqual([[], ['/a']])
    expectOnlyTheSite(mapped)
  })

  it('one private address among public ones is enough to refuse a name', async () => {
    const sites = await startSites({ '/': 'canary' }, [[PUBLIC_1, PUBLIC_2, '10.0.0.1']])
    await expect(sites.crawl()).rejects.toMatchObject(refused)
    expect(sites.network.connected).toEqual([])
  })
})

describe('N04: sites without end', () => {
  const farm = (path: string) => linking(...Array.from({ length: 400 }, (_, index) => `${path}/${index}`))
  const endless = (type: string) => (response: ServerResponse) => {
    response.writeHead(200, { 'content-type': type })
    const more = () => {
      while (!response.destroyed && response.write('x'.repeat(65536)));
    }
    response.on('drain', more)
    more()
  }
  const stuck = (response: ServerResponse) => {
    response.writeHead(200, { 'content-type': 'text/html' })
    response.write('<p>')
  }
  const bomb = gzipSync(Buffer.alloc(200 * MEGABYTE, ' '))
  const packed = (type: string, encoding: boolean) => (response: ServerResponse) =>
    void response
      .writeHead(200, { 'content-type': type, ...(encoding ? { 'content-encoding': 'gzip' } : {}) })
      .end(bomb)

  it('a site in which each page has hundreds of new ones ends at the pages asked for', async () => {
    const names = ['', '/0', '/1', '/2', '/3', '/4', '/0/0']
    const sites = await startSites(Object.fromEntries(names.map((path) => [path || '/', farm(path)])))
    const { kept } = await sites.crawl({ maxPages: 6 })
    expect(kept).toEqual(['/', '/0', '/1', '/2', '/3', '/4'])
    expect(sites.asked()).toHaveLength(7)
  })

  it('a site of broken links, and one of redirects, ends at the requests one import may make', async () => {
    const broken = await startSites({ '/': farm('') })
    const { kept, warnings } = await broken.crawl({ maxPages: 5 })
    expect([kept, warnings]).toEqual([['/'], [expect.stringContaining('rest was not looked at')]])
    // Those that were on their way when the last one was counted.
    expect(broken.asked().length).toBeLessThanOrEqual(33)
    const hops = Object.fromEntries(Array.from({ length: 50 }, (_, at): [string, At] => [`/${at}`, { to: `/${at}-` }]))
    const turning = await startSites({ ...hops, '/': farm('') })
    await turning.crawl({ maxPages: 5 })
    expect(turning.asked().length).toBeLessThanOrEqual(33)
  })

  it('a page that never ends is given up, and what it took is counted', async () => {
    const sites = await startSites({
      '/': linking('/endless', '/a', '/b'),
      '/endless': endless('text/html'),
      '/a': 'a',
      '/b': 'b',
    })
    const { kept, failed, warnings } = await sites.crawl({}, { maxBytes: 3 * MEGABYTE })
    expect([kept, failed, warnings]).toEqual([
      ['/', '/a', '/b'],
      { '/endless': expect.stringContaining('is larger than') },
      [],
    ])
    const small = await startSites({
      '/': linking('/endless', '/1', '/2', '/3', '/4'),
      '/endless': endless('text/html'),
      '/4': 'd',
    })
    const little = await small.crawl({}, { maxBytes: 80_000 })
    expect(little.warnings).toEqual([expect.stringContaining('larger together')])
    expect(small.asked()).not.toContain('/4')
  })

  it('what cannot be read is not read to its end, whatever it claims to be', async () => {
    const sites = await startSites({ '/': linking('/film'), '/film': endless('video/mp4') })
    const { failed } = await sites.crawl()
    expect(failed['/film']).toContain('video/mp4')
  })

  it('pages and sitemaps that unpack to hundreds of times their size are not unpacked', async () => {
    const before = process.memoryUsage().arrayBuffers
    const sites = await startSites({
      '/': linking('/bomb'),
      '/bomb': packed('text/html', true),
      '/map.xml': packed('application/xml', true),
      '/map.xml.gz': packed('application/gzip', false),
    })
    const { kept, failed } = await sites.crawl()
    expect([kept, Object.keys(failed)]).toEqual([['/'], ['/bomb']])
    for (const path of ['/map.xml', '/map.xml.gz']) {
      await expect(sites.crawl({ mode: 'sitemap', url: SITE + path })).rejects.toMatchObject({
        code: expect.stringMatching(/payload_too_large|invalid_request/),
      })
    }
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(100 * MEGABYTE)
  })

  it('a site that stops in the middle of its answers ends with the time, and keeps what came before', async () => {
    const sites = await startSites({
      '/': linking('/a', '/stuck', '/later/1', '/later/2', '/later/3'),
      '/a': 'a',
      '/stuck': stuck,
    })
    const { kept, failed, warnings } = await sites.crawl({}, { timeMs: 500 })
    expect(kept).toEqual(['/', '/a'])
    expect(failed['/stuck']).toBe('The server took too long.')
    expect(warnings).toEqual([expect.stringContaining('time for one import')])
    expect(sites.asked()).not.toContain('/later/3')
    const map = await startSites({ '/map.xml': stuck })
    await expect(map.crawl({ mode: 'sitemap', url: `${SITE}/map.xml` }, { timeMs: 300 })).rejects.toMatchObject({
      code: 'upstream_timeout',
    })
    const rules = await startSites({ '/robots.txt': stuck })
    await expect(rules.crawl({}, { timeMs: 300 })).rejects.toMatchObject({ code: 'upstream_timeout' })
  })

  it('entities of XML are not expanded, and sitemaps of sitemaps end', async () => {
    const laughs = `<!DOCTYPE l [<!ENTITY a "${'x'.repeat(1000)}"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY f SYSTEM "file:///etc/passwd">]>`
    const sites = await startSites({
      '/map.xml': {
        type: 'application/xml',
        body: `${laughs}<urlset><url><loc>${SITE}/a?&b;</loc></url><url><loc>&f;</loc></url></urlset>`,
      },
      '/index.xml': sitemapIndex(...Array.from({ length: 500 }, (_, at) => `${SITE}/index.xml?${at}`)),
    })
    const { failed } = await sites.crawl({ mode: 'sitemap', url: `${SITE}/map.xml` })
    expect(Object.keys(failed)).toEqual(['/a?&b;', '/&f;'])
    const index = await sites.crawl({ mode: 'sitemap', url: `${SITE}/index.xml` })
    expect(index.kept).toEqual([])
    expect(sites.asked().filter((path) => path?.startsWith('/index.xml')).length).toBeLessThanOrEqual(11)
  })
})
