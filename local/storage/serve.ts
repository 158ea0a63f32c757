import { StorageError } from './errors.ts'
import { applicableRange, evaluateConditions, requestedRange } from './http-range.ts'
import type { ObjectStore } from './object-store.ts'
import type { ObjectMetadata, ObjectRow } from './rows.ts'

/**
 * Headers for every stored byte we send: whatever a tenant uploaded, a browser neither guesses another type nor runs
 * it with the rights of our origin.
 */
export const SAFE_HEADERS = {
  'x-content-type-options': 'nosniff',
  'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'; sandbox",
}

export type ServeOptions = {
  /** The `download` parameter: a file name, or empty for "attachment". */
  download?: string | undefined
  /** For signed URLs: seconds since the epoch, sent instead of Cache-Control. */
  expires?: number
}

/**
 * Answers GET or HEAD for an object: conditions, one range, a stream of bytes.
 * @throws StorageError `NoSuchKey` without bytes
 */
export async function serveObject(
  request: Request,
  store: ObjectStore,
  row: ObjectRow,
  options: ServeOptions = {},
): Promise<Response> {
  const metadata = row.metadata
  if (!metadata) throw new StorageError('NoSuchKey')
  const headers = headersFor(metadata, options)

  const condition = evaluateConditions(request.headers, metadata)
  if (condition === 'not-modified') return new Response(null, { status: 304, headers })
  if (condition === 'failed') return new Response(null, { status: 412, headers })

  const file = await store.bytes(row)
  const range = requestedRange(applicableRange(request.headers, metadata.eTag), file.sizeBytes)
  if (range === 'unsatisfiable') {
    const refusal = new StorageError('InvalidRange')
    const body = { statusCode: '416', code: refusal.code, error: 'invalid_range', message: refusal.message }
    return Response.json(body, { status: 416, headers: { 'content-range': `bytes */${file.sizeBytes}` } })
  }
  const { start, end } = range === 'all' ? { start: 0, end: file.sizeBytes - 1 } : range
  headers.set('content-length', String(end - start + 1))
  if (range !== 'all') headers.set('content-range', `bytes ${start}-${end}/${file.sizeBytes}`)
  const status = range === 'all' ? 200 : 206
  return new Response(request.method === 'HEAD' ? null : file.stream(start, end, request.signal), { status, headers })
}

function headersFor(metadata: ObjectMetadata, { download, expires }: ServeOptions): Headers {
  const headers = new Headers({
    ...SAFE_HEADERS,
    'accept-ranges': 'bytes',
    'content-type': inlineType(metadata.mimetype),
    etag: metadata.eTag,
    'last-modified': new Date(metadata.lastModified).toUTCString(),
  })
  if (metadata.contentEncoding) headers.set('content-encoding', metadata.contentEncoding)
  if (expires === undefined) headers.set('cache-control', metadata.cacheControl)
  else headers.set('expires', new Date(expires * 1000).toUTCString())
  if (download !== undefined) headers.set('content-disposition', attachment(download))
  return headers
}

/** The platform serves HTML as plain text, so that storage cannot be used to host pages. */
function inlineType(mimetype: string): string {
  return /\bx?html\b/i.test(mimetype) ? 'text/plain' : mimetype
}

function attachment(filename: string): string {
  if (filename === '') return 'attachment;'
  const encoded = encodeURIComponent(filename).replace(
    /['()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  )
  return `attachment; filename=${encoded}; filename*=UTF-8''${encoded};`
}
