import type { Db } from '../context.ts'
import { cutText } from '../cut-text.ts'
import { unwrap } from '../errors.ts'
import type { SearchHit } from './hits.ts'
import { pagesOf } from './hits.ts'
import { PAGE_SEPARATOR } from './passages.ts'

/** Characters of all documents of one answer: about 100,000 tokens, more than most models read at once. */
const MAX_CHARS = 400_000
const PAGES_PER_REQUEST = 100

type Page = { page_number: number; text: string }

/** The first pages of a source, as many as it takes to fill `limit` characters. */
async function readFirstPages(db: Db, sourceId: string, limit: number, signal?: AbortSignal): Promise<Page[]> {
  const pages: Page[] = []
  for (let from = 0, chars = 0; chars <= limit; from += PAGES_PER_REQUEST) {
    const query = db
      .schema('ai')
      .from('source_pages')
      .select('page_number,text')
      .eq('source_id', sourceId)
      .order('page_number')
      .range(from, from + PAGES_PER_REQUEST - 1)
    const batch = unwrap(await (signal ? query.abortSignal(signal) : query).returns<Page[]>())
    pages.push(...batch)
    chars += batch.reduce((sum, { text }) => sum + text.length + PAGE_SEPARATOR.length, 0)
    if (batch.length < PAGES_PER_REQUEST) break
  }
  return pages
}

/** What of a hit is needed to give its document. */
type Found = Pick<SearchHit, 'source_id' | 'text' | 'start_char' | 'end_char' | 'meta'>

/** Whether a search has given a chunk as its whole document, by the meta that it gave it. */
export function standsForDocument(
  chunk: Pick<Found, 'start_char' | 'end_char'>,
  meta: Record<string, unknown> | null | undefined,
): boolean {
  const { start_char, end_char } = Object(meta?.['passage']) as Record<string, unknown>
  return start_char === chunk.start_char && end_char === chunk.end_char
}

/**
 * Each hit with the text of its whole document, for knowledge bases of the strategy `full_document`. Pages are read with the
 * token of `db`, so nobody gets more of a document than they may read. The place it was found at goes into `meta.passage`,
 * which is what a citation of it shows.
 * All texts together have at most 400,000 characters: the document that reaches that is cut, those after it stay passages.
 * @param hits at most one of each source, best first
 * @throws AppError what the database refuses; the reason of `signal` when that fires.
 */
export async function wholeDocuments<Hit extends Found>(
  db: Db,
  hits: readonly Hit[],
  signal?: AbortSignal,
): Promise<{ hits: Hit[]; warnings: string[] }> {
  const documents: Hit[] = []
  let left = MAX_CHARS
  let shortened = 0
  for (const hit of hits) {
    const pages = left > 0 ? await readFirstPages(db, hit.source_id, left, signal) : []
    const whole = pages.map(({ text }) => text).join(PAGE_SEPARATOR)
    if (whole.length > left || left === 0) shortened++
    // Nothing to read: the source is being extracted anew. What was found is still there.
    if (whole === '') {
      documents.push(hit)
      continue
    }
    const text = cutText(whole, left)
    left -= Math.min(whole.length, left)
    const { start_char, end_char } = hit
    const passage = { start_char, end_char, pages: pagesOf(hit) }
    const meta = { ...hit.meta, pages: pages.map(({ page_number: page }) => page), passage }
    documents.push({ ...hit, text, start_char: 0, end_char: text.length, meta })
  }
  const warnings = shortened > 0 ? [`${shortened} of the documents are too long to be given whole.`] : []
  return { hits: documents, warnings }
}
