import { Hono } from 'hono'
import { z } from 'zod'
import { actsOn } from '../../_shared/context.ts'
import { AppError, missing, unwrap } from '../../_shared/errors.ts'
import { parseLenientBody, uuid, uuidParam, warningsField } from '../../_shared/http.ts'
import { isUuid } from '../../_shared/ids.ts'
import type { ApiEnv } from '../env.ts'
import { findKnowledgeBase } from '../knowledge-base.ts'
import { listRequest, pageFields, unwrapPage } from '../lists.ts'

const STATUSES = ['pending', 'indexing', 'indexed', 'failed', 'cancelled']

/** Body of `POST /api/knowledge-bases/{id}/sources`. */
export const addSourceRequest = z.object({ source_id: z.string('source_id is required').pipe(uuid) })

type ItemRow = {
  id: string
  source_id: string
  index_status: string
  indexed_at: string | null
  stats: Record<string, unknown>
  error_message: string | null
  error_code: string | null
  reason_code: string | null
  sources: { name: string; file_type: string; created_at: string }
}

type AddedRow = {
  id: string
  knowledge_base_id: string
  source_id: string
  source_name: string
  index_status: string
  celery_task_id: string | null
}

/** The sources of a knowledge base. */
export const knowledgeBaseSources = new Hono<ApiEnv>()
  .get('/:id/sources', actsOn('knowledge_base'), async (c) => {
    const knowledgeBase = await findKnowledgeBase(c.var.db, uuidParam(c, 'id', 'knowledge_base'))
    const list = listRequest(c, ['created_at', 'name'], 200)
    const status = c.req.query('status')
    if (status !== undefined && !STATUSES.includes(status)) {
      throw new AppError('invalid_request', `status must be one of ${STATUSES.join(', ')}`)
    }
    let query = c.var.db
      .schema('ai')
      .from('indexed_sources')
      .select(
        'id,source_id,index_status,indexed_at,stats,error_message,error_code,reason_code,sources!inner(name,file_type,created_at)',
        { count: 'exact' },
      )
      .eq('knowledge_base_id', knowledgeBase.id)
    if (status !== undefined) query = query.eq('index_status', status)
    if (list.pattern !== null) query = query.ilike('sources.name', list.pattern)
    const ordered =
      list.sort === 'name'
        ? query.order('sources(name)', { ascending: list.ascending })
        : query.order('created_at', { ascending: list.ascending })
    const answer = await ordered
      .order('id')
      .range(list.offset, list.offset + list.limit - 1)
      .returns<ItemRow[]>()
    const { rows, total } = unwrapPage<ItemRow>(answer)
    return c.json({
      items: rows.map(({ sources, ...item }) => ({
        ...item,
        source_name: sources.name,
        file_type: sources.file_type,
        source_created_at: sources.created_at,
      })),
      ...pageFields(list, total),
    })
  })
  .post('/:id/sources', actsOn('knowledge_base'), async (c) => {
    const knowledgeBaseId = uuidParam(c, 'id', 'knowledge_base')
    const { body, warnings } = await parseLenientBody(c, addSourceRequest)
    const added = unwrap<AddedRow>(
      await c.var.db.schema('ai').rpc('add_source_to_knowledge_base', {
        knowledge_base_id: knowledgeBaseId,
        source_id: body.source_id,
      }),
    )
    const { id, knowledge_base_id, source_id, source_name, index_status, celery_task_id } = added
    return c.json(
      {
        id,
        knowledge_base_id,
        source_id,
        source_name,
        index_status,
        task_id: celery_task_id,
        ...warningsField(warnings),
      },
      201,
    )
  })
  .post('/:id/sources/:indexed_source_id/cancel', actsOn('knowledge_base'), async (c) => {
    const knowledgeBase = await findKnowledgeBase(c.var.db, uuidParam(c, 'id', 'knowledge_base'))
    const id = c.req.param('indexed_source_id')
    if (!isUuid(id)) throw new AppError('invalid_request', 'indexed_source_id must be a UUID')
    const table = c.var.db.schema('ai').from('indexed_sources')
    const rows = unwrap(await table.select('id').eq('id', id).eq('knowledge_base_id', knowledgeBase.id))
    if (rows.length === 0) throw missing('indexed_source')
    unwrap(await c.var.db.schema('ai').rpc('cancel_indexing', { indexed_source_id: id }))
    return c.json({ message: 'Indexing cancelled' })
  })
  .delete('/:id/sources/:indexed_source_id', actsOn('knowledge_base'), async (c) => {
    const knowledgeBase = await findKnowledgeBase(c.var.db, uuidParam(c, 'id', 'knowledge_base'))
    const id = c.req.param('indexed_source_id')
    if (!isUuid(id)) throw new AppError('invalid_request', 'indexed_source_id must be a UUID')
    const table = () => c.var.db.schema('ai').from('indexed_sources')
    const deleted = unwrap(await table().delete().eq('id', id).eq('knowledge_base_id', knowledgeBase.id).select('id'))
    if (deleted.length === 0) {
      const left = unwrap(await table().select('id').eq('id', id).eq('knowledge_base_id', knowledgeBase.id))
      throw left.length > 0
        ? new AppError('forbidden', 'Only the owner of the source and admins can take it out.')
        : missing('indexed_source')
    }
    return c.json({
      message: 'Source removed from knowledge base',
      deleted_indexed_source_id: id,
      kb_id: knowledgeBase.id,
    })
  })
