import { randomUUID } from 'node:crypto'
import type { Database, DbCaller, Sql } from '../database/database.ts'
import { StorageError } from './errors.ts'
import type { FileStore, ObjectRef, StoredFile, ReceivedFile } from './files.ts'
import { requireMimeType } from './names.ts'
import * as rows from './rows.ts'
import type { BucketRow, ObjectMetadata, ObjectRow } from './rows.ts'

/** The storage service itself: what the platform does as its own superuser, and what S3 keys may do. */
export const SERVICE: DbCaller = { role: 'service_role', claims: { role: 'service_role' } }

/** Where an object goes and what is said about it. */
export type ObjectSpec = {
  bucketId: string
  name: string
  ownerId: string | null
  upsert: boolean
  mimetype: string
  cacheControl: string
  contentEncoding?: string | undefined
  userMetadata: Record<string, unknown> | null
  /** Base64; only when the uploader vouched for it. */
  checksumSHA256?: string | undefined
  /** Unquoted; default is the MD5 of the bytes. */
  eTag?: string | undefined
}

export type Target = { bucketId: string; name: string }

/** What a recovery found after a crash. */
export type Recovery = { changes: number; removedFiles: number }

/**
 * Keeps rows and bytes together. A write places the bytes before its row is committed, a removal deletes them after,
 * and a journal names the versions in between: so no row is ever without bytes, and bytes without a row are found.
 */
export class ObjectStore {
  readonly files: FileStore
  readonly #db: Database
  /** Upper bound for every upload, bytes. */
  readonly #fileSizeLimit: number

  constructor(options: { db: Database; files: FileStore; fileSizeLimit: number }) {
    this.#db = options.db
    this.files = options.files
    this.#fileSizeLimit = options.fileSizeLimit
  }

  get fileSizeLimit(): number {
    return this.#fileSizeLimit
  }

  /** One transaction of the caller, under row-level security. */
  async as<T>(caller: DbCaller, work: (tx: Sql) => Promise<T>): Promise<T> {
    return await this.#db.asCaller(caller, work)
  }

  /** The bucket, whoever asks. @throws StorageError `NoSuchBucket` */
  async bucket(bucketId: string): Promise<BucketRow> {
    const bucket = await this.as(SERVICE, (tx) => rows.findBucket(tx, bucketId))
    if (!bucket) throw new StorageError('NoSuchBucket')
    return bucket
  }

