import { z } from 'zod'
import type { Db } from '../_shared/context.ts'
import { AppError, missing, unwrap } from '../_shared/errors.ts'
import { parse } from '../_shared/http.ts'
import type { ChatProvider } from '../_shared/providers/index.ts'
import { hasLanguageModel } from '../_shared/providers/offline-answerer.ts'
import { idleRetrievalKeys, methodProblem, retrievalConfig } from '../_shared/search/settings.ts'
import { STRATEGIES, STRATEGY_RETRIEVAL, idleIndexingKeys, summaryModelOf } from '../_shared/strategies.ts'
import type { IndexingConfig, Strategy } from '../_shared/strategies.ts'

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

const { method, top_k, ...otherSettings } = retrievalConfig.in.shape
/** `retrieval_config` as a request sends it: checked, and without defaults, which depend on the strategy. */
export const sentRetrieval = z.looseObject({
  ...otherSettings,
  method: method.unwrap().optional(),
  top_k: top_k.unwrap().optional(),
})

/**
 * `retrieval_config` as it is stored: what was sent, over what knowledge bases of this strategy have.
 * @throws AppError `invalid_request` for a method that the strategy does not have.
 */
export function retrievalFor(strategy: Strategy, sent: z.output<typeof sentRetrieval> | null | undefined) {
  const problem = sent?.method === undefined ? null : methodProblem(strategy, sent.method)
  if (problem !== null) throw new AppError('invalid_request', `retrieval_config.method: ${problem}`)
  return retrievalConfig.parse({ ...STRATEGY_RETRIEVAL[strategy], ...sent })
}

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

const SET_A_MODEL = 'Set OPENAI_API_KEY or OPENAI_BASE_URL and CHAT_MODEL for the functions and the worker.'
/** What a strategy that asks a language model does where none is set up. */
const WITHOUT_MODEL: Partial<Record<Strategy, string>> = {
  full_document: 'is indexed without summaries of documents',
  page_index: 'is indexed without summaries of sections, and searched by hybrid instead of tree_search',
  graph_index: 'cannot be indexed',
  doc2json: 'cannot be indexed',
}

/** What whoever sets these settings should know of this project: what it cannot do. */
export function modelWarnings(config: IndexingConfig, chat: Pick<ChatProvider, 'model'>): string[] {
  const asksNone = config.strategy === 'full_document' && summaryModelOf(config) === null
  const lack = asksNone || hasLanguageModel(chat) ? undefined : WITHOUT_MODEL[config.strategy]
  return lack
    ? [`This project has no language model: a knowledge base of ${config.strategy} ${lack}. ${SET_A_MODEL}`]
    : []
}

/** The strategy that a stored row names; of one that is not known, the default. */
export const strategyOfRow = ({ indexing_config: config }: Pick<KnowledgeBaseRow, 'indexing_config'>): Strategy =>
  STRATEGIES.find((known) => known === config['strategy']) ?? STRATEGIES[0]

const MODEL_IS_READ_ONLY = 'embedding_model was ignored: it is the model of the vectors that are stored.'

/** Warnings about what of a knowledge base's settings has no effect; `sent` is the body of the request. */
export function ignoredSettings(
  { indexing_config: indexing }: { indexing_config?: IndexingConfig | null | undefined },
  sent: Record<string, unknown>,
): string[] {
  return [
    ...(sent['embedding_model'] === undefined ? [] : [MODEL_IS_READ_ONLY]),
    ...(indexing ? idleIndexingKeys(indexing.strategy, Object(sent['indexing_config']) as typeof sent) : []),
    ...idleRetrievalKeys(Object(sent['retrieval_config']) as typeof sent),
  ]
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
