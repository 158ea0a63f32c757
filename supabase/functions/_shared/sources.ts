import type { Db, Deps } from './context.ts'
import { MAX_FILE_BYTES } from './body.ts'
import type { Bytes } from './body.ts'
import { createHash } from 'node:crypto'
import { AppError, describeError, missing, unwrap } from './errors.ts'
import { SIGNATURE_BYTES, cleanFileName, fileTypeOf, refuseForeignContent } from './file-types.ts'
import { ObjectMissingError } from './object-store.ts'
import type { ObjectStore, PresignedRequest } from './object-store.ts'
import type { Priority } from './priorities.ts'

/** Sources as the functions `sources` and `api` handle them. Every read and write runs under the caller's token. */

/** Largest file, in bytes, that may be sent straight to storage. */
export const MAX_UPLOAD_BYTES = 50 * 1024 * 1024
/** Seconds a presigned upload may take to begin. */
const UPLOAD_URL_SECONDS = 300
/** Seconds a download link works. */
export const DOWNLOAD_URL_SECONDS = 60

/** The columns of ai.sources that clients may select. */
export const SOURCE_COLUMNS =
  'id,tenant_id,owner_id,name,file_type,mime_type,size_bytes,content_hash,storage_path,visibility,extraction_status,' +
  'error_code,reason_code,error_message,attempts,next_retry_at,uploaded_at,extracted_at,page_count,metadata,' +
  'auto_metadata,derivatives,celery_task_id,priority,created_at,updated_at'

/** A row of ai.sources. */
export type SourceRow = {
  id: string
  tenant_id: string
  owner_id: string | null
  name: string
  file_type: string
  mime_type: string
  size_bytes: number
  content_hash: string
  storage_path: string
  visibility: string
  extraction_status: string
  error_code: string | null
  reason_code: string | null
  error_message: string | null
  attempts: number
  next_retry_at: string | null
  uploaded_at: string | null
  extracted_at: string | null
  page_count: number | null
  metadata: Record<string, unknown>
  auto_metadata: Record<string, unknown>
  derivatives: Record<string, unknown>
  celery_task_id: string | null
  priority: Priority
  created_at: string
  updated_at: string
}

/** Deps of functions that keep files. */
export type WithObjects = { objects: ObjectStore }

/** What the service needs from a request's context. */
export type SourceContext = { db: Db; deps: Deps & WithObjects }

/** What is said about a new source besides its bytes. */
export type SourceDetails = {
  /** File name; its extension decides the type. */
  fileName: string
  /** Name shown to people; the file name when absent. */
  name?: string | undefined
  visibility?: 'tenant' | 'private' | 'granted' | undefined
  metadata?: Record<string, unknown> | undefined
  /** Where it was imported from; kept in `auto_metadata`, which clients do not change. */
  origin?: { source_type: 'url'; origin_url: string } | { source_type: 'storage'; origin_path: string } | undefined
  /** Knowledge bases to index it in once its text is there; null or empty for none. */
  knowledgeBaseIds?: readonly string[] | null | undefined
  /** `low`: read and indexed after what else the tenant has waiting. Default `normal`. */
  priority?: Priority | null | undefined
}

/** SHA-256 of bytes, in lower-case hex. */
export async function sha256Hex(bytes: Bytes): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** The tenant's default knowledge base, or null when several tenants leave it open: then registering says what to do. */
export async function defaultKnowledgeBaseIds(db: Db): Promise<string[] | null> {
  const rows = unwrap<{ id: string }[]>(
    await db.schema('ai').from('knowledge_bases').select('id').eq('is_default', true).limit(2),
  )
  return rows.length === 1 && rows[0] ? [rows[0].id] : null
}

/** A name that people gave: a slash in it is a character, and leads nowhere. The database keeps names without. */
const cleanName = (name: string): string => cleanFileName(name.replace(/[/\\]/g, '_'))

type Announcement = SourceDetails & { sizeBytes: number; contentHash: string }

const MAX_ORIGIN_CHARS = 2048
const withoutLongTexts = (origin: object) =>
  Object.fromEntries(Object.entries(origin).filter(([, value]) => String(value).length <= MAX_ORIGIN_CHARS))

/** Makes the row. The database replaces the one that an interrupted upload of the same bytes left behind long enough ago. */
async function register({ db }: SourceContext, file: Announcement): Promise<SourceRow> {
  const fileName = cleanFileName(file.fileName)
  const { fileType, mimeType } = fileTypeOf(fileName)
  return unwrap<SourceRow>(
    await db.schema('ai').rpc('register_source', {
      name: file.name === undefined ? fileName : cleanName(file.name),
      file_type: fileType,
      mime_type: mimeType,
      size_bytes: file.sizeBytes,
      content_hash: file.contentHash,
      visibility: file.visibility ?? 'tenant',
      metadata: file.metadata ?? {},
      knowledge_base_ids: file.knowledgeBaseIds ?? null,
      // Longer ones would not be stored; where an import came from is no reason to refuse it.
      ...(file.origin === undefined ? {} : { origin: withoutLongTexts(file.origin) }),
      priority: file.priority ?? 'normal',
    }),
  )
}

