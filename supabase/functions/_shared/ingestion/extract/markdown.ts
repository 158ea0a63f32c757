import { decodeText } from './decode-text.ts'
import type { Extraction } from './extraction.ts'
import { corrupt } from './failure.ts'
import { paginate } from './paginate.ts'
import { sanitizeText, sanitizeTitle } from './sanitize.ts'

/** `text.indexOf(mark, from)` for a `from` that only grows, in linear time altogether. */
function finder(text: string, mark: string): (from: number) => number {
  let found = -1
  return (from) => {
    if (found < from && found < text.length) {
      const next = text.indexOf(mark, from)
      found = next < 0 ? text.length : next
    }
    return found < text.length ? found : -1
  }
}

function withoutComments(text: string): string {
  const kept: string[] = []
  let from = 0
  for (let open = text.indexOf('<!--'); open >= 0; open = text.indexOf('<!--', from)) {
    const close = text.indexOf('-->', open + 4)
    if (close < 0) break
    kept.push(text.slice(from, open))
    from = close + 3
  }
  return kept.join('') + text.slice(from)
}

/** Replaces images that are embedded as data with their descriptions. */
function withoutEmbeddedImages(text: string): string {
  const kept: string[] = []
  const findBracket = finder(text, ']')
  let from = 0
  for (let open = text.indexOf('!['); open >= 0; ) {
    const bracket = findBracket(open + 2)
    if (bracket < 0) break
    let next = open + 2
    if (text.startsWith('](data:', bracket)) {
      const close = text.indexOf(')', bracket + 7)
      if (close < 0) break
      kept.push(text.slice(from, open), text.slice(open + 2, bracket))
      next = from = close + 1
    }
    open = text.indexOf('![', next)
  }
  return kept.join('') + text.slice(from)
}

/** The title that front matter gives, without the quotes that may be around it. */
function titleOf(frontMatter: string): string {
  const value = /^title:(.*)$/m.exec(frontMatter)?.[1]?.trim() ?? ''
  return sanitizeTitle(value.replace(/^["']/, '').replace(/["']$/, ''))
}

/**
 * Markdown stays as written, because the chunker reads its structure; what no reader sees goes: front matter (kept as
 * `title` if it has one), comments, and images embedded as data.
 */
export function extractMarkdown(bytes: Uint8Array): Extraction {
  const decoded = decodeText(bytes)
  if (!decoded) throw corrupt('Markdown file')
  const metadata: Extraction['metadata'] = { encoding: decoded.encoding }
  const source = sanitizeText(decoded.text)
  const frontMatter = /^---\n([\s\S]*?)\n---(?:\n|$)/.exec(source)
  const title = frontMatter && titleOf(frontMatter[1] as string)
  if (title) metadata.title = title
  const text = withoutEmbeddedImages(withoutComments(source.slice(frontMatter ? frontMatter[0].length : 0)))
  return { pages: paginate(sanitizeText(text)), metadata }
}
