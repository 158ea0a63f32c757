import { Hono } from 'hono'
import { z } from 'zod'
import { actsOn } from '../../_shared/context.ts'
import type { Db } from '../../_shared/context.ts'
import { AppError, unwrap } from '../../_shared/errors.ts'
import { parseLenientBody, uuidParam, warningsField } from '../../_shared/http.ts'
import { indexingConfig } from '../../_shared/strategies.ts'
import { listedState, readEnrichmentStates } from '../enrichment.ts'
import type { EnrichmentState } from '../enrichment.ts'
import type { ApiEnv } from '../env.ts'
import {
  KNOWLEDGE_BASE_COLUMNS,
  findKnowledgeBase,
  ignoredSettings,
  language,
  modelWarnings,
  refuseKnowledgeBaseChange,
  requestedLanguage,
  retrievalFor,
  sentRetrieval,
  strategyOfRow,
} from '../knowledge-base.ts'
import type { KnowledgeBaseRow } from '../knowledge-base.ts'
import { listRequest, pageFields, unwrapPage } from '../lists.ts'

const name = z
  .string('Name is required')
  .trim()
  .min(1, 'Name is required')
  .max(200, 'Name may have at most 200 characters')
const description = z.string().max(10_000).nullish()

/** Body of `POST /api/knowledge-bases`. */
export const knowledgeBaseRequest = z.object({
  name,
  description,
  language: language.optional(),
  embedding_model: z.unknown().optional(),
  indexing_config: indexingConfig.nullish(),
  retrieval_config: sentRetrieval.nullish(),
})
/** Body of `PATCH /api/knowledge-bases/{id}`; configurations are replaced whole. */
export const knowledgeBasePatch = z.object({
  name: name.optional(),
  description,
  language: language.optional(),
  embedding_model: z.unknown().optional(),
  indexing_config: indexingConfig.optional(),
  retrieval_config: sentRetrieval.optional(),
})

const INDEX_STATUSES = ['pending', 'indexing', 'indexed', 'failed', 'cancelled'] as const
type SourceCounts = Record<(typeof INDEX_STATUSES)[number] | 'total', number>
type IndexedRow = {
  id: string
  knowledge_base_id: string
  source_id: string
  index_status: (typeof INDEX_STATUSES)[number]
}

/** Sources that were indexed with other settings than the knowledge base has now; of many, the ids of the first. */
type Drift = { count: number; indexed_source_ids: string[] }

/** All indexed sources of the given knowledge bases that the caller can see; the Data API gives 1,000 at once. */
async function indexedSourcesOf(db: Db, knowledgeBaseIds: string[]): Promise<IndexedRow[]> {
  const rows: IndexedRow[] = []
  for (let from = 0; ; from += 1000) {
    const page = unwrap(
      await db
        .schema('ai')
        .from('indexed_sources')
        .select('id,knowledge_base_id,source_id,index_status')
        .in('knowledge_base_id', knowledgeBaseIds)
        .order('created_at')
        .order('id')
        .range(from, from + 999)
        .returns<IndexedRow[]>(),
    )
    rows.push(...page)
    if (page.length < 1000) return rows
  }
}

function countByStatus(rows: readonly IndexedRow[]): SourceCounts {
  const counts: SourceCounts = { pending: 0, indexing: 0, indexed: 0, failed: 0, cancelled: 0, total: rows.length }
  for (const row of rows) counts[row.index_status]++
  return counts
}

/** Adds what the agent API shows of a knowledge base's content. */
function present(
  row: KnowledgeBaseRow,
  chunkCount: number,
  indexed: readonly IndexedRow[],
  enrichment: EnrichmentState | undefined,
) {
  const { tenant_id: _tenantId, ...shown } = row
  return {
    ...shown,
    source_counts: countByStatus(indexed),
    chunk_count: chunkCount,
    ...listedState(enrichment),
  }
}

async function presentOne(db: Db, row: KnowledgeBaseRow) {
  const [indexed, { count, error }, enrichments, drift] = await Promise.all([
    indexedSourcesOf(db, [row.id]),
    db.schema('ai').from('chunks').select('id', { count: 'exact', head: true }).eq('knowledge_base_id', row.id),
    readEnrichmentStates(db, [row.id]),
    db.schema('ai').rpc('drifted_sources', { knowledge_base_id: row.id }),
  ])
  const drifted = unwrap<Drift>(drift)
  if (error) unwrap({ data: null, error })
  return {
    ...present(row, count ?? 0, indexed, enrichments.get(row.id)),
    drift: drifted.count === 0 ? null : drifted,
    indexed_sources: indexed.map(({ id, source_id, index_status }) => ({ id, source_id, index_status })),
  }
}