/**
 * Removes the row of an upload that failed, so that it can be tried again. A failure to do so is only logged: the row then
 * stays without bytes until the same bytes replace it.
 */
async function abandon({ db, deps }: SourceContext, id: string): Promise<void> {
  const { error } = await db.schema('ai').rpc('abandon_upload', { source_id: id })
  if (error) deps.log.error('abandon_upload_failed', { source_id: id, error: describeError(error) })
}

const completeRow = async (db: Db, id: string): Promise<SourceRow> =>
  unwrap<SourceRow>(await db.schema('ai').rpc('complete_upload', { source_id: id }))

/**
 * Stores a file sent through the function: row first, so that there are never bytes without an owner, then the bytes, then
 * the extraction job.
 * @throws AppError `unsupported_type`, `empty_document`, `duplicate_source` (with `duplicate`), `payload_too_large`,
 * `storage_failed`, or what the database refuses.
 */
export async function uploadSource(context: SourceContext, bytes: Bytes, details: SourceDetails): Promise<SourceRow> {
  if (bytes.byteLength > MAX_FILE_BYTES) {
    throw new AppError('payload_too_large', `The file is larger than ${MAX_FILE_BYTES} bytes.`, {
      hint: 'Use POST /sources/uploads for large files.',
    })
  }
  const { fileType } = fileTypeOf(cleanFileName(details.fileName))
  refuseForeignContent(fileType, bytes.subarray(0, SIGNATURE_BYTES))
  const source = await register(context, {
    ...details,
    sizeBytes: bytes.byteLength,
    contentHash: await sha256Hex(bytes),
  })
  try {
    await context.deps.objects.put(source.storage_path, bytes, {
      contentType: source.mime_type,
      sha256: source.content_hash,
    })
  } catch (error) {
    await abandon(context, source.id)
    throw new AppError('storage_failed', 'Storage error', { cause: error })
  }
  return completeRow(context.db, source.id)
}

/** A presigned upload: the source, and the request by which the client sends the bytes. */
export type PresignedUpload = { source: SourceRow; upload: PresignedRequest }

/**
 * Announces a file that the client sends straight to storage. Size, type and SHA-256 are bound to the link, and checked again
 * by `completeUpload` and by the worker.
 * @throws AppError as `uploadSource`.
 */
export async function beginUpload(
  context: SourceContext,
  file: SourceDetails & { sizeBytes: number; sha256: string },
): Promise<PresignedUpload> {
  if (file.sizeBytes > MAX_UPLOAD_BYTES) {
    throw new AppError('payload_too_large', `The file is larger than ${MAX_UPLOAD_BYTES} bytes.`)
  }
  const source = await register(context, { ...file, contentHash: file.sha256 })
  try {
    const upload = await context.deps.objects.presignPut(source.storage_path, {
      contentType: source.mime_type,
      sizeBytes: source.size_bytes,
      sha256: source.content_hash,
      expiresInSeconds: UPLOAD_URL_SECONDS,
    })
    return { source, upload }
  } catch (error) {
    await abandon(context, source.id)
    throw new AppError('storage_failed', 'Storage error', { cause: error })
  }
}

/**
 * Checks the bytes of a presigned upload and begins its extraction; again, it changes nothing.
 * @throws AppError `object_missing` when nothing was uploaded yet (the upload may still be done), `hash_mismatch` or
 * `unsupported_type` when something else was (the source is removed), `not_found`.
 */
export async function completeUpload(context: SourceContext, id: string): Promise<SourceRow> {
  const source = await getSource(context.db, id)
  if (source.uploaded_at !== null) return source
  try {
    await checkStored(context, source)
  } catch (error) {
    if (!(error instanceof AppError)) throw new AppError('storage_failed', 'Storage error', { cause: error })
    if (error.code !== 'object_missing') await abandon(context, id)
    throw error
  }
  return completeRow(context.db, id)
}

/** Compares what is stored with what was announced. @throws AppError `object_missing`, `hash_mismatch`, `unsupported_type`. */
async function checkStored({ deps: { objects } }: SourceContext, source: SourceRow): Promise<void> {
  const mismatch = (message: string) =>
    new AppError('hash_mismatch', message, { hint: 'The upload was abandoned. Announce the file again.' })
  const stored = await objects.head(source.storage_path)
  if (stored === null) throw notUploaded()
  if (stored.sizeBytes !== source.size_bytes) {
    throw mismatch(`The stored file has ${stored.sizeBytes} bytes; ${source.size_bytes} were announced.`)
  }
  if (stored.contentType !== null && stored.contentType.split(';')[0] !== source.mime_type) {
    throw mismatch(`The stored file is not ${source.mime_type}.`)
  }
  const hash = createHash('sha256')
  let start = new Uint8Array()
  try {
    const { stream } = await objects.get(source.storage_path)
    for await (const piece of stream) {
      hash.update(piece)
      if (start.length < SIGNATURE_BYTES) {
        start = new Uint8Array([...start, ...piece.subarray(0, SIGNATURE_BYTES - start.length)])
      }
    }
  } catch (error) {
    if (error instanceof ObjectMissingError) throw notUploaded()
    throw error
  }
  if (hash.digest('hex') !== source.content_hash) {
    throw mismatch('The SHA-256 of the stored file is not the announced one.')
  }
  refuseForeignContent(source.file_type, start)
}

