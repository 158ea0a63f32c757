import { Hono } from 'hono'
import { z } from 'zod'
import { actsOn } from '../../_shared/context.ts'
import type { Db } from '../../_shared/context.ts'
import { missing, unwrap } from '../../_shared/errors.ts'
import { pageOf, parseLenientBody, uuid, uuidParam, warningsField } from '../../_shared/http.ts'
import { MAX_IDS } from '../../_shared/search/options.ts'
import { STRATEGIES } from '../../_shared/strategies.ts'
import type { ApiEnv } from '../env.ts'
import { findKnowledgeBase } from '../knowledge-base.ts'
import { listRequest, pageFields, unwrapPage } from '../lists.ts'

/** Items one answer holds at most. */
const MAX_ITEMS = 10_000
/** Rows the Data API gives at once. */
const ROWS_PER_REQUEST = 1000
const CHUNK_COLUMNS = 'id,indexed_source_id,source_id,text,chunk_index,start_char,end_char,tokens,meta,created_at'

/** Body of `POST /api/knowledge-bases/{id}/items`. */
export const itemsRequest = z.object({
  source_ids: z.array(uuid, 'source_ids is required').min(1, 'source_ids is required').max(MAX_IDS),
  limit: z.number().int().min(1).max(MAX_ITEMS).default(1000),
  offset: z.number().int().min(0).max(1_000_000).default(0),
})

type ChunkRow = { id: string; source_id: string; text: string; meta: Record<string, unknown> }

/** An item; a record under the name, too, that clients of the agent API read it by. */
const presentItem = (row: ChunkRow) =>
  row.meta['record'] === undefined ? row : { ...row, extracted_json: row.meta['record'] }

/** Chunks the caller can see, in the order they stand in their sources. */
async function readChunks(
  db: Db,
  where: { column: 'indexed_source_id' | 'source_id'; ids: readonly string[]; knowledgeBaseId: string },
  page: { limit: number; offset: number },
): Promise<{ rows: ChunkRow[]; total: number }> {
  const rows: ChunkRow[] = []
  let total = 0
  for (let left = page.limit; left > 0; left -= ROWS_PER_REQUEST) {
    const from = page.offset + rows.length
    const size = Math.min(left, ROWS_PER_REQUEST)
    const { data, count, error } = await db
      .schema('ai')
      .from('chunks')
      .select(CHUNK_COLUMNS, { count: 'exact' })
      .eq('knowledge_base_id', where.knowledgeBaseId)
      .in(where.column, where.ids)
      .order('source_id')
      .order('chunk_index')
      .order('id')
      .range(from, from + size - 1)
      .returns<ChunkRow[]>()
    const found = unwrap<ChunkRow[]>({ data, error })
    rows.push(...found)
    total = count ?? 0
    if (found.length < size) break
  }
  return { rows, total }
}

/** What a knowledge base holds, and what it could hold. */
export const knowledgeBaseItems = new Hono<ApiEnv>()
  .post('/:id/items', actsOn('knowledge_base'), async (c) => {
    const { db } = c.var
    const knowledgeBase = await findKnowledgeBase(db, uuidParam(c, 'id', 'knowledge_base'))
    const { body, warnings } = await parseLenientBody(c, itemsRequest)
    const ids = [...new Set(body.source_ids)]
    const found = await readChunks(db, { column: 'source_id', ids, knowledgeBaseId: knowledgeBase.id }, body)
    const { strategy = STRATEGIES[0] } = knowledgeBase.indexing_config
    const items = found.rows.map(presentItem)
    return c.json({ items, total: found.total, strategy, source_ids: ids, ...warningsField(warnings) })
  })
  .get('/:id/indexed-sources/:indexed_source_id/chunks', actsOn('knowledge_base'), async (c) => {
    const { db } = c.var
    const knowledgeBase = await findKnowledgeBase(db, uuidParam(c, 'id', 'knowledge_base'))
    const id = uuidParam(c, 'indexed_source_id', 'indexed_source')
    const known = unwrap<unknown[]>(
      await db.schema('ai').from('indexed_sources').select('id').eq('id', id).eq('knowledge_base_id', knowledgeBase.id),
    )
    if (known.length === 0) throw missing('indexed_source')
    const page = pageOf(c, 50, 200)
    const where = { column: 'indexed_source_id' as const, ids: [id], knowledgeBaseId: knowledgeBase.id }
    const found = await readChunks(db, where, page)
    return c.json({ chunks: found.rows, total: found.total, ...page })
  })
  .get('/:id/available-sources', actsOn('knowledge_base'), async (c) => {
    const { db } = c.var
    const knowledgeBase = await findKnowledgeBase(db, uuidParam(c, 'id', 'knowledge_base'))
    const list = listRequest(c, ['created_at', 'name'], 200)
    // Extracted sources of its tenant that have no row in this knowledge base.
    let query = db
      .schema('ai')
      .from('sources')
      .select('id,name,file_type,extraction_status,created_at,indexed_sources()', { count: 'exact' })
      .eq('tenant_id', knowledgeBase.tenant_id)
      .eq('extraction_status', 'extracted')
      .eq('indexed_sources.knowledge_base_id', knowledgeBase.id)
      .is('indexed_sources', null)
    if (list.pattern !== null) query = query.ilike('name', list.pattern)
    const answer = await query
      .order(list.sort, { ascending: list.ascending })
      .order('id')
      .range(list.offset, list.offset + list.limit - 1)
    const { rows, total } = unwrapPage<object>(answer)
    return c.json({ sources: rows, ...pageFields(list, total) })
  })
