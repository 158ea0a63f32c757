import type { SearchHit } from '../../../supabase/functions/_shared/search/hits.ts'

/** A hit as the database gives it; `text` decides its length. */
export function hitOf(fields: Partial<SearchHit> & { text: string }): SearchHit {
  const start = fields.start_char ?? 0
  return {
    chunk_id: 'c0',
    source_id: 's0',
    source_name: 'doc.md',
    knowledge_base_id: 'k0',
    indexed_source_id: 'i0',
    score: 1,
    vector_score: 0.5,
    text_score: 3,
    chunk_index: 0,
    start_char: start,
    end_char: start + fields.text.length,
    meta: {},
    explanation: null,
    ...fields,
  }
}
