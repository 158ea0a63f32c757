import { decodeText } from './decode-text.ts'
import type { Extraction } from './extraction.ts'
import { corrupt } from './failure.ts'
import { paginate } from './paginate.ts'
import { sanitizeText } from './sanitize.ts'

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
  const title = frontMatter && /^title:\s*["']?(.+?)["']?\s*$/m.exec(frontMatter[1] as string)
  if (title) metadata.title = (title[1] as string).slice(0, 300)
  const text = source
    .slice(frontMatter ? frontMatter[0].length : 0)
    .replace(/<!--[\s\S]*?-->/g, '')
    .replace(/!\[([^\]]*)\]\(data:[^)]*\)/g, '$1')
  return { pages: paginate(sanitizeText(text)), metadata }
}
