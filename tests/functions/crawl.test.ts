import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { FILE_TYPES } from '../../supabase/functions/_shared/file-types.ts'
import { linksOf } from '../../supabase/functions/api/crawl/links.ts'
import { REAL_CLOCK, createPace } from '../../supabase/functions/api/crawl/pace.ts'
import { parseRobots } from '../../supabase/functions/api/crawl/robots.ts'
import { parseSitemap } from '../../supabase/functions/api/crawl/sitemap.ts'
import { SITE, linking, robots, sitemap, sitemapIndex, startSites } from './support/sites.ts'

describe('robots.txt', () => {
  it.each<[name: string, lines: string[], allowed: string[], refused: string[]]>([
    ['nothing', [], ['/', '/a'], []],
    ['everything', ['User-agent: *', 'Disallow: /'], [], ['/', '/a?b']],
    ['an empty Disallow', ['User-agent: *', 'Disallow:'], ['/', '/a'], []],
    ['a folder', ['user-agent: *', 'disallow: /private/ # theirs'], ['/', '/private'], ['/private/', '/private/a']],
    ['our name over all', ['User-agent: *', 'Disallow: /', '', 'User-agent: Bulkhead', 'Disallow: /b'], ['/a'], ['/b']],
    ['our name with a version', ['User-agent: bulkhead/1.0', 'Disallow: /'], [], ['/a']],
    ['another name', ['User-agent: bulkheads', 'Disallow: /'], ['/a'], []],
    ['names in a row', ['User-agent: x', 'User-agent: bulkhead', 'Disallow: /a'], ['/b'], ['/a']],
    [
      'rules in two groups',
      ['User-agent: *', 'Disallow: /a', 'User-agent: x', 'Disallow: /c', 'User-agent: *', 'Disallow: /b'],
      ['/c'],
      ['/a', '/b'],
    ],
    ['the longest rule', ['User-agent: *', 'Disallow: /a', 'Allow: /a/public'], ['/a/public/x', '/b'], ['/a', '/a/x']],
    ['equal rules', ['User-agent: *', 'Disallow: /a', 'Allow: /a'], ['/a'], []],
    [
      'wildcards',
      ['User-agent: *', 'Disallow: /*/secret*.html$'],
      ['/a/secret.htm', '/a/secret.html?x'],
      ['/a/secret.html', '/a/b/secrets/1.html'],
    ],
    ['an end', ['User-agent: *', 'Disallow: /a$'], ['/ab', '/a/'], ['/a']],
    ['queries', ['User-agent: *', 'Disallow: /*?sort='], ['/a?x=1'], ['/a?sort=1']],
    ['another way of writing', ['User-agent: *', 'Disallow: /ä/%7Eb'], ['/a'], ['/%C3%A4/%7Eb', '/%c3%a4/~b']],
    ['escapes without need', ['User-agent: *', 'Disallow: /~ann/%62%61r'], ['/a'], ['/~ann/bar', '/%7Eann/b%61r']],
    ['needed escapes', ['User-agent: *', 'Disallow: /a%2Fb'], ['/a/b'], ['/a%2fb']],
    ['a query in another way', ['User-agent: *', 'Disallow: /s?q=ä b'], ['/s?q=a'], ['/s?q=%C3%A4%20b']],
    ['any query', ['User-agent: *', 'Disallow: /*?'], ['/a'], ['/a?', '/a?b']],
    ['rules of nobody', ['Disallow: /', 'User-agent: *', 'Disallow: /x'], ['/a'], ['/x']],
    ['a mark and odd line ends', ['\ufeffUser-agent: *\rDisallow: /x\r\n'], ['/a'], ['/x']],
  ])('%s', (_, lines, allowed, refused) => {
    const { allows } = parseRobots(lines.join('\n'))
    expect(allowed.filter((path) => !allows(path))).toEqual([])
    expect(refused.filter((path) => allows(path))).toEqual([])
    expect(allows('/robots.txt')).toBe(true)
  })

  it('names sitemaps, wherever they stand', () => {
    const text = `Sitemap: ${SITE}/a.xml\nUser-agent: *\nDisallow: /\nsitemap:${SITE}/b.xml`
    expect(parseRobots(text).sitemaps).toEqual([`${SITE}/a.xml`, `${SITE}/b.xml`])
  })

  it.each<[name: string, lines: string[], seconds: number]>([
    ['none', ['User-agent: *', 'Disallow: /a'], 0],
    ['one for all', ['User-agent: *', 'Crawl-delay: 2.5'], 2.5],
    ['one for us over that for all', ['User-agent: *', 'Crawl-delay: 9', 'User-agent: bulkhead', 'Crawl-delay: 1'], 1],
    ['none for us, though one for all', ['User-agent: *', 'Crawl-delay: 9', 'User-agent: bulkhead', 'Disallow: /a'], 0],
    ['that of another', ['User-agent: x', 'Crawl-delay: 9', 'User-agent: *', 'Disallow: /a'], 0],
    ['names in a row', ['User-agent: x', 'User-agent: bulkhead', 'crawl-delay:3 # please', 'Disallow: /a'], 3],
    ['the longest of several', ['User-agent: *', 'Crawl-delay: 3', 'User-agent: *', 'Crawl-delay: 4'], 4],
    ['what is no number', ['User-agent: *', 'Crawl-delay: soon', 'Crawl-delay: -5', 'Crawl-delay: 1e3'], 0],
    ['nobody’s', ['Crawl-delay: 9', 'User-agent: *', 'Disallow: /a'], 0],
    ['a very long one', ['User-agent: *', `Crawl-delay: ${'9'.repeat(20)}`], 1e20],
  ])('asks for a pause: %s', (_, lines, seconds) => {
    expect(parseRobots(lines.join('\n')).delayMs).toBe(1000 * seconds)
  })

  it('keeps its rules where a pause stands between its names', () => {
    const { allows, delayMs } = parseRobots(
      ['User-agent: x', 'Crawl-delay: 7', 'User-agent: *', 'Disallow: /a'].join('\n'),
    )
    expect([allows('/a'), allows('/b'), delayMs]).toEqual([false, true, 0])
  })

  it('that is made to be slow is not', () => {
    const pattern = `/${'*a'.repeat(240)}$`
    const lines = Array.from({ length: 2000 }, () => `Disallow: ${pattern}`)
    const { allows } = parseRobots(['User-agent: *', ...lines].join('\n'))
    expect(allows(`/${'a'.repeat(2000)}b`)).toBe(true)
  })
})

