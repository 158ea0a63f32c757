import { z } from 'zod'
import type { Db } from '../_shared/context.ts'
import { AppError, missing, unwrap } from '../_shared/errors.ts'
import { parse } from '../_shared/http.ts'
import { STRATEGIES } from '../_shared/search/settings.ts'

/** Columns of ai.knowledge_bases that this function reads. */
export const KNOWLEDGE_BASE_COLUMNS =
  'id,tenant_id,name,description,is_default,language,embedding_model,indexing_config,retrieval_config,created_at,updated_at'

/** A row of ai.knowledge_bases. */
export type KnowledgeBaseRow = {
  id: string
  tenant_id: string
  name: string
  description: string | null
  is_default: boolean
  /** Text search configuration of what is indexed from now on, e.g. `english`. */
  language: string
  /** Model whose vectors are searched; null until something is indexed. */
  embedding_model: string | null
  indexing_config: Record<string, unknown>
  retrieval_config: Record<string, unknown>
  created_at: string
  updated_at: string
}

/** What a new knowledge base has unless asked otherwise; the same as the database's defaults. */
export const INDEXING_DEFAULTS = { strategy: STRATEGIES[0], chunk_size: 400, overlap: 50 }

/**
 * How sources are indexed. Sizes are in tokens.
 * @throws (when parsed) `invalid_request` for a strategy that is not here.
 */
export const indexingConfig = z
  .looseObject({
    strategy: z
      .enum(STRATEGIES, `Unknown strategy. This project indexes with ${STRATEGIES.join(' or ')}.`)
      .default(INDEXING_DEFAULTS.strategy),
    chunk_size: z.number().int().min(50).max(4000).default(INDEXING_DEFAULTS.chunk_size),
    overlap: z.number().int().min(0).default(INDEXING_DEFAULTS.overlap),
  })
  .refine((config) => config.overlap < config.chunk_size, 'overlap must be smaller than chunk_size')

/** Languages whose words the database knows how to compare; `simple` compares them as they are written. */
const LANGUAGES = [
  'arabic',
  'armenian',
  'basque',
  'catalan',
  'danish',
  'dutch',
  'english',
  'finnish',
  'french',
  'german',
  'greek',
  'hindi',
  'hungarian',
  'indonesian',
  'irish',
  'italian',
  'lithuanian',
  'nepali',
  'norwegian',
  'portuguese',
  'romanian',
  'russian',
  'serbian',
  'simple',
  'spanish',
  'swedish',
  'tamil',
  'turkish',
  'yiddish',
] as const

/** The language of a knowledge base's words. */
export const language = z.enum(LANGUAGES, `language must be one of ${LANGUAGES.join(', ')}`)

/**
 * The language a request sets: `language`, or `ts_language` of its retrieval_config, as the agent API calls it.
 * @throws AppError `invalid_request` for one that the database does not know.
 */
export function requestedLanguage(body: {
  language?: z.output<typeof language> | undefined
  retrieval_config?: Record<string, unknown> | null | undefined
}): z.output<typeof language> | undefined {
  const named = body.retrieval_config?.['ts_language']
  return body.language ?? (named == null ? undefined : parse(language, named))
}

/** Said to whoever names a model for summaries, as clients of the agent API do for `full_document`. */
export const SUMMARIES_ARE_NOT_MADE =
  'indexing_config.summary_model is not used: a document is found by all of its passages, not by a summary.'

/** Said to whoever sends a model: the column is read-only. */
export const MODEL_IS_READ_ONLY = 'embedding_model was ignored: it is the model of the vectors that are stored.'

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
