import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { linksOf } from '../../supabase/functions/api/crawl/links.ts'
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
    ['another way of writing', ['User-agent: *', 'Disallow: /ä/%7Eb'], ['/a'], ['/%C3%A4/%7Eb']],
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
    const html = linking('b.html#x', './b.html', '/c?d=1&amp;e=2', `${SITE}/f`, '//port.example.com/g', '?h', 'i.pdf')
    expect(of(html)).toEqual(
      ['/docs/b.html', '/c?d=1&e=2', '/f', '/g', '/docs/a.html?h', '/docs/i.pdf'].map((path) => SITE + path),
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
      '/a': linking('/', '/a/deep', '/b'),
      '/b': linking('/b/deep', '/a#part'),
      '/a/deep': linking('/a/deeper'),
      '/b/deep': 'The end.',
      '/a/deeper': { type: 'text/plain', body: 'Text <a href="/no-link">' },
      '/photo': { type: 'image/png', body: 'x' },
    })
    const { kept, failed, warnings } = await sites.crawl()
    expect(kept).toEqual(['/', '/a', '/b', '/a/deep', '/b/deep', '/a/deeper'])
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
      '/start': linking('/moved', '/away', '/loop', '/known'),
      '/moved': { to: '/new#part' },
      '/new': 'New.',
      '/away': { to: 'https://other.example.com/' },
      '/loop': { to: '/loop' },
      '/known': { to: '/start' },
    })
    expect(await sites.crawl()).toEqual({ kept: ['/', '/moved'], failed: {}, warnings: [] })
    expect(sites.other.seen).toEqual([])
    const moved = await startSites({ '/': { to: 'https://other.example.com/' } })
    expect((await moved.crawl()).kept).toEqual(['/'])
    // The other site has a robots.txt of its own, and it is asked for.
    expect(moved.other.seen.map(({ url }) => url)).toEqual(['/robots.txt', '/'])
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
