/** As much of a chunk as it takes to tell its section. */
type Placed = { meta: Record<string, unknown> }

const headingsOf = ({ meta }: Placed): string[] =>
  Array.isArray(meta['heading_path']) ? meta['heading_path'].map(String) : []
const firstPageOf = ({ meta }: Placed): unknown => (Array.isArray(meta['pages']) ? meta['pages'][0] : undefined)

/**
 * The sections of a document: runs of chunks under the same headings. A document without any has its pages as sections; a chunk
 * belongs to the page it begins on.
 * @param chunks all chunks of one document, in their order. @returns the chunks of each section; none is empty.
 */
export function sectionsOf<Chunk extends Placed>(chunks: readonly Chunk[]): Chunk[][] {
  const hasHeadings = chunks.some((chunk) => headingsOf(chunk).length > 0)
  const keyOf = (chunk: Chunk) => JSON.stringify(hasHeadings ? headingsOf(chunk) : firstPageOf(chunk))
  const sections: Chunk[][] = []
  let last: string | undefined
  for (const chunk of chunks) {
    const key = keyOf(chunk)
    if (key === last) sections.at(-1)?.push(chunk)
    else sections.push([chunk])
    last = key
  }
  return sections
}
