import type { Sql } from '../database/database.ts'
import type { ObjectRef } from './files.ts'

/** What the platform keeps in `storage.objects.metadata`, and what S3 needs beyond it. */
export type ObjectMetadata = {
  /** Quoted, as in the header. */
  eTag: string
  size: number
  mimetype: string
  cacheControl: string
  lastModified: string
  contentLength: number
  httpStatusCode: number
  contentEncoding?: string
  /** Base64, present when the uploader sent it and the bytes agreed. */
  checksumSHA256?: string
}

export type ObjectRow = {
  id: string
  bucket_id: string
  name: string
  owner_id: string | null
  version: string | null
  metadata: ObjectMetadata | null
  user_metadata: Record<string, unknown> | null
  created_at: string
  updated_at: string
  last_accessed_at: string
}

export type BucketRow = {
  id: string
  name: string
  owner: string | null
  public: boolean
  file_size_limit: number | null
  allowed_mime_types: string[] | null
  created_at: string
  updated_at: string
}

/** SQL for a timestamp as the Storage API prints it, whatever the driver makes of timestamps. */
const timestamp = (column: string) =>
  `to_char(${column} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as ${column}`

/** The columns of an `ObjectRow`. */
export const OBJECT_COLUMNS = `id, bucket_id, name, owner_id, version, metadata, user_metadata, ${timestamp('created_at')},
  ${timestamp('updated_at')}, ${timestamp('last_accessed_at')}`

const BUCKET_COLUMNS = `id, name, coalesce(owner_id, owner::text) as owner, coalesce(public, false) as public, file_size_limit::float8 as file_size_limit,
  allowed_mime_types, ${timestamp('created_at')}, ${timestamp('updated_at')}`

/** The bucket as far as the caller of the transaction may see it. */
export async function findBucket(sql: Sql, id: string): Promise<BucketRow | undefined> {
  const [bucket] = await sql.query<BucketRow>(`select ${BUCKET_COLUMNS} from storage.buckets where id = $1`, [id])
  return bucket
}

export type BucketListing = {
  limit: number
  offset: number
  sortColumn: 'id' | 'name' | 'created_at' | 'updated_at'
  sortOrder: 'asc' | 'desc'
  search: string
}

/** The buckets the caller may see. */
export async function listBuckets(sql: Sql, options: Partial<BucketListing> = {}): Promise<BucketRow[]> {
  const { limit = 10_000, offset = 0, sortColumn = 'name', sortOrder = 'asc', search = '' } = options
  return await sql.query<BucketRow>(
    `select ${BUCKET_COLUMNS} from storage.buckets as bucket
     where name ilike '%' || $1 || '%'
     order by bucket.${sortColumn} ${sortOrder}, bucket.id limit $2 offset $3`,
    [escapeLike(search), limit, offset],
  )
}

export type BucketSettings = {
  public?: boolean | undefined
  fileSizeLimit?: number | null | undefined
  allowedMimeTypes?: string[] | null | undefined
}

/** Inserts a bucket; fails as row-level security or the key decide. */
export async function insertBucket(sql: Sql, id: string, owner: string | null, settings: BucketSettings) {
  await sql.query(
    `insert into storage.buckets (id, name, owner, owner_id, public, file_size_limit, allowed_mime_types)
     values ($1, $1, $2::uuid, $3, $4, $5::bigint, $6::text[])`,
    [
      id,
      asUuid(owner),
      owner,
      settings.public ?? false,
      settings.fileSizeLimit ?? null,
      settings.allowedMimeTypes ?? null,
    ],
  )
}

/** Changes what is given and returns false if the caller may not change that bucket, or it does not exist. */
export async function updateBucket(sql: Sql, id: string, settings: BucketSettings): Promise<boolean> {
  const changed = await sql.query(
    `update storage.buckets set
       public = coalesce($2::boolean, public),
       file_size_limit = case when $3::boolean then $4::bigint else file_size_limit end,
       allowed_mime_types = case when $5::boolean then $6::text[] else allowed_mime_types end,
       updated_at = now()
     where id = $1 returning id`,
    [
      id,
      settings.public ?? null,
      settings.fileSizeLimit !== undefined,
      settings.fileSizeLimit ?? null,
      settings.allowedMimeTypes !== undefined,
      settings.allowedMimeTypes ?? null,
    ],
  )
  return changed.length > 0
}