const notUploaded = () =>
  new AppError('object_missing', 'The file has not been uploaded.', {
    hint: 'PUT the file to the upload URL first, then complete the upload.',
  })

/** A source the caller can see, or null. */
export async function findSource(db: Db, id: string): Promise<SourceRow | null> {
  const { data, error } = await db.schema('ai').from('sources').select(SOURCE_COLUMNS).eq('id', id).maybeSingle()
  return error ? unwrap({ data: null, error }) : (data as SourceRow | null)
}

/** A source the caller can see. @throws AppError `not_found`, the same for absent and for hidden ones. */
export async function getSource(db: Db, id: string): Promise<SourceRow> {
  const row = await findSource(db, id)
  if (row === null) throw missing('source')
  return row
}

/**
 * Deletes a source with its text and chunks; the database queues the removal of its bytes.
 * @throws AppError `not_found`, or `forbidden` when the caller can see it but it is not theirs.
 */
export async function deleteSource(db: Db, id: string): Promise<void> {
  const deleted = unwrap<unknown[]>(await db.schema('ai').from('sources').delete().eq('id', id).select('id'))
  if (deleted.length > 0) return
  await getSource(db, id)
  throw new AppError('forbidden', 'Only its owner and admins can delete a source.')
}

/**
 * Changes what a person may change about a source.
 * @throws AppError `not_found`, or `forbidden` when the caller can see it but it is not theirs.
 */
export async function updateSource(
  db: Db,
  id: string,
  changes: { name?: string | undefined; metadata?: Record<string, unknown> | undefined },
): Promise<SourceRow> {
  const values: Record<string, unknown> = {}
  if (changes.name !== undefined) values['name'] = cleanName(changes.name)
  if (changes.metadata !== undefined) values['metadata'] = changes.metadata
  const rows = unwrap<SourceRow[]>(
    await db.schema('ai').from('sources').update(values).eq('id', id).select(SOURCE_COLUMNS).returns<SourceRow[]>(),
  )
  if (rows[0]) return rows[0]
  await getSource(db, id)
  throw new AppError('forbidden', 'Only its owner and admins can change a source.')
}

/**
 * Extracts a source again, whatever came of it before, and indexes it again wherever it is indexed.
 * @throws AppError `not_found`, `not_retryable` while it waits or runs.
 */
export async function reextractSource(db: Db, id: string): Promise<SourceRow> {
  return unwrap<SourceRow>(await db.schema('ai').rpc('reextract_source', { source_id: id }))
}

/** Calls the extraction of a source off. @throws AppError `not_found`, `conflict` unless it waits or runs. */
export async function cancelExtraction(db: Db, id: string): Promise<SourceRow> {
  return unwrap<SourceRow>(await db.schema('ai').rpc('cancel_extraction', { source_id: id }))
}

/** Extracts a source again, or indexes it again when only that failed. @throws AppError `not_retryable`, `not_found`. */
export async function retrySource(db: Db, id: string): Promise<SourceRow> {
  return unwrap<SourceRow>(await db.schema('ai').rpc('retry_source', { source_id: id }))
}

/**
 * A link to the raw bytes: works for at most a minute, always as an attachment.
 * @throws AppError `not_found`, or `object_missing` while the bytes are awaited.
 */
export async function downloadUrl(context: SourceContext, id: string): Promise<{ url: string; expires_at: string }> {
  const source = await getSource(context.db, id)
  if (source.uploaded_at === null) throw notUploaded()
  const { url, expiresAt } = await context.deps.objects.presignGet(source.storage_path, {
    fileName: source.name,
    contentType: source.mime_type,
    expiresInSeconds: DOWNLOAD_URL_SECONDS,
  })
  return { url, expires_at: expiresAt }
}

/**
 * The raw bytes as a stream, for clients of the agent API, which want them in the answer itself.
 * @throws AppError `not_found`, `object_missing`, `storage_failed`.
 */
export async function openSource(
  context: SourceContext,
  id: string,
): Promise<{ source: SourceRow; body: ReadableStream<Uint8Array>; sizeBytes: number | null }> {
  const source = await getSource(context.db, id)
  if (source.uploaded_at === null) throw notUploaded()
  try {
    const { stream, sizeBytes } = await context.deps.objects.get(source.storage_path)
    return { source, body: asReadable(stream), sizeBytes }
  } catch (error) {
    if (error instanceof ObjectMissingError) throw notUploaded()
    throw new AppError('storage_failed', 'Storage error', { cause: error })
  }
}

/** What the storage gives piece by piece, as the body of an answer. */
export function asReadable(iterable: AsyncIterable<Uint8Array>): ReadableStream<Uint8Array> {
  const iterator = iterable[Symbol.asyncIterator]()
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await iterator.next()
      if (done) controller.close()
      else controller.enqueue(value)
    },
    async cancel(reason) {
      await iterator.return?.(reason)
    },
  })
}