describe('sitemaps', () => {
  it.each([
    ['<urlset><url><loc> https://a.example/?a=1&amp;b=2 </loc></url></urlset>', 'https://a.example/?a=1&b=2'],
    ['<s:urlset xmlns:s="x"><s:url><s:loc>https://a.example/x</s:loc></s:url></s:urlset>', 'https://a.example/x'],
    ['<urlset><url><loc><![CDATA[https://a.example/?a&b]]></loc></url></urlset>', 'https://a.example/?a&b'],
    ['https://a.example/one\r\n\r\n', 'https://a.example/one'],
  ])('%s', (text, address) => {
    expect(parseSitemap(text)).toEqual({ kind: 'pages', addresses: [address] })
  })

  it('name what is theirs, not what their extensions name; what is none of them is none', () => {
    const text = '<urlset><url><loc>https://a.example/</loc><image:loc>https://a.example/i</image:loc></url></urlset>'
    expect(parseSitemap(text)?.addresses).toEqual(['https://a.example/'])
    expect(parseSitemap('<html><a href="https://a.example/">x</a></html>')).toBeNull()
    expect(parseSitemap('')).toBeNull()
    expect(parseSitemap('<urlset><url><loc>https://a.example/')).toEqual({ kind: 'pages', addresses: [] })
  })
})

