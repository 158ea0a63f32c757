import { readFile } from 'node:fs/promises'
import { listKeys } from '../storage/listing.ts'
import { isValidKey, requireBucketName } from '../storage/names.ts'
import { SERVICE } from '../storage/object-store.ts'
import { isEmpty } from '../storage/routes/buckets.ts'
import * as rows from '../storage/rows.ts'
import { requireBucket, service, type S3Context } from './context.ts'
import { S3Error } from './errors.ts'
import { readSmallBody, requireNoPayload } from './payload.ts'
import { encodeRfc3986 } from './request.ts'
import { readElements, readText, xmlResponse } from './xml.ts'

const MAX_KEYS = 1000

/** ListBuckets. */
export async function listBuckets({ store, signature }: S3Context): Promise<Response> {
  requireNoPayload(signature)
  const buckets = await store.as(service('bucket.list'), (tx) => rows.listBuckets(tx))
  return xmlResponse('ListAllMyBucketsResult', {
    Owner: { ID: 'local', DisplayName: 'local' },
    Buckets: { Bucket: buckets.map((bucket) => ({ Name: bucket.id, CreationDate: bucket.created_at })) },
  })
}

/** HeadBucket. */
export async function headBucket(context: S3Context): Promise<Response> {
  requireNoPayload(context.signature)
  await requireBucket(context)
  return new Response(null, { status: 200 })
}

/** GetBucketLocation. */
export async function bucketLocation(context: S3Context, region: string): Promise<Response> {
  requireNoPayload(context.signature)
  await requireBucket(context)
  return xmlResponse('LocationConstraint', region)
}

/** CreateBucket: always private. */
export async function createBucket({ store, request, signature }: S3Context): Promise<Response> {
  // A location may be stated; there is only one.
  await readSmallBody({ ...request, headers: withLength(request.headers) }, signature, store.files, (path) =>
    readFile(path, 'utf8'),
  )
  const id = requireBucketName(request.bucket)
  if (await store.as(SERVICE, (tx) => rows.findBucket(tx, id))) throw new S3Error('BucketAlreadyOwnedByYou')
  await store.as(service('bucket.create'), (tx) => rows.insertBucket(tx, id, null, { public: false }))
  return new Response(null, { status: 200, headers: { location: `/${id}` } })
}

/** DeleteBucket. */
export async function deleteBucket(context: S3Context): Promise<Response> {
  requireNoPayload(context.signature)
  const bucket = await requireBucket(context)
  if (!(await isEmpty(context.store, bucket.id))) throw new S3Error('BucketNotEmpty')
  await context.store.as(service('bucket.delete'), (tx) => rows.deleteBucket(tx, bucket.id))
  return new Response(null, { status: 204 })
}

/** ListObjectsV2, and ListObjects for older clients. */
export async function listObjects(context: S3Context): Promise<Response> {
  const { store, request, signature } = context
  requireNoPayload(signature)
  const bucket = await requireBucket(context)
  const isV2 = request.query.get('list-type') === '2'
  const parameter = (name: string) => request.query.get(name)
  const prefix = parameter('prefix') ?? ''
  const delimiter = parameter('delimiter') ?? ''
  const token = parameter('continuation-token')
  const startAfter = isV2 ? parameter('start-after') : parameter('marker')
  const maxKeys = parameter('max-keys') ?? String(MAX_KEYS)
  if (!/^\d{1,9}$/.test(maxKeys)) throw new S3Error('InvalidArgument', 'max-keys must be a whole number')
  const limit = Math.min(Number(maxKeys), MAX_KEYS)
  const after = token === undefined ? (startAfter ?? null) : Buffer.from(token, 'base64url').toString('utf8')

  const { entries, hasMore } =
    limit === 0
      ? { entries: [], hasMore: false }
      : await store.as(service('object.list'), (tx) => listKeys(tx, bucket.id, { prefix, delimiter, after, limit }))
  const encode = (text: string) =>
    parameter('encoding-type') === 'url' ? encodeRfc3986(text).replaceAll('%2F', '/') : text
  const last = entries.at(-1)?.entry
  const next = hasMore && last !== undefined ? last : undefined
  const objects = entries.filter((entry) => !entry.grouped && entry.metadata)
  return xmlResponse('ListBucketResult', {
    Name: bucket.id,
    Prefix: encode(prefix),
    Delimiter: delimiter === '' ? undefined : encode(delimiter),
    EncodingType: parameter('encoding-type'),
    MaxKeys: limit,
    IsTruncated: hasMore,
    ...(isV2
      ? {
          KeyCount: entries.length,
          ContinuationToken: token,
          StartAfter: startAfter === undefined ? undefined : encode(startAfter),
          NextContinuationToken: next === undefined ? undefined : Buffer.from(next).toString('base64url'),
        }
      : { Marker: encode(startAfter ?? ''), NextMarker: next === undefined ? undefined : encode(next) }),
    Contents: objects.map(({ name, metadata }) => ({
      Key: encode(name),
      LastModified: metadata?.lastModified,
      ETag: metadata?.eTag,
      Size: metadata?.size,
      StorageClass: 'STANDARD',
    })),
    CommonPrefixes: entries.filter((entry) => entry.grouped).map((entry) => ({ Prefix: encode(entry.entry) })),
  })
}

/** DeleteObjects: up to 1000 keys, each reported as deleted whether or not it existed. */
export async function deleteObjects(context: S3Context): Promise<Response> {
  const { store, request, signature } = context
  const bucket = await requireBucket(context)
  const xml = await readSmallBody(request, signature, store.files, (path) => readFile(path, 'utf8'))
  const keys = readElements(xml, 'Object').map((object) => {
    if (readText(object, 'VersionId')) throw new S3Error('NotImplemented', 'The local stack has no versioning')
    const key = readText(object, 'Key')
    if (!key) throw new S3Error('MalformedXML')
    return key
  })
  if (keys.length === 0 || keys.length > MAX_KEYS) throw new S3Error('MalformedXML')
  await store.remove(service('object.delete_many'), bucket.id, keys.filter(isValidKey))
  const quiet = readText(xml, 'Quiet') === 'true'
  return xmlResponse('DeleteResult', { Deleted: quiet ? [] : keys.map((key) => ({ Key: key })) })
}

/** Some clients send no Content-Length with an empty body. */
function withLength(headers: Headers): Headers {
  if (headers.has('content-length') || headers.has('transfer-encoding')) return headers
  const copy = new Headers(headers)
  copy.set('content-length', '0')
  return copy
}
