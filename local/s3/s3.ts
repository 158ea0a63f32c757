import { randomUUID } from 'node:crypto'
import type { Database } from '../database/database.ts'
import { watchForAbort, type FileStore } from '../storage/files.ts'
import { parseSize } from '../storage/names.ts'
import { ObjectStore } from '../storage/object-store.ts'
import * as buckets from './buckets.ts'
import type { S3Context } from './context.ts'
import { S3Error, toS3Error } from './errors.ts'
import { MultipartFiles } from './multipart-files.ts'
import * as multipart from './multipart.ts'
import * as objects from './objects.ts'
import { amzValue, parseRequest, type S3Request } from './request.ts'
import { verifySignature, type S3Credentials } from './signature.ts'
import { errorResponse } from './xml.ts'

export type S3Options = {
  db: Database
  /** The file store of the Storage API: objects of one are objects of the other. */
  files: FileStore
  /** Keys that act with service rights. */
  credentials: S3Credentials | S3Credentials[]
  /** What clients must sign for, `local` on the local stack. */
  region: string
  /** Largest upload of all buckets, bytes or a size like `50MiB`. */
  fileSizeLimit: number | string
  mountPath?: string
  /** Milliseconds since the epoch; for tests of expiry. */
  now?: () => number
}

export interface S3Service {
  fetch(request: Request): Promise<Response>
  /** Removes multipart uploads nobody finished within a day; call once before serving. */
  recover(): Promise<{ removedUploads: number }>
}

const ABANDONED_AFTER_MS = 24 * 60 * 60 * 1000
/** Sub-resources of S3 this endpoint does not have. Ignoring one would do something else than was asked. */
const NOT_OFFERED = [
  ...['accelerate', 'acl', 'analytics', 'attributes', 'cors', 'encryption', 'inventory', 'legal-hold', 'lifecycle'],
  ...['logging', 'metrics', 'notification', 'object-lock', 'ownershipControls', 'policy', 'policyStatus'],
  ...['publicAccessBlock', 'replication', 'requestPayment', 'restore', 'retention', 'select', 'tagging', 'torrent'],
  ...['versionId', 'versioning', 'versions', 'website'],
]

/** The S3-compatible endpoint, path style, below `/storage/v1/s3`. Every request must carry a valid signature. */
export function createS3(options: S3Options): S3Service {
  const { db, files, region, now, mountPath = '/storage/v1/s3' } = options
  const store = new ObjectStore({ db, files, fileSizeLimit: parseSize(options.fileSizeLimit) })
  const credentials = [options.credentials].flat()

  const handle = async (raw: Request): Promise<Response> => {
    const request = parseRequest(raw, mountPath)
    const signature = verifySignature(request, { credentials, region, ...(now && { now }) })
    return await dispatch({ store, request, signature }, region)
  }

  return {
    async fetch(raw) {
      watchForAbort(raw)
      const requestId = randomUUID()
      const response = await handle(raw).catch((error: unknown) => {
        const refusal = toS3Error(error)
        if (refusal.code === 'InternalError') console.error('s3:', error)
        return errorResponse(refusal, raw, requestId)
      })
      response.headers.set('x-amz-request-id', requestId)
      return response
    },
    recover: async () => ({ removedUploads: await new MultipartFiles(files.root).removeOlderThan(ABANDONED_AFTER_MS) }),
  }
}

async function dispatch(context: S3Context, region: string): Promise<Response> {
  const { request } = context
  const unavailable = NOT_OFFERED.find((name) => request.query.has(name))
  if (unavailable) throw new S3Error('NotImplemented', `The local stack does not offer ?${unavailable}`)
  refuseUnknownIntents(request)
  if (request.bucket === '') return await only(request, { GET: () => buckets.listBuckets(context) })
  if (request.key === '') return await forBucket(context, region)
  return await forObject(context)
}

/** Access lists and the like would be promises nobody keeps. */
function refuseUnknownIntents(request: S3Request): void {
  const acl = amzValue(request, 'x-amz-acl')
  const isPrivate = acl === undefined || acl === 'private' || acl === 'bucket-owner-full-control'
  const others = ['x-amz-tagging', 'x-amz-website-redirect-location', 'x-amz-object-lock-mode']
  if (!isPrivate || others.some((name) => amzValue(request, name) !== undefined)) throw new S3Error('NotImplemented')
  if ([...request.headers.keys()].some((name) => /^x-amz-(grant-|.*customer-algorithm)/.test(name))) {
    throw new S3Error('NotImplemented')
  }
}

async function forBucket(context: S3Context, region: string): Promise<Response> {
  const { request } = context
  if (request.query.has('delete')) return await only(request, { POST: () => buckets.deleteObjects(context) })
  if (request.query.has('location')) return await only(request, { GET: () => buckets.bucketLocation(context, region) })
  if (request.query.has('uploads')) throw new S3Error('NotImplemented')
  return await only(request, {
    GET: () => buckets.listObjects(context),
    HEAD: () => buckets.headBucket(context),
    PUT: () => buckets.createBucket(context),
    DELETE: () => buckets.deleteBucket(context),
  })
}

async function forObject(context: S3Context): Promise<Response> {
  const { request } = context
  if (request.query.has('uploads')) return await only(request, { POST: () => multipart.createUpload(context) })
  if (request.query.has('uploadId')) {
    return await only(request, {
      GET: () => multipart.listParts(context),
      PUT: () => multipart.uploadPart(context),
      POST: () => multipart.completeUpload(context),
      DELETE: () => multipart.abortUpload(context),
    })
  }
  return await only(request, {
    GET: () => objects.getObject(context),
    HEAD: () => objects.getObject(context),
    PUT: () => objects.putObject(context),
    DELETE: () => objects.deleteObject(context),
  })
}

async function only(request: S3Request, handlers: Record<string, () => Promise<Response>>): Promise<Response> {
  const handler = Object.hasOwn(handlers, request.method) ? handlers[request.method] : undefined
  if (!handler) throw new S3Error('MethodNotAllowed')
  return await handler()
}
