/** Length aimed at for the logical pages of formats that have no pages, in characters. */
export const LOGICAL_PAGE_CHARACTERS = 3_000

/**
 * Cuts one over-long paragraph at line ends, else at spaces, else anywhere but inside a surrogate pair.
 */
function cutParagraph(paragraph: string, limit: number): string[] {
  const parts: string[] = []
  let rest = paragraph
  while (rest.length > limit) {
    const window = rest.slice(0, limit)
    let end = window.lastIndexOf('\n')
    if (end < limit / 2) end = Math.max(window.lastIndexOf('. ') + 1, window.lastIndexOf('。') + 1)
    if (end < limit / 2) end = window.lastIndexOf(' ')
    if (end < limit / 2) end = /[\uD800-\uDBFF]/.test(rest[limit - 1] as string) ? limit - 1 : limit
    parts.push(rest.slice(0, end).trimEnd())
    rest = rest.slice(end).trimStart()
  }
  if (rest) parts.push(rest)
  return parts
}

const isHeading = (paragraph: string): boolean => /^#{1,6} [^\n]*$/.test(paragraph)

/**
 * Divides text without pages into logical ones of about `size` characters. A page ends at a paragraph, and earlier
 * rather than later when a heading begins, so that the heading stays with its text.
 */
export function paginate(text: string, size: number = LOGICAL_PAGE_CHARACTERS): string[] {
  const paragraphs = text.split(/\n{2,}/).flatMap((paragraph) => cutParagraph(paragraph, size * 2))
  const pages: string[] = []
  let page: string[] = []
  let length = 0
  const close = () => {
    // Headings at the end of a page belong to the next one.
    const from = page.findLastIndex((paragraph) => !isHeading(paragraph)) + 1
    const carried = from > 0 ? page.splice(from) : []
    if (page.length > 0) pages.push(page.join('\n\n'))
    page = carried
    length = carried.reduce((sum, paragraph) => sum + paragraph.length + 2, 0)
  }
  for (const paragraph of paragraphs) {
    if (!paragraph) continue
    if (length > 0 && (length + paragraph.length > size || (isHeading(paragraph) && length > size * 0.7))) close()
    page.push(paragraph)
    length += paragraph.length + 2
  }
  if (page.length > 0) pages.push(page.join('\n\n'))
  return pages
}
