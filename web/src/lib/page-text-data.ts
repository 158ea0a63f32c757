import type { Supabase } from '../app/backend.ts'
import { dataOf } from './errors.ts'
import { type Page, PAGE_SEPARATOR, type PageSpan, type Span, spansOnPages } from './page-text.ts'

/** Pages that are read at once while a span is looked for. */
const BATCH = 50

/** One page of a source, null where there is none. @throws what PostgREST answers */
export async function readPage(
  supabase: Supabase,
  sourceId: string,
  page: number,
  signal?: AbortSignal,
): Promise<Page | null> {
  const query = supabase
    .schema('ai')
    .from('source_pages')
    .select('page_number, text')
    .eq('source_id', sourceId)
    .eq('page_number', page)
  return dataOf(await (signal ? query.abortSignal(signal) : query))[0] ?? null
}

/**
 * The pages that a span of a source stands on; none where the text has become another meanwhile. Only the length of the
 * pages before says where a span is, so they are read, some at a time.
 * @throws what PostgREST answers
 */
export async function findSpan(
  supabase: Supabase,
  sourceId: string,
  span: Span,
  signal?: AbortSignal,
): Promise<PageSpan[]> {
  const found: PageSpan[] = []
  let start = 0
  for (let last = 0; start < span.to; ) {
    const query = supabase
      .schema('ai')
      .from('source_pages')
      .select('page_number, text')
      .eq('source_id', sourceId)
      .gt('page_number', last)
      .order('page_number')
      .limit(BATCH)
    const pages = dataOf(await (signal ? query.abortSignal(signal) : query))
    found.push(...spansOnPages(pages, span, start))
    start += pages.reduce((sum, page) => sum + page.text.length + PAGE_SEPARATOR.length, 0)
    const end = pages.at(-1)
    if (!end || pages.length < BATCH) break
    last = end.page_number
  }
  return found
}
