import { decodeBody } from '../../_shared/egress/decode.ts'
import { decodeEntities } from '../../_shared/egress/html-tokens.ts'

/** What a sitemap names: pages, or other sitemaps. Addresses as they stand there. */
export type Sitemap = { kind: 'pages' | 'sitemaps'; addresses: string[] }

/** Bytes of one sitemap, unpacked, that are read. */
export const MAX_SITEMAP_BYTES = 5 * 1024 * 1024
const MAX_ADDRESSES = 50_000
const MAX_URL_CHARS = 2048

/** The text of an element's content: entities decoded once, CDATA taken as it is. Nothing is ever looked up. */
const textOf = (content: string): string => {
  const cdata = /^\s*<!\[CDATA\[([\s\S]*?)\]\]>\s*$/.exec(content)
  return (cdata ? (cdata[1] ?? '') : decodeEntities(content)).trim()
}

/**
 * Reads a sitemap or an index of sitemaps, or a plain list of addresses; null when it is none of them. It is no XML parser:
 * it looks for `loc` elements from left to right, so that there is nothing to expand and nothing to nest.
 */
export function parseSitemap(text: string): Sitemap | null {
  const root = /<(?:[\w-]{1,30}:)?(urlset|sitemapindex)[\s/>]/.exec(text.slice(0, 10_000))?.[1]
  if (root === undefined) return plainList(text)
  const addresses: string[] = []
  const opening = /<((?:[\w-]{1,30}:)?loc)\s*>/g
  for (let found = opening.exec(text); found !== null && addresses.length < MAX_ADDRESSES; found = opening.exec(text)) {
    const start = found.index + found[0].length
    const end = text.indexOf(`</${found[1] ?? ''}`, start)
    if (end === -1) break
    opening.lastIndex = end
    // Extensions have a loc of their own, which names an image or a video.
    if (/^(?:image|video):/.test(found[1] ?? '')) continue
    const address = textOf(text.slice(start, Math.min(end, start + 2 * MAX_URL_CHARS)))
    if (address !== '' && address.length <= MAX_URL_CHARS) addresses.push(address)
  }
  return { kind: root === 'urlset' ? 'pages' : 'sitemaps', addresses }
}

/** A sitemap may also be a text file with one address per line. */
function plainList(text: string): Sitemap | null {
  const lines = text
    .replace(/^\ufeff/, '')
    .split(/\r\n|\r|\n/, MAX_ADDRESSES)
    .map((line) => line.trim())
    .filter((line) => line !== '')
  if (lines.length === 0 || !lines.every((line) => /^https?:\/\/\S+$/i.test(line))) return null
  return { kind: 'pages', addresses: lines.filter((line) => line.length <= MAX_URL_CHARS) }
}

/** Bytes as a stream of one piece. */
async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(bytes)
}

/**
 * The text of a sitemap's bytes, unpacked where they are gzip.
 * @throws EgressError `too_large` for one that unpacks to more than `MAX_SITEMAP_BYTES`, `bad_response` for a broken one.
 */
export async function sitemapText(bytes: Uint8Array): Promise<{ text: string; truncated: boolean }> {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return { text: new TextDecoder().decode(bytes), truncated: false }
  const decoder = new TextDecoder()
  let text = ''
  let size = 0
  for await (const piece of decodeBody(once(bytes), 'gzip', bytes.byteLength)) {
    const kept = piece.subarray(0, MAX_SITEMAP_BYTES - size)
    size += kept.byteLength
    text += decoder.decode(kept, { stream: true })
    if (kept.byteLength < piece.byteLength) return { text, truncated: true }
  }
  return { text: text + decoder.decode(), truncated: false }
}