describe('links', () => {
  const of = (html: string) => linksOf(new TextEncoder().encode(html), `${SITE}/docs/a.html`)

  it('are those of the same origin to what may be a page, each once', () => {
    const files = ['i.pdf', 'j.xlsx', 'k.pptx']
    const html = linking('b.html#x', './b.html', '/c?d=1&amp;e=2', `${SITE}/f`, '//port.example.com/g', '?h', ...files)
    expect(of(html)).toEqual(
      ['/docs/b.html', '/c?d=1&e=2', '/f', '/g', '/docs/a.html?h', ...files.map((file) => `/docs/${file}`)].map(
        (path) => SITE + path,
      ),
    )
    const others = [
      'https://other.example.com/',
      'http://port.example.com/',
      'https://port.example.com:8443/',
      'mailto:a@b.c',
      'javascript:x',
      'data:,x',
      'https://u:p@port.example.com/',
      'https://',
      '/style.css',
      '/photo.JPG',
      '/old.xls',
      '/old.PPT',
      `/${'x'.repeat(3000)}`,
    ]
    expect(of(linking(...others))).toEqual([])
    expect(
      of('<!-- <a href="/hidden">x</a> --><script>"<a href=/script>"</script><a rel="x nofollow" href="/n">x</a>'),
    ).toEqual([])
  })

  it('are read against the base of the page, which cannot move them to another site', () => {
    expect(of(`<base href="/other/"><base href="/third/">${linking('b')}`)).toEqual([`${SITE}/other/b`])
    expect(of(`<base href="https://other.example.com/">${linking('b', `${SITE}/c`)}`)).toEqual([`${SITE}/c`])
  })
})

describe('a crawl', () => {
  it('goes breadth first, each page once, and stays on the site', async () => {
    const sites = await startSites({
      '/': linking('/a', '/b', '#top', 'https://other.example.com/x', '/gone', '/photo'),
      '/a': linking('/', '/a/deep', '/b', '/figures.xlsx'),
      '/b': linking('/b/deep', '/a#part'),
      '/a/deep': linking('/a/deeper'),
      '/b/deep': 'The end.',
      '/a/deeper': { type: 'text/plain', body: 'Text <a href="/no-link">' },
      '/photo': { type: 'image/png', body: 'x' },
      '/figures.xlsx': { type: FILE_TYPES['.xlsx'] as string, body: 'x' },
    })
    const { kept, failed, warnings } = await sites.crawl()
    expect(kept).toEqual(['/', '/a', '/b', '/a/deep', '/figures.xlsx', '/b/deep', '/a/deeper'])
    expect(failed).toEqual({
      '/gone': 'The page answered with HTTP 404.',
      '/photo': 'What is there is "image/png", which cannot be read.',
    })
    expect(warnings).toEqual([])
    expect(sites.asked()[0]).toBe('/robots.txt')
    expect(new Set(sites.asked()).size).toBe(sites.asked().length)
    expect(sites.other.seen).toEqual([])
    expect(new Set(sites.seen.map(({ headers }) => headers['user-agent']))).toEqual(new Set(['bulkhead']))
  })

  it('ends after as many pages as were asked for', async () => {
    const sites = await startSites({
      '/': linking('/1', '/2', '/3', '/4', '/5', '/6'),
      '/1': 'a',
      '/2': 'b',
      '/3': 'c',
    })
    expect((await sites.crawl({ maxPages: 3 })).kept).toEqual(['/', '/1', '/2'])
    expect(sites.asked()).toEqual(['/robots.txt', '/', '/1', '/2'])
    expect((await sites.crawl({ maxPages: 1 })).kept).toEqual(['/'])
  })

  it('does as robots.txt says, also where a redirect leads', async () => {
    const pages = {
      '/robots.txt': robots('User-agent: *', 'Disallow: /private'),
      '/': linking('/private/a', '/open', '/sly'),
      '/open': linking('/private/b'),
      '/sly': { to: '/private/c' },
      '/private/a': 'canary',
      '/private/b': 'canary',
      '/private/c': 'canary',
    }
    const sites = await startSites(pages)
    const { kept, failed } = await sites.crawl()
    expect(kept).toEqual(['/', '/open'])
    expect(Object.keys(failed).sort()).toEqual(['/private/a', '/private/b', '/sly'])
    expect(sites.asked().filter((path) => path?.startsWith('/private'))).toEqual([])
    await expect(sites.crawl({ url: `${SITE}/private/a` })).rejects.toMatchObject({
      code: 'invalid_request',
      message: expect.stringContaining('robots.txt'),
    })
  })

  it.each([500, 503])('fetches nothing of a site whose robots.txt answers %i', async (status) => {
    const sites = await startSites({ '/robots.txt': { type: 'text/plain', body: '', status }, '/': 'canary' })
    await expect(sites.crawl()).rejects.toMatchObject({ code: 'invalid_request' })
    expect(sites.asked()).toEqual(['/robots.txt'])
  })

  it('begins where the first address leads, and follows redirects within the site', async () => {
    const sites = await startSites({
      '/': { to: '/start' },
      '/start': linking('/moved', '/also', '/away', '/loop', '/known'),
      '/moved': { to: '/new#part' },
      '/also': { to: '/new' },
      '/new': 'New.',
      '/away': { to: 'https://other.example.com/' },
      '/loop': { to: '/loop' },
      '/known': { to: '/start' },
    })
    expect(await sites.crawl()).toEqual({ kept: ['/', '/moved'], failed: {}, warnings: [] })
    expect(sites.asked().filter((path) => path === '/new')).toHaveLength(1)
    expect(sites.other.seen).toEqual([])
    const moved = await startSites({ '/': { to: 'https://other.example.com/' } })
    expect((await moved.crawl()).kept).toEqual(['/'])
    // The other site has a robots.txt of its own, and it is asked for.
    expect(moved.other.seen.map(({ url }) => url)).toEqual(['/robots.txt', '/'])
  })
})

