import type { ServerResponse } from 'node:http'
import { crawl } from '../../../supabase/functions/api/crawl/crawler.ts'
import type { CrawlRequest } from '../../../supabase/functions/api/crawl/crawler.ts'
import type { Clock } from '../../../supabase/functions/api/crawl/pace.ts'
import type { CrawlLimits } from '../../../supabase/functions/api/crawl/visitor.ts'
import { createEgress } from '../../../supabase/functions/_shared/egress/index.ts'
import { PUBLIC_1, PUBLIC_2, httpsServer, networkOf, resolverOf } from './egress.ts'
import { selfSigned } from './self-signed.ts'

export const SITE = 'https://port.example.com'
const NAME = 'port.example.com'
const OTHER = 'other.example.com'
const certificate = selfSigned(NAME)
const otherCertificate = selfSigned(OTHER)

/** What is at a path: an HTML page; `{to}` redirects; `{type}` says what it is; or whatever the function does. */
export type At =
  | string
  | { to: string }
  | { type: string; body: string | Buffer; status?: number }
  | ((response: ServerResponse) => void)

function answer(response: ServerResponse, at: At | undefined): void {
  if (at === undefined) return void response.writeHead(404, { 'content-type': 'text/html' }).end('nothing')
  if (typeof at === 'function') return at(response)
  if (typeof at === 'string') return void response.writeHead(200, { 'content-type': 'text/html' }).end(at)
  if ('to' in at) return void response.writeHead(302, { location: at.to }).end()
  response.writeHead(at.status ?? 200, { 'content-type': at.type }).end(at.body)
}

/** A page with these links. */
export const linking = (...hrefs: string[]) =>
  `<html><body><p>Text</p>${hrefs.map((href) => `<a href="${href}">x</a>`).join('\n')}</body></html>`

export const robots = (...lines: string[]): At => ({ type: 'text/plain', body: lines.join('\n') })
export const sitemap = (...addresses: string[]): At => ({
  type: 'application/xml',
  body: `<?xml version="1.0"?><urlset xmlns="x">${addresses.map((at) => `<url><loc>${at}</loc></url>`).join('')}</urlset>`,
})
export const sitemapIndex = (...addresses: string[]): At => ({
  type: 'application/xml',
  body: `<sitemapindex>${addresses.map((at) => `<sitemap><loc>${at}</loc></sitemap>`).join('')}</sitemapindex>`,
})

/**
 * Two sites behind the egress: SITE with what `pages` says, and `https://other.example.com` with what `otherPages` says, or,
 * without them, a page everywhere.
 * `inside.example.com` leads to a private address, `rebinding.example.com` does from the second question on.
 */
export async function startSites(
  pages: Record<string, At>,
  addresses: string[][] = [[PUBLIC_1]],
  otherPages?: Record<string, At>,
) {
  const site = await httpsServer(certificate, (request, response) => answer(response, pages[request.url ?? '']))
  const other = await httpsServer(otherCertificate, (request, response) =>
    answer(response, otherPages === undefined ? 'elsewhere' : otherPages[request.url ?? '']),
  )
  const network = networkOf({ [PUBLIC_1]: site.port, [PUBLIC_2]: other.port })
  const egress = createEgress({
    resolver: resolverOf({ [NAME]: addresses, [OTHER]: [[PUBLIC_2]], 'inside.example.com': [['10.0.0.1']] }),
    connector: network,
    ca: certificate.cert + otherCertificate.cert,
    ownUrls: ['https://own.example.com'],
  })
  return {
    egress,
    other,
    network,
    /** Paths that were asked for, in order. */
    asked: () => site.seen.map(({ url }) => url),
    seen: site.seen,
    async crawl(request: Partial<CrawlRequest> = {}, limits: Partial<CrawlLimits> = {}, clock?: Clock) {
      const kept: string[] = []
      const failed: Record<string, string> = {}
      const warnings: string[] = []
      await crawl(
        egress,
        { mode: 'crawl', url: `${SITE}/`, maxPages: 50, ...request },
        {
          keep: (url) => {
            kept.push(url.replace(SITE, ''))
            return Promise.resolve()
          },
          failed: (url, error) => {
            failed[url.replace(SITE, '')] = (error as Error).message
          },
          warn: (text) => void warnings.push(text),
        },
        limits,
        clock,
      )
      return { kept, failed, warnings }
    },
  }
}
