import { AppError } from '../../_shared/errors.ts'
import { pageError } from '../web-pages.ts'
import type { PageEgress, WebPage } from '../web-pages.ts'
import { linksOf, pageAddress } from './links.ts'
import type { Clock } from './pace.ts'
import { parseSitemap, sitemapText } from './sitemap.ts'
import { checkAddress, createVisitor } from './visitor.ts'
import type { CrawlLimits, StopReason, Visitor } from './visitor.ts'

/** What to look for. */
export type CrawlRequest = {
  /** `crawl`: what can be reached by links from `url`; `sitemap`: what the sitemap at `url` names. Both stay in its origin. */
  mode: 'crawl' | 'sitemap'
  url: string
  maxPages: number
}

/** What is done with pages as they are found. */
export type CrawlSink = {
  /** Keeps a page; may reject, which stops nothing. */
  keep: (url: string, page: WebPage) => Promise<void>
  /** A page that could not be fetched, or kept. What it throws ends the crawl. */
  failed: (url: string, error: unknown) => void
  warn: (text: string) => void
}

/** Requests at the same time, to one site. */
const CONCURRENCY = 4
/** Addresses that are remembered for later; a site may name more than anybody can visit. */
const MAX_WAITING = 5_000
const MAX_SITEMAPS = 10

const LIMITS: Omit<CrawlLimits, 'maxRequests'> = { timeMs: 60_000, maxBytes: 50 * 1024 * 1024 }

const STOPPED: Record<Exclude<StopReason, 'delay'>, string> = {
  time: 'The time for one import was over before everything was looked at.',
  bytes: 'The pages were larger together than one import may be; the rest was not looked at.',
  requests: 'So many addresses gave no page that the rest was not looked at.',
}

/** Addresses of one origin, each of which comes once, in the order they were found in. */
function createQueue(origin: string) {
  const waiting: string[] = []
  const known = new Set<string>()
  return {
    origin,
    known,
    add(address: string, base: string) {
      const url = known.size < MAX_WAITING ? pageAddress(address, base, origin) : null
      if (url === null || known.has(url)) return false
      known.add(url)
      waiting.push(url)
      return true
    },
    /** Whether an address is known already. From now on it is: another page of the same batch may lead there, too. */
    note: (url: string) => {
      const isKnown = known.has(url)
      known.add(url)
      return isKnown
    },
    take: (count: number) => waiting.splice(0, count),
    isFull: () => known.size >= MAX_WAITING,
  }
}
type Queue = ReturnType<typeof createQueue>

/**
 * Fetches pages of one site, breadth first, and hands each to `keep`. Every request goes through the egress; robots.txt of
 * the site is obeyed, its Crawl-delay as far as the time allows; time, bytes, requests and pages have limits of their own.
 * @throws AppError when nothing can be found at `url` at all: as `openPage`; `invalid_request` for what robots.txt forbids
 * or is no sitemap.
 */
export async function crawl(
  egress: PageEgress,
  { mode, url, maxPages }: CrawlRequest,
  sink: CrawlSink,
  limits: Partial<CrawlLimits> = {},
  clock?: Clock,
): Promise<void> {
  checkAddress(url)
  const visitor = createVisitor(egress, { ...LIMITS, maxRequests: 2 * maxPages + 20, ...limits }, clock)
  try {
    if (mode === 'sitemap') await visitAll(visitor, await sitemapQueue(visitor, url, sink), maxPages, sink)
    else await crawlFrom(visitor, url, maxPages, sink)
  } finally {
    visitor.end()
  }
}

async function crawlFrom(visitor: Visitor, start: string, maxPages: number, sink: CrawlSink): Promise<void> {
  const page = await visitor.page(start, { scope: null, share: 1 })
  if (page === null) {
    throw visitor.stopped() === 'delay'
      ? visitor.delayed()
      : new AppError('upstream_timeout', 'The page could not be read in time.')
  }
  const queue = createQueue(new URL(page.url).origin)
  // Where the first page is decides what the site is, so that example.com may lead to www.example.com.
  queue.known.add(withoutFragment(start)).add(withoutFragment(page.url))
  const follow = (found: WebPage) => {
    if (!/\.html?$/i.test(found.fileName)) return
    for (const link of linksOf(found.bytes, found.url)) queue.add(link, found.url)
  }
  follow(page)
  await keep(sink, start, page)
  await visitAll(visitor, queue, maxPages - 1, sink, follow)
}

