import { during } from '../storage/caller.ts'
import { requireBucketName, requireKey } from '../storage/names.ts'
import { SERVICE, type ObjectStore } from '../storage/object-store.ts'
import { findBucket, type BucketRow } from '../storage/rows.ts'
import { S3Error } from './errors.ts'
import type { S3Request } from './request.ts'
import type { VerifiedSignature } from './signature.ts'

/** A verified request and what it may use. */
export type S3Context = { store: ObjectStore; request: S3Request; signature: VerifiedSignature }

/** S3 keys act with service rights, as on the platform; policies may still look at the operation. */
export const service = (operation: string) => during(SERVICE, `storage.s3.${operation}`)

/** Bucket and key of the path, checked. @throws S3Error */
export function target({ request }: S3Context): { bucketId: string; name: string } {
  return { bucketId: requireBucketName(request.bucket), name: requireKey(request.key) }
}

/** The bucket of the path. @throws S3Error `NoSuchBucket` */
export async function requireBucket({ store, request }: S3Context): Promise<BucketRow> {
  const bucket = await store.as(SERVICE, (tx) => findBucket(tx, request.bucket))
  if (!bucket) throw new S3Error('NoSuchBucket')
  return bucket
}

/** Metadata of the `x-amz-meta-*` headers (or query parameters of a presigned URL); null without any. */
export function userMetadata(request: S3Request): Record<string, string> | null {
  const prefix = 'x-amz-meta-'
  const entries = [...request.query, ...request.headers]
    .filter(([name]) => name.toLowerCase().startsWith(prefix))
    .map(([name, value]) => [name.toLowerCase().slice(prefix.length), value])
  return entries.length === 0 ? null : (Object.fromEntries(entries) as Record<string, string>)
}
