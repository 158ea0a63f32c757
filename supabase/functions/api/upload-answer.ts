import type { Context } from 'hono'
import { AppError } from '../_shared/errors.ts'
import type { SourceRow } from '../_shared/sources.ts'

/** A new source as the upload routes show it. */
export function presentUpload(source: SourceRow) {
  const { id, name, file_type, storage_path, extraction_status, celery_task_id } = source
  return { id, name, file_type, storage_path, extraction_status, task_id: celery_task_id }
}

/**
 * Answers 201 with what `upload` gives, or the 409 for bytes that are there already. That is the one answer whose `error`
 * is a code: clients of the agent API compare it.
 */
export async function uploadAnswer(c: Context, upload: () => Promise<object>): Promise<Response> {
  try {
    return c.json(await upload(), 201)
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'duplicate_source') throw error
    const { duplicate } = error.extra
    const requestId: string = c.get('requestId')
    return c.json(
      { error: 'duplicate_source', message: error.message, duplicate, code: error.code, request_id: requestId },
      409,
    )
  }
}
