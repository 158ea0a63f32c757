/** Characters of a query that ai.search takes. */
export const MAX_QUERY_CHARS = 4000

/** Retrieval methods of ai.search. */
export const SEARCH_METHODS = ['hybrid', 'vector_search', 'full_text'] as const

/** Retrieval methods of a knowledge base: `tree_search` lets a model pick from tables of contents, with strategy `page_index` only. */
export const RETRIEVAL_METHODS = [...SEARCH_METHODS, 'tree_search'] as const
export type RetrievalMethod = (typeof RETRIEVAL_METHODS)[number]

/** How the legs of a hybrid search become one order: by ranks, which is the default, or by scores. */
export const FUSIONS = ['rrf', 'weighted'] as const
export type Fusion = (typeof FUSIONS)[number]

/** A row of ai.search; `score` is 1 for the best, except for vector_search, where it is the cosine similarity. */
export type SearchHit = {
  chunk_id: string
  source_id: string
  source_name: string | null
  knowledge_base_id: string
  indexed_source_id: string
  text: string
  score: number
  /** Cosine similarity; null: not compared. */
  vector_score: number | null
  /** BM25; null: none of its words. */
  text_score: number | null
  chunk_index: number
  /** Offsets in the source's pages joined by two line feeds, in UTF-16 code units. */
  start_char: number
  end_char: number
  meta: Record<string, unknown>
  /** Ranks, scores and matched terms of each leg; null unless asked for. */
  explanation: Record<string, unknown> | null
}

/** Pages a hit stands on, from 1, ascending; empty where none are known. */
export function pagesOf(hit: Pick<SearchHit, 'meta'>): number[] {
  const pages = hit.meta['pages']
  return Array.isArray(pages) ? pages.filter((page): page is number => Number.isInteger(page) && page >= 1) : []
}

/** Whether a hit's text is what stands at its span: a record is written about a document, and only spans what it was made from. */
export const isQuoted = ({ meta }: Pick<SearchHit, 'meta'>): boolean => meta['record'] === undefined

/** What tells apart what was found in several knowledge bases, in each of which the same passage has another id: where it stands; of a record what it says as well. */
export const placeKey = (
  found: { source_id: unknown; start_char: unknown; end_char: unknown } & Pick<SearchHit, 'meta' | 'text'>,
): string => JSON.stringify([found.source_id, found.start_char, found.end_char, isQuoted(found) ? null : found.text])

/** Best first; the same passage found in two knowledge bases counts once. */
export function withoutTwins(hits: readonly SearchHit[]): SearchHit[] {
  const seen = new Set<string>()
  return hits
    .toSorted((a, b) => b.score - a.score)
    .filter((hit) => {
      const key = placeKey(hit)
      return !seen.has(key) && seen.add(key)
    })
}

/**
 * The results of searches in several vector spaces as one list, best first. Similarities of different models cannot be
 * compared, so each search counts from its own best; equals keep their order.
 */
export function mergeHits(searches: readonly (readonly SearchHit[])[]): SearchHit[] {
  const found = searches.filter((hits) => hits.length > 0)
  if (found.length <= 1) return [...(found[0] ?? [])]
  return found
    .flatMap((hits) => {
      const best = Math.max(...hits.map((hit) => hit.score))
      return hits.map((hit, place) => ({ hit: { ...hit, score: best > 0 ? hit.score / best : 0 }, place }))
    })
    .toSorted((a, b) => b.hit.score - a.hit.score || a.place - b.place)
    .map(({ hit }) => hit)
}

/** Hits without those whose text a better one has already, and with at most `maxPerSource` of each source. */
export function diversify(
  hits: readonly SearchHit[],
  { deduplicate = false, maxPerSource }: { deduplicate?: boolean | undefined; maxPerSource?: number | undefined },
): SearchHit[] {
  const texts = new Set<string>()
  const counts = new Map<string, number>()
  return hits.filter((hit) => {
    if (deduplicate && texts.has(hit.text)) return false
    const count = counts.get(hit.source_id) ?? 0
    if (maxPerSource !== undefined && count >= maxPerSource) return false
    texts.add(hit.text)
    counts.set(hit.source_id, count + 1)
    return true
  })
}

/**
 * The best `topK` of the hits, in their order, so that each source that is found has its best `minPerSource` among them
 * before any has more; of more sources than there is room for, those of the best hits.
 * @param hits at most so many of each source as there may be
 */
export function spreadOver(hits: readonly SearchHit[], topK: number, minPerSource: number | undefined): SearchHit[] {
  if (minPerSource === undefined) return hits.slice(0, topK)
  const bySource = Map.groupBy(hits, (hit) => hit.source_id)
  const kept = new Set([...bySource.values()].flatMap((own) => own.slice(0, minPerSource)).slice(0, topK))
  for (const hit of hits) if (kept.size < topK) kept.add(hit)
  return hits.filter((hit) => kept.has(hit))
}
