import type { Caller, Db } from '../context.ts'
import { AppError, unwrap } from '../errors.ts'
import type { Embedder } from '../providers/index.ts'
import type { EmbeddingUse, QueryVectors } from './query-vectors.ts'

/** What can be searched with one vector: knowledge bases whose vectors one model made. Null model: nothing is embedded there. */
export type ModelGroup = { embedding_model: string | null; knowledge_base_ids: string[] }

/**
 * The knowledge bases that the caller can see, among those named or of all, by the model whose vectors are compared there
 * now. What is not embedded yet has words only, so it goes along with the first model.
 */
export async function searchGroups(db: Db, knowledgeBaseIds: readonly string[] | undefined): Promise<ModelGroup[]> {
  const rows = unwrap<ModelGroup[]>(
    await db.schema('ai').rpc('search_models', { knowledge_base_ids: knowledgeBaseIds ?? null }),
  )
  const embedded = rows.filter((row) => row.embedding_model !== null)
  const [first, ...others] = embedded
  if (first === undefined) return rows
  const rest = rows.filter((row) => row.embedding_model === null).flatMap((row) => row.knowledge_base_ids)
  return [{ ...first, knowledge_base_ids: [...first.knowledge_base_ids, ...rest] }, ...others]
}

/** Whoever can embed a query for a model. */
export type EmbedderFor = (model: string) => Embedder | null

/** Whether a refusal means that the endpoint does not have the model, and not that it is unwell. */
function isUnknownModel(error: unknown): boolean {
  if (!(error instanceof AppError) || error.code !== 'upstream_failed') return false
  const { status, code } = Object(error.cause) as { status?: unknown; code?: unknown }
  return status === 404 || code === 'model_not_found'
}

/**
 * The query's vector for a model, or null when nobody here can embed with it.
 * @throws AppError what a provider that has the model refuses.
 */
export async function queryVectorFor(
  model: string,
  { caller, query, signal }: { caller: Caller; query: string; signal?: AbortSignal | undefined },
  providers: { embedderFor: EmbedderFor; queryVectors: QueryVectors },
  onEmbedded?: (use: EmbeddingUse) => void,
): Promise<number[] | null> {
  const embedder = providers.embedderFor(model)
  if (embedder === null) return null
  try {
    return await providers.queryVectors.vectorOf(caller, embedder, query, signal, onEmbedded)
  } catch (error) {
    if (isUnknownModel(error)) return null
    throw error
  }
}
