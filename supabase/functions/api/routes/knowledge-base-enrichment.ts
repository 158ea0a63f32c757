import { Hono } from 'hono'
import type { Context } from 'hono'
import { z } from 'zod'
import { actsOn } from '../../_shared/context.ts'
import type { Db } from '../../_shared/context.ts'
import { DEFAULT_MAX_TOKENS, enrichmentFields, needsModel } from '../../_shared/enrichment/fields.ts'
import { AppError, unwrap } from '../../_shared/errors.ts'
import { parseLenientBody, parseQuery, uuid, uuidParam, warningsField } from '../../_shared/http.ts'
import { droppedInList } from '../../_shared/ignored-input.ts'
import { hasLanguageModel } from '../../_shared/providers/offline-answerer.ts'
import { readConfiguration, readResults } from '../enrichment.ts'
import type { ApiEnv } from '../env.ts'
import { findKnowledgeBase } from '../knowledge-base.ts'
import { parseOptionalBody } from '../optional-body.ts'

/** Body of `PUT /api/knowledge-bases/{id}/enrichment`. */
export const enrichmentRequest = z.object({
  fields: enrichmentFields,
  llm_model: z
    .string()
    .trim()
    .regex(/^[\x21-\x7e]{1,200}$/, 'llm_model must be the name of a model')
    .nullish(),
  max_tokens: z.number().int().min(1).max(100_000).nullish(),
  use_multimodal: z
    .boolean()
    .nullish()
    .describe(
      'Shows the model images of the first pages beside the text, 8 and 8 MiB at most, of sources whose pages were drawn (PAGE_IMAGES). item_notes says where it read the text alone.',
    ),
})
/** Body of `POST /api/knowledge-bases/{id}/enrichment/run`. */
export const enrichmentRunRequest = z.object({
  incremental: z.boolean().default(false),
  retry_failed: z.boolean().default(false),
})
/** Most ids that one request for results may name. */
const MAX_IDS = 1000
const resultsQuery = z.object({ item_ids: z.string().optional() })
const itemIds = z.array(uuid, 'item_ids must be ids').max(MAX_IDS, `item_ids may name at most ${MAX_IDS} items`)

const FIELD_KEYS = ['name', 'description', 'type', 'enum_values']

const visible = (c: Context<ApiEnv>) => findKnowledgeBase(c.var.db, uuidParam(c, 'id', 'knowledge_base'))

/** @throws AppError `not_found`. */
async function findConfiguration(db: Db, knowledgeBaseId: string) {
  const config = await readConfiguration(db, knowledgeBaseId)
  if (config === null) throw new AppError('not_found', 'This knowledge base has no enrichment.')
  return config
}

/** Enrichment: a model fills in the same form about every source of a knowledge base. */
export const knowledgeBaseEnrichment = new Hono<ApiEnv>()
  .get('/:id/enrichment', actsOn('knowledge_base'), async (c) => {
    const { id } = await visible(c)
    return c.json({ config: await readConfiguration(c.var.db, id) })
  })
  .put('/:id/enrichment', actsOn('knowledge_base'), async (c) => {
    const id = uuidParam(c, 'id', 'knowledge_base')
    const { body, warnings } = await parseLenientBody(c, enrichmentRequest, (_, sent) =>
      droppedInList('fields', sent['fields'], FIELD_KEYS),
    )
    const hasModel = hasLanguageModel(c.var.deps.chat)
    if (!hasModel) warnings.push(`${needsModel().message} No run was started.`)
    const { re_enrichment_triggered, job_id } = unwrap<{ re_enrichment_triggered: boolean; job_id: string | null }>(
      await c.var.db.schema('ai').rpc('set_enrichment', {
        knowledge_base_id: id,
        fields: body.fields,
        llm_model: body.llm_model || null,
        max_tokens: body.max_tokens ?? DEFAULT_MAX_TOKENS,
        use_multimodal: body.use_multimodal ?? false,
        start_run: hasModel,
      }),
    )
    const config = await findConfiguration(c.var.db, id)
    const task = job_id === null ? {} : { task_id: job_id }
    return c.json({ config: { ...config, ...task }, re_enrichment_triggered, ...warningsField(warnings) }, 201)
  })
  .delete('/:id/enrichment', actsOn('knowledge_base'), async (c) => {
    const id = uuidParam(c, 'id', 'knowledge_base')
    unwrap(await c.var.db.schema('ai').rpc('delete_enrichment', { knowledge_base_id: id }))
    return c.json({ message: 'Enrichment config and results deleted' })
  })
  .post('/:id/enrichment/run', actsOn('knowledge_base'), async (c) => {
    const { id } = await visible(c)
    const { body, warnings } = await parseOptionalBody(c, enrichmentRunRequest)
    await findConfiguration(c.var.db, id)
    if (!hasLanguageModel(c.var.deps.chat)) throw needsModel()
    const taskId = unwrap<string | null>(
      await c.var.db.schema('ai').rpc('run_enrichment', { knowledge_base_id: id, ...body }),
    )
    return c.json({
      status: 'started',
      message: 'Enrichment started',
      task_id: taskId,
      ...body,
      ...warningsField(warnings),
    })
  })
  .get('/:id/enrichment/results', actsOn('knowledge_base'), async (c) => {
    const { id } = await visible(c)
    const { item_ids: named = '' } = parseQuery(c, resultsQuery)
    const asked = named
      .split(',')
      .map((text) => text.trim())
      .filter((text) => text !== '')
    const ids = itemIds.safeParse([...new Set(asked)])
    if (!ids.success) throw new AppError('invalid_request', ids.error.issues[0]?.message ?? 'item_ids must be ids')
    const config = await findConfiguration(c.var.db, id)
    return c.json({ ...(await readResults(c.var.db, config, ids.data)), fields: config.fields, status: config.status })
  })
