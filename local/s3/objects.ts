import { SAFE_HEADERS } from '../storage/serve.ts'
import { applicableRange, evaluateConditions, requestedRange } from '../storage/http-range.ts'
import { requireBucketName, requireKey } from '../storage/names.ts'
import type { ObjectSpec } from '../storage/object-store.ts'
import type { ObjectRow } from '../storage/rows.ts'
import { toStorageError } from '../storage/errors.ts'
import { requireBucket, service, target, userMetadata, type S3Context } from './context.ts'
import { S3Error } from './errors.ts'
import { receivePayload, requireNoPayload } from './payload.ts'
import { amzValue, type S3Request } from './request.ts'
import { xmlResponse } from './xml.ts'

const OVERRIDES = {
  'response-cache-control': 'cache-control',
  'response-content-disposition': 'content-disposition',
  'response-content-encoding': 'content-encoding',
  'response-content-language': 'content-language',
  'response-content-type': 'content-type',
  'response-expires': 'expires',
}

/** GetObject and HeadObject. The `response-*` overrides are safe to follow: the signature covers the query. */
export async function getObject(context: S3Context): Promise<Response> {
  const { store, request, signature } = context
  requireNoPayload(signature)
  const isHead = request.method === 'HEAD'
  await requireBucket(context)
  const row = await store.find(service(isHead ? 'object.info' : 'object.get'), target(context))
  if (!row.metadata) throw new S3Error('NoSuchKey')
  const headers = objectHeaders(row, request)

  const condition = evaluateConditions(request.headers, row.metadata)
  if (condition === 'failed') throw new S3Error('PreconditionFailed')
  if (condition === 'not-modified') return new Response(null, { status: 304, headers })

  const file = await store.bytes(row)
  const range = requestedRange(applicableRange(request.headers, row.metadata.eTag), file.sizeBytes)
  if (range === 'unsatisfiable') throw new S3Error('InvalidRange')
  const { start, end } = range === 'all' ? { start: 0, end: file.sizeBytes - 1 } : range
  headers.set('content-length', String(end - start + 1))
  if (range !== 'all') headers.set('content-range', `bytes ${start}-${end}/${file.sizeBytes}`)
  // A checksum of the whole says nothing of a part.
  else if (row.metadata.checksumSHA256 && amzValue(request, 'x-amz-checksum-mode')?.toUpperCase() === 'ENABLED') {
    headers.set('x-amz-checksum-sha256', row.metadata.checksumSHA256)
    headers.set('x-amz-checksum-type', 'FULL_OBJECT')
  }
  const status = range === 'all' ? 200 : 206
  return new Response(isHead ? null : file.stream(start, end, request.raw.signal), { status, headers })
}

/** PutObject, or CopyObject when a source is named. */
export async function putObject(context: S3Context): Promise<Response> {
  const { store, request, signature } = context
  const source = amzValue(request, 'x-amz-copy-source')
  if (source !== undefined) return await copyObject(context, source)
  const createOnly = requireKnownConditions(request)
  const spec = await describeUpload(context)
  const { file, checksumSHA256 } = await receivePayload(request, signature, store.files, spec.maxBytes)
  const row = await store
    .put(service('upload'), { ...spec, upsert: !createOnly, checksumSHA256 }, file)
    .catch((error: unknown) => {
      throw createOnly && isDuplicate(error) ? new S3Error('PreconditionFailed') : error
    })
  const headers = new Headers({ etag: row.metadata?.eTag ?? '' })
  if (checksumSHA256) headers.set('x-amz-checksum-sha256', checksumSHA256)
  return new Response(null, { status: 200, headers })
}

/**
 * What a request says of the object to be, and the most bytes it may have.
 * @throws S3Error if the bucket does not take the type; `mimetype` overrules the one of the request
 */
