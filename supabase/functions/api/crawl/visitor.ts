import { MAX_FILE_BYTES } from '../../_shared/body.ts'
import { withDeadline } from '../../_shared/egress/deadline.ts'
import { EgressError } from '../../_shared/egress/index.ts'
import { redirectTarget } from '../../_shared/egress/request.ts'
import { AppError, toAppError } from '../../_shared/errors.ts'
import { openPage, pageError } from '../web-pages.ts'
import type { PageEgress, WebPage } from '../web-pages.ts'
import { REAL_CLOCK, createPace } from './pace.ts'
import type { Clock } from './pace.ts'
import { ALLOWS_ALL, ALLOWS_NOTHING, parseRobots } from './robots.ts'
import type { Robots } from './robots.ts'
import { MAX_SITEMAP_BYTES } from './sitemap.ts'

/** What looking for pages may cost altogether. */
export type CrawlLimits = {
  /** Milliseconds; what is under way then is given up. */
  timeMs: number
  /** Bytes of pages, unpacked. */
  maxBytes: number
  /** Requests, those for robots.txt and those that fail included. */
  maxRequests: number
}

/** Why nothing more is fetched. */
export type StopReason = 'time' | 'bytes' | 'requests' | 'delay'

/** Fetches pages of sites within one allowance, as their robots.txt permits. */
export type Visitor = {
  /**
   * A page, or whatever its redirects lead to. With a `scope` it stays within that origin.
   * @param share how many pages are fetched at the same time: each may have that part of the bytes that are left.
   * @returns null when it leads out of the scope, or to what `isKnown` knows, or when nothing more may be fetched.
   * @throws AppError as `openPage`; `invalid_request` for what robots.txt forbids.
   */
  page(url: string, options: PageOptions): Promise<WebPage | null>
  /** The bytes at an address in whatever form, and where they came from. @throws AppError as `page`. */
  bytes(url: string): Promise<RawAnswer>
  /** What a site allows, and its own sitemaps: those in its origin, or in the one its robots.txt redirects to. */
  robots(origin: string): Promise<Robots>
  /** Null while more may be fetched. `delay`: a site wants more time between two requests than there is. */
  stopped(): StopReason | null
  /** What to say about a page that was not fetched because of `delay`. */
  delayed(): AppError
  /** To be called when nothing more is fetched. */
  end(): void
}

/** What is at an address, and where it came from. `truncated`: it is longer. */
type RawAnswer = { bytes: Uint8Array; url: string; truncated: boolean }

type PageOptions = { scope: string | null; share: number; isKnown?: (url: string) => boolean }

const MAX_REDIRECTS = 5
const ROBOTS_TIMEOUT_MS = 5_000
const PAGE_TIMEOUT_MS = 10_000
/** As much of it as the standard asks to be read. */
const MAX_ROBOTS_BYTES = 500 * 1024
/** With less than this left, no page is begun. */
const MIN_BYTES = 64 * 1024

const pathOf = (url: string) => {
  const { pathname, search } = new URL(url)
  return pathname + search
}

/** Refuses what is no address of a site; the egress refuses more. @throws AppError `invalid_request`. */
export function checkAddress(url: string): void {
  const { protocol, username, password } = URL.canParse(url)
    ? new URL(url)
    : { protocol: '', username: '', password: '' }
  if (protocol === 'https:' || protocol === 'http:') {
    if (username === '' && password === '') return
    throw new AppError('invalid_request', 'The URL cannot be used: it holds credentials.')
  }
  throw new AppError('invalid_request', 'Only https URLs can be fetched.')
}

