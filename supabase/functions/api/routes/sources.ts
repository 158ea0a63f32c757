import { Hono } from 'hono'
import { z } from 'zod'
import { actsOn } from '../../_shared/context.ts'
import { AppError } from '../../_shared/errors.ts'
import { jsonObject, parse, parseLenientBody, refuseIfStrict, uuidParam, warningsField } from '../../_shared/http.ts'
import { attachment } from '../../_shared/object-store.ts'
import { PRIORITIES } from '../../_shared/priorities.ts'
import {
  SOURCE_COLUMNS,
  cancelExtraction,
  deleteSource,
  getSource,
  openSource,
  reextractSource,
  updateSource,
  uploadSource,
} from '../../_shared/sources.ts'
import type { SourceRow } from '../../_shared/sources.ts'
import { parseMetadata, readUploadForm } from '../../_shared/upload-form.ts'
import type { ApiEnv } from '../env.ts'
import { checkExtractionModel } from '../extraction-model.ts'
import { listRequest, pageFields, unwrapPage } from '../lists.ts'
import { parseOptionalBody } from '../optional-body.ts'
import { presentUpload, uploadAnswer } from '../upload-answer.ts'

const STATUSES = ['pending', 'extracting', 'extracted', 'attention_required', 'failed', 'cancelled']
const FORM_FIELDS = ['name', 'metadata', 'extraction_model', 'priority']

const formFields = z.object({ priority: z.enum(PRIORITIES).optional() })

/** Body of `PATCH /api/sources/{id}`. */
export const sourcePatch = z.object({
  name: z.string().trim().min(1).max(1000).optional(),
  metadata: jsonObject.optional(),
})

/** Body of `POST /api/sources/{id}/reextract`. */
export const reextractRequest = z.object({ extraction_model: z.string().max(100).optional() })

const ignored = (field: string) => `The field ${JSON.stringify(field.slice(0, 60))} is not known here and was ignored.`

/** Sources, in the shapes of the agent API. */
export const sources = new Hono<ApiEnv>()
  .get('/', actsOn(), async (c) => {
    const list = listRequest(c, ['created_at', 'name'], 100)
    const status = c.req.query('status')
    if (status !== undefined && !STATUSES.includes(status)) {
      throw new AppError('invalid_request', `status must be one of ${STATUSES.join(', ')}`)
    }
    let query = c.var.db.schema('ai').from('sources').select(SOURCE_COLUMNS, { count: 'exact' })
    if (list.pattern !== null) query = query.ilike('name', list.pattern)
    if (status !== undefined) query = query.eq('extraction_status', status)
    const answer = await query
      .order(list.sort, { ascending: list.ascending })
      .order('id')
      .range(list.offset, list.offset + list.limit - 1)
      .returns<SourceRow[]>()
    const { rows, total } = unwrapPage<SourceRow>(answer)
    return c.json({ sources: rows, ...pageFields(list, total) })
  })
  .post('/upload', actsOn(), async (c) => {
    const form = await readUploadForm(c.req.raw)
    const warnings = [
      ...form.otherFields(FORM_FIELDS).slice(0, 20).map(ignored),
      ...checkExtractionModel(form.text('extraction_model')),
    ]
    refuseIfStrict(c, warnings)
    const { priority } = parse(formFields, { priority: form.text('priority') })
    return uploadAnswer(c, async () => {
      const source = await uploadSource(c.var, form.bytes, {
        fileName: form.fileName,
        name: form.name,
        metadata: parseMetadata(form.text('metadata')),
        priority,
      })
      return { ...presentUpload(source), ...warningsField(warnings) }
    })
  })
  .get('/:id', actsOn('source'), async (c) => {
    return c.json(await getSource(c.var.db, uuidParam(c, 'id', 'source')))
  })
  .patch('/:id', actsOn('source'), async (c) => {
    const id = uuidParam(c, 'id', 'source')
    const { body, warnings } = await parseLenientBody(c, sourcePatch)
    if (body.name === undefined && body.metadata === undefined) {
      throw new AppError('invalid_request', warnings.length > 0 ? 'No valid fields to update' : 'No data provided')
    }
    return c.json({ ...(await updateSource(c.var.db, id, body)), ...warningsField(warnings) })
  })
  .delete('/:id', actsOn('source'), async (c) => {
    await deleteSource(c.var.db, uuidParam(c, 'id', 'source'))
    return c.json({ message: 'Source deleted' })
  })
  .post('/:id/reextract', actsOn('source'), async (c) => {
    const id = uuidParam(c, 'id', 'source')
    const { warnings } = await parseOptionalBody(c, reextractRequest, (body) =>
      checkExtractionModel(body.extraction_model),
    )
    const source = await reextractSource(c.var.db, id)
    return c.json({ message: 'Extraction started', task_id: source.celery_task_id, ...warningsField(warnings) })
  })
  .post('/:id/cancel', actsOn('source'), async (c) => {
    await cancelExtraction(c.var.db, uuidParam(c, 'id', 'source'))
    return c.json({ message: 'Extraction cancelled' })
  })
  .get('/:id/download', actsOn('source'), async (c) => {
    const { source, body, sizeBytes } = await openSource(c.var, uuidParam(c, 'id', 'source'))
    return c.body(body, 200, {
      'content-type': source.mime_type,
      'content-disposition': attachment(source.name),
      'cache-control': 'no-store',
      ...(sizeBytes === null ? {} : { 'content-length': String(sizeBytes) }),
    })
  })
