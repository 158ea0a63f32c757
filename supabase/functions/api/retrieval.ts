import type { Caller, Db } from '../_shared/context.ts'
import type { KnowledgeBaseChoice } from '../_shared/execution/run-request.ts'
import { AppError } from '../_shared/errors.ts'
import { search } from '../_shared/search.ts'
import type { WithSearch } from '../_shared/search.ts'
import { contextOf } from '../_shared/search/context.ts'
import { withoutTwins } from '../_shared/search/hits.ts'
import { readKnowledgeBases, retrievalOf } from '../_shared/search/settings.ts'
import type { SearchedKnowledgeBase } from '../_shared/search/settings.ts'

/** On whose behalf is searched. */
type Reader = { db: Db; caller: Caller }

/** What was found, as ai.context_handlers keeps it. */
export type Retrieval = {
  /** Passages, best first; `citation_key` is their number in the text. A run reads them again by `item_id`. */
  items: {
    item_id: string
    citation_key: number
    source_id: string
    source_name: string | null
    knowledge_base_id: string
    text: string
    score: number
    meta: Record<string, unknown>
  }[]
  /** The passages as one text for a model, by document. */
  text: string
  metadata: Record<string, unknown>
  warnings: string[]
}

/**
 * Finds the knowledge bases a request names, and prepares searching each of them, as often as it is named, by its own settings.
 * @throws AppError `invalid_request` when the caller cannot see one of them: it is a field of the request that names it.
 */
export async function retrieveFrom(
  { db }: Reader,
  deps: WithSearch,
  choices: readonly KnowledgeBaseChoice[],
): Promise<{
  rows: SearchedKnowledgeBase[]
  /** @throws AppError as `search`. */
  search: (reader: Reader, query: string, maxTokens: number) => Promise<Retrieval>
}> {
  const ids = [...new Set(choices.map((choice) => choice.id))]
  const rows = await readKnowledgeBases(db, ids)
  if (rows.length < ids.length) throw new AppError('invalid_request', 'Knowledge base not found')
  return {
    rows,
    async search(reader, query, maxTokens) {
      const outcomes = await Promise.all(
        choices.flatMap((choice) => {
          const row = rows.find(({ id }) => id === choice.id)
          if (row === undefined) return []
          const settings = retrievalOf(row)
          const spender = { tenantId: row.tenant_id, userId: reader.caller.userId }
          return search({ ...reader, spender }, deps.search, {
            ...settings,
            query,
            knowledgeBaseIds: [row.id],
            topK: choice.top_k ?? settings.topK,
            method: choice.retrieval_method ?? settings.method,
            similarityThreshold: choice.similarity_threshold ?? settings.similarityThreshold,
            filterMetadata: choice.filter_metadata ?? undefined,
          })
        }),
      )
      const hits = withoutTwins(outcomes.flatMap((outcome) => outcome.hits))
      const context = await contextOf(reader.db, hits, { unit: 'chunks', neighbours: 0, maxTokens })
      const shown = new Set(context.entries.map((entry) => entry.key))
      const leftOut = context.left_out
      return {
        items: hits.flatMap((hit, index) =>
          shown.has(index + 1)
            ? [
                {
                  item_id: hit.chunk_id,
                  citation_key: index + 1,
                  source_id: hit.source_id,
                  source_name: hit.source_name,
                  knowledge_base_id: hit.knowledge_base_id,
                  text: hit.text,
                  score: hit.score,
                  meta: { ...hit.meta, start_char: hit.start_char, end_char: hit.end_char },
                },
              ]
            : [],
        ),
        text: context.text,
        metadata: {
          embedding_models: [...new Set(outcomes.flatMap((outcome) => outcome.models))],
          rerankers: [...new Set(outcomes.flatMap((outcome) => outcome.reranker ?? []))],
          retrieval_methods: [...new Set(outcomes.map((outcome) => outcome.method))],
          total_results: hits.length,
          context_tokens: context.tokens,
        },
        warnings: [
          ...new Set(outcomes.flatMap((outcome) => outcome.warnings)),
          ...(leftOut > 0 ? [`${leftOut} of the results did not fit into max_context_tokens.`] : []),
        ],
      }
    },
  }
}