/** Makes a visitor whose time begins now. */
export function createVisitor(egress: PageEgress, limits: CrawlLimits, clock: Clock = REAL_CLOCK): Visitor {
  const deadline = withDeadline(undefined, limits.timeMs)
  const pace = createPace(clock, clock.now() + limits.timeMs, deadline.signal)
  const rules = new Map<string, Promise<Robots>>()
  let bytesLeft = limits.maxBytes
  let requestsLeft = limits.maxRequests

  const stopped = (): StopReason | null => {
    if (deadline.signal.aborted) return 'time'
    if (pace.refusedFor() !== null) return 'delay'
    if (bytesLeft < MIN_BYTES) return 'bytes'
    return requestsLeft <= 0 ? 'requests' : null
  }

  /** What a site allows. Without an answer nothing is: whoever cannot say no has not said yes. */
  const readRobots = async (origin: string): Promise<Robots> => {
    requestsLeft--
    try {
      const answer = await egress.fetch(`${origin}/robots.txt`, {
        signal: deadline.signal,
        timeoutMs: ROBOTS_TIMEOUT_MS,
        maxBytes: MAX_ROBOTS_BYTES,
      })
      if (answer.status >= 200 && answer.status < 300) {
        const read = parseRobots(answer.text())
        const origins = [origin, new URL(answer.url).origin]
        const isOwn = (address: string) => URL.canParse(address) && origins.includes(new URL(address).origin)
        return { ...read, sitemaps: read.sitemaps.filter(isOwn) }
      }
      return answer.status >= 500 ? ALLOWS_NOTHING : ALLOWS_ALL
    } catch (error) {
      if (error instanceof EgressError && error.code === 'too_many_redirects') return ALLOWS_ALL
      throw pageError(error)
    }
  }
  const robots = (origin: string): Promise<Robots> => {
    const known = rules.get(origin) ?? readRobots(origin)
    rules.set(origin, known)
    return known
  }

  /** Waits until an address may be fetched. @returns false when it may not, because nothing may any more. */
  const permitted = async (url: string): Promise<boolean> => {
    checkAddress(url)
    const { origin } = new URL(url)
    const allowed = await robots(origin)
    if (!allowed.allows(pathOf(url))) {
      throw new AppError('invalid_request', 'The robots.txt of the site does not allow this address to be fetched.')
    }
    return (await pace.turn(origin, allowed.delayMs)) && stopped() === null
  }

  const delayed = () =>
    new AppError(
      'invalid_request',
      `The robots.txt of the site asks for ${(pace.refusedFor() ?? 0) / 1000} seconds between two requests, for which there is not the time; nothing more was fetched from it.`,
    )

  /** Follows an address to its end; each step by the rules of the egress, and by those of the site it leads to. */
  const follow = async <T extends object>(
    url: string,
    isOut: (to: string) => boolean,
    get: (url: string) => Promise<{ redirect: string } | T>,
  ): Promise<T | null> => {
    let at = url
    for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
      if (stopped() !== null) return null
      if (!(await permitted(at))) return null
      requestsLeft--
      const got = await get(at)
      if (!('redirect' in got)) return got
      const to = new URL(got.redirect)
      to.hash = ''
      if (isOut(to.href)) return null
      if (new URL(at).protocol === 'https:' && to.protocol === 'http:') {
        throw new AppError('invalid_request', 'The server redirects from https to http.')
      }
      at = to.href
    }
    throw new AppError('upstream_failed', 'The server redirects too often.')
  }

  return {
    robots,
    stopped,
    delayed,
    end: () => deadline.end(),
    async page(url, { scope, share, isKnown = () => false }) {
      const maxBytes = Math.min(MAX_FILE_BYTES, Math.floor(bytesLeft / share))
      const isOut = (to: string) => (scope !== null && new URL(to).origin !== scope) || isKnown(to)
      return await follow(url, isOut, async (at) => {
        try {
          const opened = await openPage(egress, at, { maxBytes, signal: deadline.signal, redirects: 'manual' })
          if ('redirect' in opened) return opened
          bytesLeft -= opened.page.bytes.byteLength
          return opened.page
        } catch (error) {
          // As much may have come before it was given up.
          if (['payload_too_large', 'upstream_timeout'].includes(toAppError(error).code)) bytesLeft -= maxBytes
          throw error
        }
      })
    },
    async bytes(url) {
      const found = await follow<RawAnswer>(
        url,
        () => false,
        async (at) => {
          try {
            const answer = await egress.fetch(at, {
              signal: deadline.signal,
              timeoutMs: PAGE_TIMEOUT_MS,
              maxBytes: MAX_SITEMAP_BYTES,
              maxRedirects: 'manual',
            })
            const location = redirectTarget(answer.status, answer.headers)
            if (location !== null && URL.canParse(location, at)) return { redirect: new URL(location, at).href }
            if (answer.status !== 200) {
              throw new AppError('upstream_failed', `The sitemap answered with HTTP ${answer.status}.`)
            }
            bytesLeft -= answer.body.byteLength
            return { bytes: answer.body, url: at, truncated: answer.truncated }
          } catch (error) {
            throw pageError(error)
          }
        },
      )
      if (found === null) {
        throw stopped() === 'delay'
          ? delayed()
          : new AppError('upstream_timeout', 'The sitemap could not be read in time.')
      }
      return found
    },
  }
}
