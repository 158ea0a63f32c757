import { htmlTokens } from '../../_shared/egress/html-tokens.ts'

/** Bytes of a page in which links are looked for. A function has two seconds of processor time for all its pages. */
const MAX_BYTES = 256 * 1024
const MAX_LINKS = 500
const MAX_URL_CHARS = 2048
/** Endings of files that no source can be made of. Anything else is asked for, because only the answer says what it is. */
const UNREADABLE =
  /\.(?:7z|avi|avif|bin|bmp|bz2|css|dmg|eot|exe|gif|gz|ico|iso|jar|jpe?g|js|json|m4a|map|mjs|mov|mp[34]|mpe?g|msi|ogg|otf|png|ppt|rar|rss|svg|tar|tgz|tiff?|ttf|wasm|wav|web[mp]|woff2?|xls|xml|zip)$/i

/**
 * An address as pages are told apart by: complete, without its fragment; null for what is no page of `origin`.
 * @param base what a relative address is read against.
 */
export function pageAddress(href: string, base: string, origin: string): string | null {
  if (href.length > MAX_URL_CHARS || !URL.canParse(href, base)) return null
  const url = new URL(href, base)
  url.hash = ''
  const isPage = url.origin === origin && url.username === '' && url.password === '' && !UNREADABLE.test(url.pathname)
  return isPage && url.href.length <= MAX_URL_CHARS ? url.href : null
}

/**
 * Addresses of the same origin that a page links to, each once, in their order. Read as UTF-8: in other encodings, tags and
 * addresses mostly look the same.
 * @param url where the page is from.
 */
export function linksOf(page: Uint8Array, url: string): string[] {
  const html = new TextDecoder().decode(page.subarray(0, MAX_BYTES))
  const { origin } = new URL(url)
  const found = new Set<string>()
  let base = url
  let isBaseSet = false
  for (const token of htmlTokens(html)) {
    if (token.kind !== 'open') continue
    const href = token.attributes.get('href')
    if (href === undefined) continue
    if (token.name === 'base') {
      // The first one counts. One that leads elsewhere turns relative links into those of another origin, which go.
      if (!isBaseSet && URL.canParse(href, url)) base = new URL(href, url).href
      isBaseSet = true
    } else if (token.name === 'a' || token.name === 'area') {
      if (/(?:^|\s)nofollow(?:\s|$)/i.test(token.attributes.get('rel') ?? '')) continue
      const address = pageAddress(href, base, origin)
      if (address !== null) found.add(address)
      if (found.size >= MAX_LINKS) break
    }
  }
  return [...found]
}