export async function describeUpload(
  context: S3Context,
  mimetype = context.request.headers.get('content-type') ?? 'application/octet-stream',
): Promise<Omit<ObjectSpec, 'upsert' | 'checksumSHA256' | 'eTag'> & { maxBytes: number }> {
  const { store, request } = context
  const cacheControl = request.headers.get('cache-control') ?? 'no-cache'
  const encodings = (request.headers.get('content-encoding') ?? '').split(',').map((encoding) => encoding.trim())
  const bucket = await requireBucket(context)
  return {
    ...target(context),
    ownerId: null,
    mimetype,
    cacheControl,
    // aws-chunked is how the bytes travel, not how they are stored.
    contentEncoding:
      encodings.filter((encoding) => encoding !== 'aws-chunked' && encoding !== '').join(', ') || undefined,
    userMetadata: userMetadata(request),
    maxBytes: store.limitFor(bucket, mimetype),
  }
}

async function copyObject(context: S3Context, source: string): Promise<Response> {
  const { store, request, signature } = context
  requireNoPayload(signature)
  requireKnownConditions(request)
  const [fromBucket = '', ...fromKey] = decodeSource(source).split('/')
  const from = { bucketId: requireBucketName(fromBucket), name: requireKey(fromKey.join('/')) }
  const row = await store.find(service('object.copy'), from)
  const replace = amzValue(request, 'x-amz-metadata-directive')?.toUpperCase() === 'REPLACE'
  const described = await describeUpload(context, replace ? undefined : row.metadata?.mimetype)
  const { maxBytes, bucketId, name, userMetadata, mimetype, cacheControl, contentEncoding } = described
  if ((row.metadata?.size ?? 0) > maxBytes) throw new S3Error('EntityTooLarge')
  const metadata = { mimetype, cacheControl, ...(contentEncoding !== undefined && { contentEncoding }) }
  const to = { bucketId, name, ownerId: null, upsert: true }
  const copied = await store.copy(service('object.copy'), from, to, replace ? { metadata, userMetadata } : {})
  return xmlResponse('CopyObjectResult', { ETag: copied.metadata?.eTag, LastModified: copied.metadata?.lastModified })
}

/** DeleteObject: the same answer whether or not there was one. */
export async function deleteObject(context: S3Context): Promise<Response> {
  requireNoPayload(context.signature)
  await requireBucket(context)
  const { bucketId, name } = target(context)
  await context.store.remove(service('object.delete'), bucketId, [name])
  return new Response(null, { status: 204 })
}

function objectHeaders(row: ObjectRow, request: S3Request): Headers {
  const metadata = row.metadata
  if (!metadata) throw new S3Error('NoSuchKey')
  const headers = new Headers({
    ...SAFE_HEADERS,
    'accept-ranges': 'bytes',
    'cache-control': metadata.cacheControl,
    'content-type': metadata.mimetype,
    etag: metadata.eTag,
    'last-modified': new Date(metadata.lastModified).toUTCString(),
  })
  if (metadata.contentEncoding) headers.set('content-encoding', metadata.contentEncoding)
  for (const [name, value] of Object.entries(row.user_metadata ?? {})) {
    if (/^[\w.-]+$/.test(name) && typeof value === 'string' && isHeaderText(value)) {
      headers.set(`x-amz-meta-${name}`, value)
    }
  }
  for (const [parameter, header] of Object.entries(OVERRIDES)) {
    const value = request.query.get(parameter)
    if (value === undefined) continue
    if (!isHeaderText(value)) throw new S3Error('InvalidArgument', `${parameter} is not a valid header value`)
    headers.set(header, value)
  }
  return headers
}

/** Returns true for "only if there is none". Other conditions on writes are refused rather than ignored. */
function requireKnownConditions({ headers }: S3Request): boolean {
  if (headers.has('if-match')) throw new S3Error('NotImplemented', 'The local stack has no If-Match on writes')
  const ifNoneMatch = headers.get('if-none-match')
  if (ifNoneMatch !== null && ifNoneMatch !== '*') throw new S3Error('NotImplemented')
  return ifNoneMatch === '*'
}

function decodeSource(source: string): string {
  try {
    return decodeURIComponent(source).replace(/^\//, '')
  } catch {
    throw new S3Error('InvalidArgument', 'x-amz-copy-source is not valid')
  }
}

function isDuplicate(error: unknown): boolean {
  return toStorageError(error).code === 'ResourceAlreadyExists'
}

function isHeaderText(value: string): boolean {
  return /^[\x20-\x7e]*$/.test(value)
}
