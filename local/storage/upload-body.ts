import { StorageError } from './errors.ts'
import { formBoundary, readForm, readText } from './form.ts'

/** What an upload request says and carries. */
export type UploadBody = {
  bytes: AsyncIterable<Uint8Array>
  mimetype: string
  cacheControl: string
  contentEncoding: string | undefined
  userMetadata: Record<string, unknown> | null
  /** Reads what follows the file, so that a body cut short is noticed. */
  finish(): Promise<void>
}

const MAX_FIELD_BYTES = 1024 * 1024

/**
 * Reads the head of an upload in any of the forms storage-js sends: a multipart form whose fields come before its file,
 * or the bytes as they are, described by headers.
 * @throws StorageError `InvalidRequest`
 */
export async function readUpload(request: Request): Promise<UploadBody> {
  const contentType = request.headers.get('content-type') ?? ''
  const boundary = formBoundary(contentType)
  if (boundary) return await readFormUpload(bodyOf(request), boundary)
  const metadata = request.headers.get('x-metadata')
  return {
    bytes: bodyOf(request),
    mimetype: contentType || 'application/octet-stream',
    cacheControl: headerValue(request.headers.get('cache-control')) ?? 'no-cache',
    contentEncoding: headerValue(request.headers.get('content-encoding')),
    userMetadata: metadata === null ? null : parseMetadata(Buffer.from(metadata, 'base64').toString('utf8')),
    finish: async () => {},
  }
}

async function readFormUpload(body: AsyncIterable<Uint8Array>, boundary: string): Promise<UploadBody> {
  const parts = readForm(body, boundary)
  const fields = new Map<string, string>()
  for (;;) {
    const { value: part, done } = await parts.next()
    if (done) throw new StorageError('InvalidRequest', 'No file provided')
    if (part.filename === undefined) {
      fields.set(part.name, await readText(part.bytes, MAX_FIELD_BYTES))
      continue
    }
    const cacheControl = headerValue(fields.get('cacheControl'))
    const metadata = fields.get('metadata')
    return {
      bytes: part.bytes,
      mimetype: fields.get('contentType') ?? part.contentType ?? 'application/octet-stream',
      cacheControl: cacheControl ? `max-age=${cacheControl}` : 'no-cache',
      contentEncoding: headerValue(fields.get('contentEncoding')),
      userMetadata: metadata === undefined ? null : parseMetadata(metadata),
      async finish() {
        for (let next = await parts.next(); !next.done; next = await parts.next()) {
          await readText(next.value.bytes, MAX_FIELD_BYTES)
        }
      },
    }
  }
}

/**
 * The body of a request as it arrives; nothing for a request without one.
 * @throws StorageError `InvalidRequest` when the client goes away
 */
export async function* bodyOf(request: Request): AsyncGenerator<Uint8Array> {
  if (!request.body) return
  try {
    yield* request.body
  } catch (error) {
    throw new StorageError('InvalidRequest', 'The body ended too early', { cause: error })
  }
}

/** What will be sent back in a header must fit into one. */
function headerValue(value: string | null | undefined): string | undefined {
  if (value === null || value === undefined || value === '') return undefined
  if (!/^[\x20-\x7e]{1,255}$/.test(value)) throw new StorageError('InvalidRequest', 'A header value is invalid')
  return value
}

function parseMetadata(json: string): Record<string, unknown> {
  try {
    const metadata: unknown = JSON.parse(json)
    if (metadata && typeof metadata === 'object' && !Array.isArray(metadata)) return metadata as Record<string, unknown>
  } catch {
    // Falls through to the refusal below.
  }
  throw new StorageError('InvalidRequest', 'The metadata must be a JSON object')
}
