import { createHash, randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { z } from 'zod'
import { requireBucket, service, target, type S3Context } from './context.ts'
import { S3Error } from './errors.ts'
import { MultipartFiles, type StoredPart } from './multipart-files.ts'
import { describeUpload } from './objects.ts'
import { readSmallBody, receivePayload, requireNoPayload } from './payload.ts'
import { amzValue } from './request.ts'
import { readElements, readText, xmlResponse } from './xml.ts'

/** AWS: every part but the last has at least 5 MiB; 10,000 parts at most. */
const MIN_PART_BYTES = 5 * 1024 * 1024
const MAX_PARTS = 10_000

const uploadDescription = z.object({
  bucketId: z.string(),
  name: z.string(),
  mimetype: z.string(),
  cacheControl: z.string(),
  contentEncoding: z.string().optional(),
  userMetadata: z.record(z.string(), z.unknown()).nullable(),
})
type UploadDescription = z.infer<typeof uploadDescription>

/** CreateMultipartUpload. */
export async function createUpload(context: S3Context): Promise<Response> {
  requireNoPayload(context.signature)
  const { maxBytes: _, ownerId: __, ...description } = await describeUpload(context)
  const uploadId = randomUUID()
  await filesOf(context).create(uploadId, description)
  return xmlResponse('InitiateMultipartUploadResult', {
    Bucket: description.bucketId,
    Key: description.name,
    UploadId: uploadId,
  })
}

/** UploadPart. */
export async function uploadPart(context: S3Context): Promise<Response> {
  const { store, request, signature } = context
  if (amzValue(request, 'x-amz-copy-source') !== undefined) throw new S3Error('NotImplemented')
  const { uploadId } = await requireUpload(context)
  const partNumber = Number(request.query.get('partNumber'))
  if (!Number.isInteger(partNumber) || partNumber < 1 || partNumber > MAX_PARTS) throw new S3Error('InvalidArgument')
  const { file_size_limit: limit } = await requireBucket(context)
  const maxBytes = Math.min(store.fileSizeLimit, limit ?? Infinity)
  const { file } = await receivePayload(request, signature, store.files, maxBytes)
  try {
    const eTag = await filesOf(context).putPart(uploadId, partNumber, file)
    return new Response(null, { status: 200, headers: { etag: `"${eTag}"` } })
  } finally {
    await store.files.discard(file)
  }
}

/** CompleteMultipartUpload: joins the parts named, in order, into one object. */
export async function completeUpload(context: S3Context): Promise<Response> {
  const { store, request, signature } = context
  const { uploadId, description } = await requireUpload(context)
  const bucket = await requireBucket(context)
  const xml = await readSmallBody(request, signature, store.files, (path) => readFile(path, 'utf8'))
  const files = filesOf(context)
  const parts = chooseParts(xml, await files.parts(uploadId))

  const maxBytes = store.limitFor(bucket, description.mimetype)
  const received = await store.files.receive(files.read(parts), { maxBytes })
  const joined = Buffer.concat(parts.map((part) => Buffer.from(part.eTag, 'hex')))
  const eTag = `${createHash('md5').update(joined).digest('hex')}-${parts.length}`
  await store.put(
    service('upload.complete_multipart'),
    { ...description, contentEncoding: description.contentEncoding, ownerId: null, upsert: true, eTag },
    received,
  )
  await files.remove(uploadId)
  return xmlResponse('CompleteMultipartUploadResult', {
    Bucket: description.bucketId,
    Key: description.name,
    ETag: `"${eTag}"`,
  })
}

/** AbortMultipartUpload. */
export async function abortUpload(context: S3Context): Promise<Response> {
  requireNoPayload(context.signature)
  const { uploadId } = await requireUpload(context)
  await filesOf(context).remove(uploadId)
  return new Response(null, { status: 204 })
}

/** ListParts, all on one page. */
export async function listParts(context: S3Context): Promise<Response> {
  requireNoPayload(context.signature)
  const { uploadId, description } = await requireUpload(context)
  const parts = await filesOf(context).parts(uploadId)
  return xmlResponse('ListPartsResult', {
    Bucket: description.bucketId,
    Key: description.name,
    UploadId: uploadId,
    IsTruncated: false,
    Part: parts.map((part) => ({ PartNumber: part.partNumber, ETag: `"${part.eTag}"`, Size: part.sizeBytes })),
  })
}

async function requireUpload(context: S3Context): Promise<{ uploadId: string; description: UploadDescription }> {
  const uploadId = context.request.query.get('uploadId') ?? ''
  const description = await filesOf(context).describe(uploadId)
  if (description === undefined) throw new S3Error('NoSuchUpload')
  const upload = uploadDescription.parse(description)
  const { bucketId, name } = target(context)
  if (upload.bucketId !== bucketId || upload.name !== name) throw new S3Error('NoSuchUpload')
  return { uploadId, description: upload }
}

function chooseParts(xml: string, stored: StoredPart[]): StoredPart[] {
  const chosen = readElements(xml, 'Part').map((part) => {
    const partNumber = Number(readText(part, 'PartNumber'))
    const eTag = (readText(part, 'ETag') ?? '').replace(/"/g, '')
    const found = stored.find((candidate) => candidate.partNumber === partNumber && candidate.eTag === eTag)
    if (!found) throw new S3Error('InvalidPart')
    return found
  })
  if (chosen.length === 0) throw new S3Error('MalformedXML')
  if (chosen.some((part, index) => index > 0 && part.partNumber <= (chosen[index - 1]?.partNumber ?? 0))) {
    throw new S3Error('InvalidPartOrder')
  }
  if (chosen.slice(0, -1).some((part) => part.sizeBytes < MIN_PART_BYTES)) throw new S3Error('EntityTooSmall')
  return chosen
}

function filesOf({ store }: S3Context): MultipartFiles {
  return new MultipartFiles(store.files.root)
}
