import { Hono } from 'hono'
import { z } from 'zod'
import { actsOn } from '../../_shared/context.ts'
import type { Db } from '../../_shared/context.ts'
import { AppError, unwrap } from '../../_shared/errors.ts'
import { parse, parseQuery, uuid, uuidParam } from '../../_shared/http.ts'
import { behindCursor, decodeCursor, encodeCursor } from '../../_shared/ids.ts'
import { PRIORITIES } from '../../_shared/priorities.ts'
import {
  SOURCE_COLUMNS,
  completeUpload,
  defaultKnowledgeBaseIds,
  deleteSource,
  downloadUrl,
  getSource,
  retrySource,
  uploadSource,
} from '../../_shared/sources.ts'
import type { SourceRow } from '../../_shared/sources.ts'
import { parseMetadata, readUploadForm } from '../../_shared/upload-form.ts'
import type { SourcesEnv } from '../env.ts'

const FORM_FIELDS = ['name', 'visibility', 'metadata', 'knowledge_base_id', 'knowledge_base_ids', 'priority']

const formFields = z.object({
  visibility: z.enum(['tenant', 'private', 'granted']).optional(),
  knowledge_base_ids: z.array(uuid).max(20),
  priority: z.enum(PRIORITIES).optional(),
})

const listQuery = z.object({
  limit: z.coerce.number().int().min(1).max(100).default(50),
  cursor: z.string().optional(),
  status: z.enum(['pending', 'extracting', 'extracted', 'attention_required', 'failed', 'cancelled']).optional(),
})

/** How far the indexing of a source is in one knowledge base. */
type IndexingRow = {
  id: string
  knowledge_base_id: string
  index_status: string
  indexed_at: string | null
  error_code: string | null
  reason_code: string | null
  error_message: string | null
  attempts: number
  next_retry_at: string | null
}

async function indexingOf(db: Db, sourceId: string): Promise<IndexingRow[]> {
  return unwrap<IndexingRow[]>(
    await db
      .schema('ai')
      .from('indexed_sources')
      .select(
        'id,knowledge_base_id,index_status,indexed_at,error_code,reason_code,error_message,attempts,next_retry_at',
      )
      .eq('source_id', sourceId)
      .order('created_at'),
  )
}

/** Sources: what people upload, and what became of it. */
export const sources = new Hono<SourcesEnv>()
  .post('/', actsOn(), async (c) => {
    const form = await readUploadForm(c.req.raw)
    const unknown = form.otherFields(FORM_FIELDS)
    if (unknown.length > 0) throw new AppError('invalid_request', `Unknown form field: ${unknown[0]?.slice(0, 60)}`)
    const fields = parse(formFields, {
      visibility: form.text('visibility'),
      knowledge_base_ids: [...form.texts('knowledge_base_id'), ...form.texts('knowledge_base_ids')],
      priority: form.text('priority'),
    })
    const named = fields.knowledge_base_ids.length > 0 ? fields.knowledge_base_ids : null
    const source = await uploadSource(c.var, form.bytes, {
      fileName: form.fileName,
      name: form.name,
      visibility: fields.visibility,
      metadata: parseMetadata(form.text('metadata')),
      priority: fields.priority,
      knowledgeBaseIds: named ?? (await defaultKnowledgeBaseIds(c.var.db)),
    })
    return c.json(source, 201)
  })
  .get('/', actsOn(), async (c) => {
    const { limit, cursor, status } = parseQuery(c, listQuery)
    let query = c.var.db.schema('ai').from('sources').select(SOURCE_COLUMNS)
    if (status !== undefined) query = query.eq('extraction_status', status)
    if (cursor !== undefined) {
      const position = decodeCursor(cursor)
      if (position === null) throw new AppError('invalid_request', 'The cursor is not one of this list.')
      query = query.or(behindCursor(position, 'created_at', true))
    }
    const rows = unwrap(
      await query
        .order('created_at', { ascending: false })
        .order('id', { ascending: false })
        .limit(limit + 1)
        .returns<SourceRow[]>(),
    )
    const page = rows.slice(0, limit)
    const last = rows.length > limit ? page.at(-1) : undefined
    return c.json({ sources: page, next_cursor: last ? encodeCursor({ at: last.created_at, id: last.id }) : null })
  })
  .get('/:id', actsOn('source'), async (c) => {
    const id = uuidParam(c, 'id', 'source')
    const [source, indexing] = await Promise.all([getSource(c.var.db, id), indexingOf(c.var.db, id)])
    return c.json({ ...source, indexing })
  })
  .post('/:id/complete', actsOn('source'), async (c) => {
    return c.json(await completeUpload(c.var, uuidParam(c, 'id', 'source')))
  })
  .post('/:id/retry', actsOn('source'), async (c) => {
    return c.json(await retrySource(c.var.db, uuidParam(c, 'id', 'source')))
  })
  .get('/:id/download', actsOn('source'), async (c) => {
    c.header('cache-control', 'no-store')
    return c.json(await downloadUrl(c.var, uuidParam(c, 'id', 'source')))
  })
  .delete('/:id', actsOn('source'), async (c) => {
    await deleteSource(c.var.db, uuidParam(c, 'id', 'source'))
    return c.body(null, 204)
  })
