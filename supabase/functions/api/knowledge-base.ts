import { z } from 'zod'
import type { Db } from '../_shared/context.ts'
import { AppError, missing, unwrap } from '../_shared/errors.ts'
import { SEARCH_METHODS } from '../_shared/search.ts'
import type { SearchMethod } from '../_shared/search.ts'

/** Columns of ai.knowledge_bases that this function reads. */
export const KNOWLEDGE_BASE_COLUMNS =
  'id,tenant_id,name,description,is_default,indexing_config,retrieval_config,created_at,updated_at'

/** A row of ai.knowledge_bases. */
export type KnowledgeBaseRow = {
  id: string
  tenant_id: string
  name: string
  description: string | null
  is_default: boolean
  indexing_config: Record<string, unknown>
  retrieval_config: Record<string, unknown>
  created_at: string
  updated_at: string
}

/** What a new knowledge base has unless asked otherwise; the same as the database's defaults. */
export const INDEXING_DEFAULTS = { strategy: 'chunk_embed', chunk_size: 400, overlap: 50 }
export const RETRIEVAL_DEFAULTS = { method: 'hybrid', top_k: 5, vector_weight: 0.5 }

/**
 * How sources are indexed. Sizes are in tokens.
 * @throws (when parsed) `invalid_request` for a strategy other than chunk_embed.
 */
export const indexingConfig = z
  .looseObject({
    strategy: z
      .literal('chunk_embed', 'Unknown strategy. This project indexes with chunk_embed.')
      .default('chunk_embed'),
    chunk_size: z.number().int().min(50).max(4000).default(INDEXING_DEFAULTS.chunk_size),
    overlap: z.number().int().min(0).default(INDEXING_DEFAULTS.overlap),
  })
  .refine((config) => config.overlap < config.chunk_size, 'overlap must be smaller than chunk_size')

/** How a knowledge base is searched when the request does not say. */
export const retrievalConfig = z.looseObject({
  method: z.enum(SEARCH_METHODS).default('hybrid'),
  top_k: z.number().int().min(1).max(100).default(RETRIEVAL_DEFAULTS.top_k),
  vector_weight: z.number().min(0).max(1).default(RETRIEVAL_DEFAULTS.vector_weight),
})

/** The stored settings as far as they are usable; anything else falls back to the defaults. */
export function retrievalOf(row: Pick<KnowledgeBaseRow, 'retrieval_config'>): {
  method: SearchMethod
  topK: number
  vectorWeight: number
} {
  const parsed = retrievalConfig.safeParse(row.retrieval_config)
  const config = parsed.success ? parsed.data : retrievalConfig.parse({})
  return { method: config.method, topK: config.top_k, vectorWeight: config.vector_weight }
}

/** A knowledge base the caller can see, or null. */
export async function lookUpKnowledgeBase(db: Db, id: string): Promise<KnowledgeBaseRow | null> {
  const { data, error } = await db
    .schema('ai')
    .from('knowledge_bases')
    .select(KNOWLEDGE_BASE_COLUMNS)
    .eq('id', id)
    .maybeSingle<KnowledgeBaseRow>()
  return error ? unwrap({ data: null, error }) : data
}

/** A knowledge base the caller can see. @throws AppError `not_found`. */
export async function findKnowledgeBase(db: Db, id: string): Promise<KnowledgeBaseRow> {
  const row = await lookUpKnowledgeBase(db, id)
  if (row === null) throw missing('knowledge_base')
  return row
}

/** Why a change of a knowledge base hit no row. @throws AppError `not_found`, `conflict` or `forbidden`. */
export async function refuseKnowledgeBaseChange(db: Db, id: string, change: 'change' | 'delete'): Promise<never> {
  const row = await findKnowledgeBase(db, id)
  if (change === 'delete' && row.is_default) {
    throw new AppError('conflict', 'The default knowledge base of a tenant cannot be deleted.')
  }
  throw new AppError('forbidden', `Only its creator and admins can ${change} a knowledge base.`)
}