  /**
   * The most bytes an object in this bucket may have.
   * @throws StorageError `InvalidMimeType` if the bucket does not take the type
   */
  limitFor(bucket: BucketRow, mimetype: string): number {
    requireMimeType(mimetype, bucket.allowed_mime_types)
    return Math.min(this.#fileSizeLimit, bucket.file_size_limit ?? Infinity)
  }

  /** Fails exactly as the write would, before any byte is taken. */
  async requireWritable(caller: DbCaller, spec: Target & { ownerId: string | null; upsert: boolean }): Promise<void> {
    const rollback = new Error('The trial insert is undone')
    try {
      await this.as(caller, async (tx) => {
        await rows.writeObject(
          tx,
          { ...spec, id: randomUUID(), version: randomUUID(), metadata: null, userMetadata: null },
          spec.upsert,
        )
        throw rollback
      })
    } catch (error) {
      if (error !== rollback) throw error
    }
  }

  /** Makes received bytes an object. The temporary file is gone afterwards, whatever happens. */
  async put(caller: DbCaller, spec: ObjectSpec, received: ReceivedFile): Promise<ObjectRow> {
    const target = { bucketId: spec.bucketId, name: spec.name, version: randomUUID() }
    try {
      return await this.#change(caller, [target], async (tx, note) => {
        const row = await this.#replace(tx, target, spec, note, describe(spec, received))
        await this.files.place(received, target)
        return row
      })
    } finally {
      await this.files.discard(received)
    }
  }

  /** The object, if the caller may see it. @throws StorageError `NoSuchKey` */
  async find(caller: DbCaller, { bucketId, name }: Target): Promise<ObjectRow> {
    const row = await this.as(caller, (tx) => rows.findObject(tx, bucketId, name))
    if (!row?.metadata || row.version === null) throw new StorageError('NoSuchKey')
    return row
  }

  /** The bytes of a row. @throws StorageError `NoSuchKey` if there are none */
  async bytes(row: ObjectRow): Promise<StoredFile> {
    const ref = rows.refOf(row)
    const file = ref && (await this.files.find(ref))
    if (!file) throw new StorageError('NoSuchKey')
    return file
  }

  /** Deletes what the caller may delete of the names and returns the rows. */
  async remove(caller: DbCaller, bucketId: string, names: string[] | 'all'): Promise<ObjectRow[]> {
    return await this.#change(caller, [], async (tx, note) => {
      const deleted = await rows.deleteObjects(tx, bucketId, names)
      await note(deleted.map(rows.refOf))
      return deleted
    })
  }

  /** Renames an object. @throws StorageError `NoSuchKey` if the caller may not see or not change it */
  async move(caller: DbCaller, from: Target, to: Target, ownerId: string | null): Promise<ObjectRow> {
    const target = { ...to, version: randomUUID() }
    return await this.#change(caller, [target], async (tx, note) => {
      await lockBoth(tx, from, to)
      const row = await rows.findObject(tx, from.bucketId, from.name)
      const source = row && rows.refOf(row)
      if (!row || !source) throw new StorageError('NoSuchKey')
      await note([source])
      if (!(await rows.renameObject(tx, row.id, target, ownerId))) throw new StorageError('NoSuchKey')
      await this.files.duplicate(source, target)
      return { ...row, bucket_id: to.bucketId, name: to.name, version: target.version }
    })
  }

  /** Copies an object the caller may see to a name it may write. */
  async copy(
    caller: DbCaller,
    from: Target,
    spec: Target & { ownerId: string | null; upsert: boolean },
    change: { metadata?: Partial<ObjectMetadata>; userMetadata?: Record<string, unknown> | null } = {},
  ): Promise<ObjectRow> {
    const target = { bucketId: spec.bucketId, name: spec.name, version: randomUUID() }
    return await this.#change(caller, [target], async (tx, note) => {
      await lockBoth(tx, from, spec)
      const row = await rows.findObject(tx, from.bucketId, from.name)
      const source = row && rows.refOf(row)
      if (!row?.metadata || !source) throw new StorageError('NoSuchKey')
      const metadata = { ...row.metadata, ...change.metadata, lastModified: new Date().toISOString() }
      const userMetadata = change.userMetadata === undefined ? row.user_metadata : change.userMetadata
      const copied = await this.#replace(tx, target, { ...spec, userMetadata }, note, metadata)
      await this.files.duplicate(source, target)
      return copied
    })
  }

  /** Settles what a crash interrupted. Run it once at start, before requests are served. */
  async recover(): Promise<Recovery> {
    const recovery = { changes: 0, removedFiles: 0 }
    for (const { id, refs } of await this.files.readJournals()) {
      recovery.changes += 1
      recovery.removedFiles += await this.#removeUnreferenced(refs)
      await this.files.eraseJournal(id)
    }
    return recovery
  }

  /** Writes the row of a target; notes the version it replaces. */
  async #replace(
    tx: Sql,
    target: ObjectRef,
    spec: { ownerId: string | null; upsert: boolean; userMetadata: Record<string, unknown> | null },
    note: (refs: (ObjectRef | null)[]) => Promise<void>,
    metadata: ObjectMetadata,
  ): Promise<ObjectRow> {
    await rows.lockKey(tx, target.bucketId, target.name)
    const replaced = spec.upsert ? await rows.findObject(tx, target.bucketId, target.name) : undefined
    await note(replaced ? [rows.refOf(replaced)] : [])
    const id = replaced?.id ?? randomUUID()
    await rows.writeObject(tx, { ...spec, ...target, id, metadata }, spec.upsert)
    return {
      id,
      bucket_id: target.bucketId,
      name: target.name,
      owner_id: spec.ownerId,
      version: target.version,
      metadata,
      user_metadata: spec.userMetadata,
      created_at: replaced?.created_at ?? metadata.lastModified,
      updated_at: metadata.lastModified,
      last_accessed_at: metadata.lastModified,
    }
  }

  /**
   * Runs a change of rows as the caller. Afterwards, committed or not, the database says which of the touched versions
   * still have a row, and the bytes of the others go; if it cannot answer, the journal keeps the question for `recover`.
   */
  async #change<T>(
    caller: DbCaller,
    created: ObjectRef[],
    work: (tx: Sql, note: (refs: (ObjectRef | null)[]) => Promise<void>) => Promise<T>,
  ): Promise<T> {
    const touched = [...created]
    let journal: string | undefined
    const note = async (refs: (ObjectRef | null)[]) => {
      touched.push(...refs.filter((ref) => ref !== null))
      if (touched.length > 0) journal = await this.files.writeJournal(touched)
    }
    try {
      return await this.as(caller, (tx) => work(tx, note))
    } finally {
      if (journal !== undefined) {
        const written = journal
        await this.#removeUnreferenced(touched)
          .then(() => this.files.eraseJournal(written))
          .catch((error: unknown) => console.error('storage: a change is left to the next start', error))
      }
    }
  }

  async #removeUnreferenced(refs: ObjectRef[]): Promise<number> {
    const versions = refs.map((ref) => ref.version)
    const existing = await this.as(SERVICE, (tx) => rows.existingVersions(tx, versions))
    const unreferenced = refs.filter((ref) => !existing.has(`${ref.bucketId}/${ref.name}/${ref.version}`))
    for (const ref of unreferenced) await this.files.remove(ref)
    return unreferenced.length
  }
}

/** Same order for everyone, so that two opposite moves cannot wait for each other forever. */
async function lockBoth(tx: Sql, one: Target, other: Target): Promise<void> {
  const targets = [one, other].sort((a, b) => (`${a.bucketId}/${a.name}` < `${b.bucketId}/${b.name}` ? -1 : 1))
  for (const target of targets) await rows.lockKey(tx, target.bucketId, target.name)
}

function describe(spec: ObjectSpec, received: ReceivedFile): ObjectMetadata {
  const eTag = spec.eTag ?? received.digests.md5?.toString('hex') ?? ''
  return {
    eTag: `"${eTag}"`,
    size: received.sizeBytes,
    mimetype: spec.mimetype,
    cacheControl: spec.cacheControl,
    lastModified: new Date().toISOString(),
    contentLength: received.sizeBytes,
    httpStatusCode: 200,
    ...(spec.contentEncoding && { contentEncoding: spec.contentEncoding }),
    ...(spec.checksumSHA256 && { checksumSHA256: spec.checksumSHA256 }),
  }
}