/** A clock that stands still but for the pauses, and what was waited for. */
function fakeClock() {
  let now = 0
  const pauses: number[] = []
  const sleep = (ms: number) => {
    pauses.push(ms)
    now += ms
    return Promise.resolve()
  }
  return { now: () => now, sleep, pauses }
}

describe('the pause that a robots.txt asks for', () => {
  const PAGES = { '/': linking('/a', '/b', '/c', '/d'), '/a': 'a', '/b': 'b', '/c': 'c', '/d': 'd' }
  const asking = (seconds: number | string) => ({
    ...PAGES,
    '/robots.txt': robots('User-agent: *', `Crawl-delay: ${seconds}`),
  })

  it('is kept between all requests to the site, which come one by one; without one there is none', async () => {
    const clock = fakeClock()
    const sites = await startSites(asking(2))
    expect(await sites.crawl({}, {}, clock)).toEqual({ kept: ['/', '/a', '/b', '/c', '/d'], failed: {}, warnings: [] })
    expect(clock.pauses).toEqual([2000, 2000, 2000, 2000])
    expect(sites.asked()).toEqual(['/robots.txt', '/', '/a', '/b', '/c', '/d'])
    const free = fakeClock()
    expect((await (await startSites(PAGES)).crawl({}, {}, free)).kept).toHaveLength(5)
    expect(free.pauses).toEqual([])
  })

  it('is kept by redirects, too, and by each site for itself', async () => {
    const clock = fakeClock()
    const sites = await startSites({
      ...asking(3),
      '/': { to: '/start' },
      '/start': { to: 'https://other.example.com/' },
    })
    expect((await sites.crawl({}, {}, clock)).kept).toEqual(['/'])
    expect(clock.pauses).toEqual([3000])
  })

  it('ends an import that has no time for it, with the reason, and what was found is kept', async () => {
    const clock = fakeClock()
    const sites = await startSites(asking(10))
    const { kept, failed } = await sites.crawl({}, { timeMs: 25_000 }, clock)
    expect(kept).toEqual(['/', '/a', '/b'])
    expect(failed).toEqual({ '/c': expect.stringMatching(/^The robots.txt of the site asks for 10 seconds/) })
    expect(clock.pauses).toEqual([10_000, 10_000])
    expect(sites.asked()).toEqual(['/robots.txt', '/', '/a', '/b'])
  })

  it.each(['10.001', '3600', '9'.repeat(20)])('of %s seconds is not waited for at all', async (seconds) => {
    const clock = fakeClock()
    const sites = await startSites({ ...asking(seconds), '/map.xml': sitemap('/a', '/b'), '/moved': { to: '/a' } })
    const { kept, failed } = await sites.crawl({}, {}, clock)
    expect([kept, Object.keys(failed)]).toEqual([['/'], ['/a']])
    expect(failed['/a']).toContain('seconds between two requests')
    // Where that one request gives no page there is nothing to keep.
    const none = await sites.crawl({ mode: 'sitemap', url: `${SITE}/map.xml` }, {}, clock)
    expect([none.kept, Object.keys(none.failed)]).toEqual([[], ['/a']])
    const refused = { code: 'invalid_request', message: expect.stringContaining('seconds between two requests') }
    await expect(sites.crawl({ url: `${SITE}/moved` }, {}, clock)).rejects.toMatchObject(refused)
    expect(clock.pauses).toEqual([])
    expect(sites.asked().filter((path) => path !== '/robots.txt')).toEqual(['/', '/map.xml', '/moved'])
  })

  it('is over when the time for all is over', async () => {
    const over = new AbortController()
    const pace = createPace(REAL_CLOCK, Infinity, over.signal)
    expect(await pace.turn(SITE, 9000)).toBe(true)
    const next = pace.turn(SITE, 9000)
    over.abort()
    expect(await next).toBe(false)
    expect(pace.refusedFor()).toBeNull()
    expect(await pace.turn('https://other.example.com', 9000)).toBe(true)
  })
})

