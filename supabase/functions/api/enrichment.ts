import { readByIds } from '../_shared/batches.ts'
import type { Db } from '../_shared/context.ts'
import type { EnrichmentField } from '../_shared/enrichment/fields.ts'
import { unwrap } from '../_shared/errors.ts'

/** How far an enrichment is, of the sources that the caller can see. */
export type EnrichmentState = {
  knowledge_base_id: string
  status: 'idle' | 'enriching' | 'completed' | 'completed_with_errors' | 'failed'
  enriched_count: number
  failed_count: number
  total_count: number
}

const COLUMNS =
  'id,knowledge_base_id,fields,llm_model,max_tokens,use_multimodal,error_code,reason_code,error_message,started_at,finished_at,celery_task_id,created_at,updated_at'

type EnrichmentRow = {
  id: string
  knowledge_base_id: string
  fields: EnrichmentField[]
  llm_model: string | null
  max_tokens: number
  use_multimodal: boolean
  error_code: string | null
  reason_code: string | null
  error_message: string | null
  started_at: string | null
  finished_at: string | null
  celery_task_id: string | null
  created_at: string
  updated_at: string
}

/** The configuration of an enrichment with the state of its last run, as the agent API shows it. */
export type EnrichmentConfiguration = EnrichmentRow &
  Omit<EnrichmentState, 'knowledge_base_id'> & {
    /** Results are rows of ai.enrichment_results; there is no table per knowledge base. */
    metadata_table_name: null
  }

/** The state of the enrichments of these knowledge bases, by their ids; none for one without. */
export async function readEnrichmentStates(
  db: Db,
  knowledgeBaseIds: readonly string[],
): Promise<Map<string, EnrichmentState>> {
  if (knowledgeBaseIds.length === 0) return new Map()
  const rows = unwrap<EnrichmentState[]>(
    await db.schema('ai').rpc('enrichment_state', { knowledge_base_ids: knowledgeBaseIds }),
  )
  return new Map(rows.map((row) => [row.knowledge_base_id, row]))
}

/** What lists of knowledge bases say of an enrichment. */
export const listedState = (state: EnrichmentState | undefined) => ({
  enrichment_status: state?.status ?? ('idle' as const),
  enrichment_progress:
    state === undefined ? null : { enriched_count: state.enriched_count, total_count: state.total_count },
})

/** The enrichment of a knowledge base that the caller can see; null: there is none. */
export async function readConfiguration(db: Db, knowledgeBaseId: string): Promise<EnrichmentConfiguration | null> {
  const [{ data, error }, states] = await Promise.all([
    db
      .schema('ai')
      .from('enrichments')
      .select(COLUMNS)
      .eq('knowledge_base_id', knowledgeBaseId)
      .maybeSingle<EnrichmentRow>(),
    readEnrichmentStates(db, [knowledgeBaseId]),
  ])
  const row = unwrap<EnrichmentRow | null>({ data, error })
  const state = states.get(knowledgeBaseId)
  if (row === null || state === undefined) return null
  return { ...row, ...state, metadata_table_name: null }
}

type ResultRow = {
  indexed_source_id: string
  field_values: Record<string, unknown> | null
  error_message: string | null
  note: string | null
}

/** What was answered about items, by the id each was asked for. */
export type EnrichmentResults = {
  results: Record<string, Record<string, unknown>>
  item_errors: Record<string, string>
  item_notes: Record<string, string>
}

/** Results given where none was named. */
const MAX_RESULTS = 1000

/** Which indexed source each of these ids stands for: one itself, the source in it, or a chunk of it. */
async function indexedSourcesOf(db: Db, knowledgeBaseId: string, ids: string[]): Promise<Map<string, string>> {
  const indexed = (column: 'id' | 'source_id') =>
    readByIds(ids, async (batch) =>
      unwrap(
        await db
          .schema('ai')
          .from('indexed_sources')
          .select('id,source_id')
          .eq('knowledge_base_id', knowledgeBaseId)
          .in(column, batch)
          .returns<{ id: string; source_id: string }[]>(),
      ),
    )
  const found = new Map<string, string>()
  for (const row of await indexed('id')) found.set(row.id, row.id)
  for (const row of await indexed('source_id')) found.set(row.source_id, row.id)
  const rest = ids.filter((id) => !found.has(id))
  const chunks = await readByIds(rest, async (batch) =>
    unwrap(
      await db
        .schema('ai')
        .from('chunks')
        .select('id,indexed_source_id')
        .eq('knowledge_base_id', knowledgeBaseId)
        .in('id', batch)
        .returns<{ id: string; indexed_source_id: string }[]>(),
    ),
  )
  for (const row of chunks) found.set(row.id, row.indexed_source_id)
  return found
}

/**
 * Results of an enrichment that the caller can see.
 * @param ids of indexed sources, sources or chunks, the latter standing for their source; none: all, by indexed source, 1,000
 * at most. What an id does not name, or names for somebody else, is left out.
 */
export async function readResults(
  db: Db,
  { id, knowledge_base_id: knowledgeBaseId }: Pick<EnrichmentConfiguration, 'id' | 'knowledge_base_id'>,
  ids: string[],
): Promise<EnrichmentResults> {
  const select = () =>
    db
      .schema('ai')
      .from('enrichment_results')
      .select('indexed_source_id,field_values,error_message,note')
      .eq('enrichment_id', id)
  const named = await indexedSourcesOf(db, knowledgeBaseId, ids)
  const rows =
    ids.length === 0
      ? unwrap(await select().order('indexed_source_id').limit(MAX_RESULTS).returns<ResultRow[]>())
      : await readByIds([...new Set(named.values())], async (batch) =>
          unwrap(await select().in('indexed_source_id', batch).returns<ResultRow[]>()),
        )
  const byItem = new Map(rows.map((row) => [row.indexed_source_id, row]))
  const keys = ids.length === 0 ? rows.map((row) => [row.indexed_source_id, row.indexed_source_id] as const) : named
  const found: EnrichmentResults = { results: {}, item_errors: {}, item_notes: {} }
  for (const [key, item] of keys) {
    const row = byItem.get(item)
    if (row === undefined) continue
    if (row.field_values !== null) found.results[key] = row.field_values
    if (row.error_message !== null) found.item_errors[key] = row.error_message
    if (row.note !== null) found.item_notes[key] = row.note
  }
  return found
}