const withoutFragment = (url: string) => url.replace(/#.*$/s, '')

async function keep(sink: CrawlSink, url: string, page: WebPage): Promise<void> {
  try {
    await sink.keep(url, page)
  } catch (error) {
    sink.failed(url, error)
  }
}

/** Visits what waits, a few at a time; `follow` adds what a page links to. */
async function visitAll(
  visitor: Visitor,
  queue: Queue,
  maxPages: number,
  sink: CrawlSink,
  follow: (page: WebPage) => void = () => {},
): Promise<void> {
  for (let left = maxPages; left > 0; ) {
    const stopped = visitor.stopped()
    const batch = queue.take(Math.min(CONCURRENCY, left))
    if (batch.length === 0) return
    if (stopped === 'delay') return sink.failed(batch[0] ?? '', visitor.delayed())
    if (stopped !== null) return sink.warn(STOPPED[stopped])
    const skipped: string[] = []
    const pages = await Promise.all(
      batch.map(async (url) => {
        try {
          const page = await visitor.page(url, {
            scope: queue.origin,
            share: batch.length,
            isKnown: queue.note,
          })
          if (page !== null) queue.known.add(withoutFragment(page.url))
          else if (visitor.stopped() === 'delay') skipped.push(url)
          return page
        } catch (error) {
          sink.failed(url, error)
          return null
        }
      }),
    )
    // In the order they were found in, so that what is found next does not depend on who answered first.
    for (const page of pages) if (page !== null) follow(page)
    await Promise.all(pages.map((page, index) => (page === null ? null : keep(sink, batch[index] ?? '', page))))
    left -= pages.filter((page) => page !== null).length
    if (skipped[0] !== undefined) return sink.failed(skipped[0], visitor.delayed())
  }
}

const isOf = (origin: string, entry: string, base: string): boolean => {
  if (!URL.canParse(entry, base)) return false
  const url = new URL(entry, base)
  return url.origin === origin && url.username === '' && url.password === ''
}

/** The pages a sitemap names, and those of the sitemaps it names. @throws AppError when there is none at `start`. */
async function sitemapQueue(visitor: Visitor, start: string, sink: CrawlSink): Promise<Queue> {
  const waiting = await sitemapsOf(visitor, start)
  let queue: Queue | null = null
  let foreign = 0
  let read = 0
  const known = new Set(waiting)
  for (let address = waiting.shift(); address !== undefined; address = waiting.shift()) {
    if (read >= MAX_SITEMAPS) {
      sink.warn(`Only the first ${MAX_SITEMAPS} sitemaps were read.`)
      break
    }
    // More than can be visited: the others would only take the bytes that the pages need.
    if (queue?.isFull()) break
    read++
    try {
      const { sitemap, url } = await readSitemap(visitor, address, sink)
      const { origin } = new URL(url)
      queue ??= createQueue(origin)
      // An index is none of the sitemaps that it names.
      if (sitemap.kind === 'sitemaps') read--
      for (const entry of sitemap.addresses) {
        const isHere = isOf(origin, entry, url)
        if (!isHere) foreign++
        else if (sitemap.kind === 'pages') queue.add(entry, url)
        else if (known.size <= MAX_SITEMAPS + 1) {
          const { href } = new URL(entry, url)
          if (!known.has(href)) waiting.push(href)
          known.add(href)
        }
      }
    } catch (error) {
      if (queue === null && waiting.length === 0) throw error
      sink.failed(address, error)
    }
  }
  if (foreign > 0) sink.warn(`${foreign} entries of the sitemap are on other sites and were left out.`)
  return queue ?? createQueue(new URL(start).origin)
}

/** The sitemaps an address means: itself, or for the root of a site those its robots.txt names, or the usual one. */
async function sitemapsOf(visitor: Visitor, start: string): Promise<string[]> {
  if (!URL.canParse(start) || new URL(start).pathname !== '/' || new URL(start).search !== '') return [start]
  const { origin } = new URL(start)
  const { sitemaps } = await visitor.robots(origin)
  return sitemaps.length > 0 ? sitemaps.slice(0, MAX_SITEMAPS + 1) : [`${origin}/sitemap.xml`]
}

async function readSitemap(visitor: Visitor, address: string, sink: CrawlSink) {
  const answer = await visitor.bytes(address)
  let text: string
  try {
    const unpacked = await sitemapText(answer.bytes)
    text = unpacked.text
    if (unpacked.truncated || answer.truncated)
      sink.warn(`${JSON.stringify(address)} is too long; only its beginning was read.`)
  } catch (error) {
    throw pageError(error)
  }
  const sitemap = parseSitemap(text)
  if (sitemap === null) throw new AppError('invalid_request', 'There is no sitemap at this address.')
  return { sitemap, url: answer.url }
}