describe('a sitemap', () => {
  const pages = { '/a': 'a', '/b': linking('/c'), '/c': 'c' }

  it('gives its pages, and no others', async () => {
    const sites = await startSites({ ...pages, '/map.xml': sitemap(`${SITE}/b`, '/a', `${SITE}/b#x`) })
    expect(await sites.crawl({ mode: 'sitemap', url: `${SITE}/map.xml` })).toEqual({
      kept: ['/b', '/a'],
      failed: {},
      warnings: [],
    })
  })

  it('is found for the root of a site: by its robots.txt, else where it usually is', async () => {
    const named = await startSites({
      ...pages,
      '/robots.txt': robots(`Sitemap: ${SITE}/map.xml`, 'Sitemap: https://other.example.com/map.xml'),
      '/map.xml': sitemap(`${SITE}/a`),
    })
    expect((await named.crawl({ mode: 'sitemap', url: SITE })).kept).toEqual(['/a'])
    expect(named.other.seen).toEqual([])
    const usual = await startSites({ ...pages, '/sitemap.xml': { to: '/map.xml' }, '/map.xml': sitemap(`${SITE}/c`) })
    expect((await usual.crawl({ mode: 'sitemap', url: `${SITE}/` })).kept).toEqual(['/c'])
  })

  it('may name other sitemaps, also packed ones, and be broken in part', async () => {
    const packed = gzipSync(`<urlset><url><loc>${SITE}/c</loc></url></urlset>`)
    const sites = await startSites({
      ...pages,
      '/index.xml': sitemapIndex(`${SITE}/1.xml`, `${SITE}/gone.xml`, `${SITE}/2.xml.gz`, `${SITE}/index.xml`),
      '/1.xml': sitemap(`${SITE}/a`),
      '/2.xml.gz': { type: 'application/gzip', body: packed },
    })
    expect(await sites.crawl({ mode: 'sitemap', url: `${SITE}/index.xml` })).toEqual({
      kept: ['/a', '/c'],
      failed: { '/gone.xml': 'The sitemap answered with HTTP 404.' },
      warnings: [],
    })
  })

  it('may name ten others, besides the index that does, and says when there are more', async () => {
    const names = Array.from({ length: 11 }, (_, index) => `/${index}.xml`)
    const maps = Object.fromEntries(names.map((name, index) => [name, sitemap(`${SITE}/p${index}`)]))
    const found = Object.fromEntries(names.map((_, index) => [`/p${index}`, 'page']))
    const ten = await startSites({ ...maps, ...found, '/index.xml': sitemapIndex(...names.slice(0, 10)) })
    const whole = await ten.crawl({ mode: 'sitemap', url: `${SITE}/index.xml` })
    expect([whole.kept.length, whole.failed, whole.warnings]).toEqual([10, {}, []])
    const more = await startSites({ ...maps, ...found, '/index.xml': sitemapIndex(...names) })
    const cut = await more.crawl({ mode: 'sitemap', url: `${SITE}/index.xml` })
    expect([cut.kept.length, cut.warnings]).toEqual([10, ['Only the first 10 sitemaps were read.']])
    const named = await startSites({
      ...maps,
      ...found,
      '/robots.txt': robots(...names.map((at) => `Sitemap: ${SITE}${at}`)),
    })
    const listed = await named.crawl({ mode: 'sitemap', url: SITE })
    expect([listed.kept.length, listed.warnings]).toEqual([10, ['Only the first 10 sitemaps were read.']])
  })

  it('is the one that the robots.txt names to which the site redirects', async () => {
    const sites = await startSites(
      {
        '/robots.txt': { to: 'https://other.example.com/robots.txt' },
        '/sitemap.xml': sitemap(`${SITE}/a`),
        '/a': 'a',
      },
      undefined,
      {
        '/robots.txt': robots(
          'Sitemap: https://other.example.com/all.xml',
          'Sitemap: https://third.example.com/all.xml',
        ),
        '/all.xml': sitemap('https://other.example.com/b'),
        '/b': 'b',
      },
    )
    const { kept, failed } = await sites.crawl({ mode: 'sitemap', url: SITE })
    expect([kept, failed]).toEqual([['https://other.example.com/b'], {}])
  })

  it('that is larger than anybody can visit leaves room for its pages', async () => {
    const long = 'a-page-with-a-long-name'.repeat(40)
    const large = sitemap(...Array.from({ length: 5_200 }, (_, index) => `${SITE}/${index}-${long}`))
    const maps = Object.fromEntries(Array.from({ length: 10 }, (_, index) => [`/${index}.xml`, large]))
    const sites = await startSites({
      ...maps,
      '/robots.txt': robots(...Object.keys(maps).map((at) => `Sitemap: ${SITE}${at}`)),
      [`/0-${long}`]: 'first',
    })
    const { kept, warnings } = await sites.crawl({ mode: 'sitemap', url: SITE, maxPages: 1 })
    expect([kept, warnings]).toEqual([[`/0-${long}`], []])
  })

  it('is obeyed as far as robots.txt allows, and up to the pages asked for', async () => {
    const sites = await startSites({
      ...pages,
      '/robots.txt': robots('User-agent: bulkhead', 'Disallow: /a'),
      '/map.xml': sitemap(`${SITE}/a`, `${SITE}/b`, `${SITE}/c`),
    })
    const { kept, failed } = await sites.crawl({ mode: 'sitemap', url: `${SITE}/map.xml`, maxPages: 1 })
    expect([kept, Object.keys(failed)]).toEqual([['/b'], ['/a']])
    expect(sites.asked()).toEqual(['/robots.txt', '/map.xml', '/b'])
  })

  it('that is none is said to be none', async () => {
    const sites = await startSites({ '/map.xml': linking('/a') })
    const of = (path: string) => sites.crawl({ mode: 'sitemap', url: SITE + path })
    await expect(of('/map.xml')).rejects.toMatchObject({ code: 'invalid_request' })
    await expect(of('/gone.xml')).rejects.toMatchObject({ code: 'upstream_failed' })
  })
})