/** `retrieval_config` as a change stores it: its defaults are those of the strategy that the knowledge base has afterwards. */
async function retrievalPatch(
  db: Db,
  id: string,
  { indexing_config: indexing, retrieval_config: sent }: z.output<typeof knowledgeBasePatch>,
) {
  if (sent === undefined) return undefined
  return retrievalFor(indexing?.strategy ?? strategyOfRow(await findKnowledgeBase(db, id)), sent)
}

/** Knowledge bases: searchable sets of sources. */
export const knowledgeBases = new Hono<ApiEnv>()
  .get('/', actsOn(), async (c) => {
    const list = listRequest(c, ['created_at', 'name', 'updated_at'], 100)
    let query = c.var.db
      .schema('ai')
      .from('knowledge_bases')
      .select(`${KNOWLEDGE_BASE_COLUMNS},chunks(count)`, { count: 'exact' })
    if (list.pattern !== null) query = query.ilike('name', list.pattern)
    const answer = await query
      .order(list.sort, { ascending: list.ascending })
      .order('id')
      .range(list.offset, list.offset + list.limit - 1)
      .returns<(KnowledgeBaseRow & { chunks: { count: number }[] })[]>()
    const { rows, total } = unwrapPage<KnowledgeBaseRow & { chunks: { count: number }[] }>(answer)
    const ids = rows.map((row) => row.id)
    const [indexed, enrichments] = await Promise.all([
      ids.length === 0 ? [] : indexedSourcesOf(c.var.db, ids),
      readEnrichmentStates(c.var.db, ids),
    ])
    return c.json({
      knowledge_bases: rows.map(({ chunks, ...row }) =>
        present(
          row,
          chunks[0]?.count ?? 0,
          indexed.filter((entry) => entry.knowledge_base_id === row.id),
          enrichments.get(row.id),
        ),
      ),
      ...pageFields(list, total),
    })
  })
  .post('/', actsOn(), async (c) => {
    const { body, warnings } = await parseLenientBody(c, knowledgeBaseRequest, ignoredSettings)
    const indexing = body.indexing_config ?? indexingConfig.parse({})
    warnings.push(...modelWarnings(indexing, c.var.deps.chat))
    const setLanguage = requestedLanguage(body)
    const row = unwrap<KnowledgeBaseRow>(
      await c.var.db
        .schema('ai')
        .from('knowledge_bases')
        .insert({
          name: body.name,
          description: body.description ?? null,
          ...(setLanguage === undefined ? {} : { language: setLanguage }),
          indexing_config: indexing,
          retrieval_config: retrievalFor(indexing.strategy, body.retrieval_config),
        })
        .select(KNOWLEDGE_BASE_COLUMNS)
        .single<KnowledgeBaseRow>(),
    )
    const { id, name: stored, description: text, indexing_config, retrieval_config } = row
    return c.json(
      { id, name: stored, description: text, indexing_config, retrieval_config, ...warningsField(warnings) },
      201,
    )
  })
  .get('/:id', actsOn('knowledge_base'), async (c) => {
    const row = await findKnowledgeBase(c.var.db, uuidParam(c, 'id', 'knowledge_base'))
    return c.json(await presentOne(c.var.db, row))
  })
  .patch('/:id', actsOn('knowledge_base'), async (c) => {
    const id = uuidParam(c, 'id', 'knowledge_base')
    const { body, warnings } = await parseLenientBody(c, knowledgeBasePatch, ignoredSettings)
    const { embedding_model: _model, ...sent } = { ...body, language: requestedLanguage(body) }
    if (body.indexing_config) warnings.push(...modelWarnings(body.indexing_config, c.var.deps.chat))
    const fields = { ...sent, retrieval_config: await retrievalPatch(c.var.db, id, body) }
    const changes = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
    if (Object.keys(changes).length === 0) {
      throw new AppError('invalid_request', warnings.length > 0 ? 'No valid fields to update' : 'No data provided')
    }
    const [row] = unwrap(
      await c.var.db
        .schema('ai')
        .from('knowledge_bases')
        .update(changes)
        .eq('id', id)
        .select(KNOWLEDGE_BASE_COLUMNS)
        .returns<KnowledgeBaseRow[]>(),
    )
    if (!row) return refuseKnowledgeBaseChange(c.var.db, id, 'change')
    return c.json({ ...(await presentOne(c.var.db, row)), ...warningsField(warnings) })
  })
  .delete('/:id', actsOn('knowledge_base'), async (c) => {
    const id = uuidParam(c, 'id', 'knowledge_base')
    const deleted = unwrap(await c.var.db.schema('ai').from('knowledge_bases').delete().eq('id', id).select('id'))
    if (deleted.length === 0) return refuseKnowledgeBaseChange(c.var.db, id, 'delete')
    return c.json({ message: 'Knowledge base deleted' })
  })
