import { Hono } from 'hono'
import { z } from 'zod'
import { readJson, requireCaller, targetOf, type StorageServices } from '../context.ts'
import { StorageError } from '../errors.ts'
import { listFolder, listV2 } from '../listing.ts'
import { isValidKey, requireBucketName, requireKey } from '../names.ts'
import type { ObjectMetadata, ObjectRow } from '../rows.ts'

const limit = z.number().int().min(1).max(10_000)
const order = z.enum(['asc', 'desc']).default('asc')
const listRequest = z.object({
  prefix: z.string().max(1024).default(''),
  search: z.string().max(1024).default(''),
  limit: limit.default(100),
  offset: z.number().int().nonnegative().default(0),
  sortBy: z
    .object({ column: z.enum(['name', 'updated_at', 'created_at', 'last_accessed_at']).default('name'), order })
    .default({ column: 'name', order: 'asc' }),
})
const listV2Request = z.object({
  prefix: z.string().max(1024).default(''),
  limit: limit.max(1000).default(100),
  cursor: z.string().max(4096).optional(),
  with_delimiter: z.boolean().default(false),
  sortBy: z
    .object({ column: z.enum(['name', 'updated_at', 'created_at']), order })
    .default({ column: 'name', order: 'asc' }),
})
const removeRequest = z.object({ prefixes: z.array(z.string()).min(1).max(1000) })
const moveRequest = z.object({
  bucketId: z.string(),
  sourceKey: z.string().min(1),
  destinationBucket: z.string().optional(),
  destinationKey: z.string().min(1),
})
const headerText = z.string().regex(/^[\x20-\x7e]{1,255}$/)
const copyRequest = moveRequest.extend({
  copyMetadata: z.boolean().default(true),
  metadata: z
    .object({
      cacheControl: headerText.optional(),
      mimetype: headerText.optional(),
      contentEncoding: headerText.optional(),
    })
    .default({}),
})

/** Listing, removing, moving and copying, all under the caller's row-level security. */
export function objectRoutes(services: StorageServices): Hono {
  const { store } = services
  const app = new Hono()

  app.post('/list/:bucket', async (c) => {
    const { caller } = await requireCaller(c, services, 'storage.object.list')
    const bucketId = requireBucketName(c.req.param('bucket'))
    const options = await readJson(c, listRequest)
    return c.json(await store.as(caller, (tx) => listFolder(tx, bucketId, options)))
  })

  app.post('/list-v2/:bucket', async (c) => {
    const { caller } = await requireCaller(c, services, 'storage.object.list_v2')
    const bucketId = requireBucketName(c.req.param('bucket'))
    const { with_delimiter: withDelimiter, cursor, ...options } = await readJson(c, listV2Request)
    return c.json(await store.as(caller, (tx) => listV2(tx, bucketId, { ...options, cursor, withDelimiter })))
  })

  app.delete('/:bucket', async (c) => {
    const { caller } = await requireCaller(c, services, 'storage.object.delete_many')
    const bucketId = requireBucketName(c.req.param('bucket'))
    const { prefixes } = await readJson(c, removeRequest)
    const deleted = await store.remove(caller, bucketId, prefixes.filter(isValidKey))
    return c.json(deleted.map(describe))
  })

  app.delete('/:bucket/:key{.+}', async (c) => {
    const { caller } = await requireCaller(c, services, 'storage.object.delete')
    const { bucketId, name } = targetOf(c)
    const deleted = await store.remove(caller, bucketId, [name])
    if (deleted.length === 0) throw new StorageError('NoSuchKey')
    return c.json({ message: 'Successfully deleted' })
  })

  app.post('/move', async (c) => {
    const { caller, ownerId } = await requireCaller(c, services, 'storage.object.move')
    const { from, to } = ends(await readJson(c, moveRequest))
    await store.find(caller, from)
    await store.bucket(to.bucketId)
    const row = await store.move(caller, from, to, ownerId)
    return c.json({ message: 'Successfully moved', Id: row.id, Key: `${to.bucketId}/${to.name}` })
  })

  app.post('/copy', async (c) => {
    const { caller, ownerId } = await requireCaller(c, services, 'storage.object.copy')
    const body = await readJson(c, copyRequest)
    const { from, to } = ends(body)
    const change = body.copyMetadata ? {} : { metadata: defined(body.metadata), userMetadata: null }
    const source = await store.find(caller, from)
    const bucket = await store.bucket(to.bucketId)
    const mimetype = change.metadata?.mimetype ?? source.metadata?.mimetype ?? ''
    const maxBytes = store.limitFor(bucket, mimetype)
    if ((source.metadata?.size ?? 0) > maxBytes) throw new StorageError('EntityTooLarge')
    const upsert = c.req.header('x-upsert') === 'true'
    const row = await store.copy(caller, from, { ...to, ownerId, upsert }, change)
    return c.json({ Id: row.id, Key: `${to.bucketId}/${to.name}`, ...describe(row) })
  })

  return app
}

function ends(body: z.infer<typeof moveRequest>) {
  return {
    from: { bucketId: requireBucketName(body.bucketId), name: requireKey(body.sourceKey) },
    to: { bucketId: requireBucketName(body.destinationBucket ?? body.bucketId), name: requireKey(body.destinationKey) },
  }
}

function describe(row: ObjectRow) {
  const { id, name, bucket_id, owner_id, version, metadata, user_metadata, ...times } = row
  return { id, name, bucket_id, owner: owner_id ?? '', owner_id, version, metadata, user_metadata, ...times }
}

function defined(metadata: z.infer<typeof copyRequest>['metadata']): Partial<ObjectMetadata> {
  return Object.fromEntries(Object.entries(metadata).filter(([, value]) => value !== undefined))
}