/** Returns false if the caller may not delete that bucket, or it does not exist. */
export async function deleteBucket(sql: Sql, id: string): Promise<boolean> {
  return (await sql.query('delete from storage.buckets where id = $1 returning id', [id])).length > 0
}

/** Makes writers of one key wait for each other until the end of the transaction. */
export async function lockKey(sql: Sql, bucketId: string, name: string): Promise<void> {
  await sql.query('select pg_advisory_xact_lock(hashtextextended($1, 0))', [`${bucketId}/${name}`])
}

/** The object as far as the caller of the transaction may see it. */
export async function findObject(sql: Sql, bucketId: string, name: string): Promise<ObjectRow | undefined> {
  const [object] = await sql.query<ObjectRow>(
    `select ${OBJECT_COLUMNS} from storage.objects where bucket_id = $1 and name = $2`,
    [bucketId, name],
  )
  return object
}

/** Those of the names the caller may see. */
export async function findNames(sql: Sql, bucketId: string, names: string[]): Promise<Set<string>> {
  const rows = await sql.query<{ name: string }>(
    'select name from storage.objects where bucket_id = $1 and name = any ($2::text[])',
    [bucketId, names],
  )
  return new Set(rows.map((row) => row.name))
}

export type NewObject = {
  id: string
  bucketId: string
  name: string
  ownerId: string | null
  version: string
  metadata: ObjectMetadata | null
  userMetadata: Record<string, unknown> | null
}

/**
 * Inserts the row, or replaces the one of the same name. Returns nothing on purpose: with `returning` an upload would
 * need the right to read, which the platform does not ask for.
 */
export async function writeObject(sql: Sql, object: NewObject, upsert: boolean): Promise<void> {
  const replace = `on conflict (bucket_id, name) do update set
    owner = excluded.owner, owner_id = excluded.owner_id, version = excluded.version, metadata = excluded.metadata,
    user_metadata = excluded.user_metadata, updated_at = now(), last_accessed_at = now()`
  await sql.query(
    `insert into storage.objects (id, bucket_id, name, owner, owner_id, version, metadata, user_metadata)
     values ($1::uuid, $2, $3, $4::uuid, $5, $6, $7::jsonb, $8::jsonb) ${upsert ? replace : ''}`,
    [
      object.id,
      object.bucketId,
      object.name,
      asUuid(object.ownerId),
      object.ownerId,
      object.version,
      object.metadata && JSON.stringify(object.metadata),
      object.userMetadata && JSON.stringify(object.userMetadata),
    ],
  )
}

/** Renames an object; false if the caller may not change it. */
export async function renameObject(sql: Sql, id: string, target: ObjectRef, ownerId: string | null): Promise<boolean> {
  const changed = await sql.query(
    `update storage.objects set bucket_id = $2, name = $3, version = $4,
       owner = coalesce($5::uuid, owner), owner_id = coalesce($6, owner_id), updated_at = now()
     where id = $1::uuid returning id`,
    [id, target.bucketId, target.name, target.version, asUuid(ownerId), ownerId],
  )
  return changed.length > 0
}

/** Deletes those of the names the caller may delete (all of the bucket without names) and returns them. */
export async function deleteObjects(sql: Sql, bucketId: string, names: string[] | 'all'): Promise<ObjectRow[]> {
  return await sql.query<ObjectRow>(
    `delete from storage.objects where bucket_id = $1 and ($2::text[] is null or name = any ($2::text[]))
     returning ${OBJECT_COLUMNS}`,
    [bucketId, names === 'all' ? null : names],
  )
}

/** Which of the versions have a row. */
export async function existingVersions(sql: Sql, versions: string[]): Promise<Set<string>> {
  const rows = await sql.query<{ ref: string }>(
    `select bucket_id || '/' || name || '/' || version as ref from storage.objects where version = any ($1::text[])`,
    [versions],
  )
  return new Set(rows.map((row) => row.ref))
}

/** The reference to the bytes of a row; null for a row that never had any. */
export function refOf(row: Pick<ObjectRow, 'bucket_id' | 'name' | 'version'>): ObjectRef | null {
  return row.version === null ? null : { bucketId: row.bucket_id, name: row.name, version: row.version }
}

/** Escapes the wildcards of `like`. */
export function escapeLike(text: string): string {
  return text.replace(/[\\%_]/g, '\\$&')
}

function asUuid(id: string | null): string | null {
  return id && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id) ? id : null
}
