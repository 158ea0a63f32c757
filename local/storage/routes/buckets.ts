import { Hono } from 'hono'
import { z } from 'zod'
import { readJson, requireCaller, type StorageServices } from '../context.ts'
import { StorageError } from '../errors.ts'
import { parseSize, requireBucketName } from '../names.ts'
import { SERVICE, type ObjectStore } from '../object-store.ts'
import * as rows from '../rows.ts'

const settings = {
  public: z.boolean().nullish(),
  file_size_limit: z.union([z.number().int().nonnegative(), z.string()]).nullish(),
  allowed_mime_types: z.array(z.string().min(1).max(255)).max(200).nullish(),
}
const createRequest = z.object({
  ...settings,
  name: z.string(),
  id: z.string().optional(),
  type: z.literal('STANDARD', { error: 'must be STANDARD: the local stack has no other kind' }).nullish(),
})
const updateRequest = z.object(settings)
const listQuery = z.object({
  limit: z.coerce.number().int().min(1).max(10_000).default(10_000),
  offset: z.coerce.number().int().nonnegative().default(0),
  sortColumn: z.enum(['id', 'name', 'created_at', 'updated_at']).default('name'),
  sortOrder: z.enum(['asc', 'desc']).default('asc'),
  search: z.string().max(100).default(''),
})

/** Buckets: whoever row-level security of `storage.buckets` lets, which without policies is the service role alone. */
export function bucketRoutes(services: StorageServices): Hono {
  const { store } = services
  const app = new Hono()

  app.post('/', async (c) => {
    const { caller, ownerId } = await requireCaller(c, services, 'storage.bucket.create')
    const body = await readJson(c, createRequest)
    const id = requireBucketName(body.id ?? body.name)
    await store.as(caller, (tx) => rows.insertBucket(tx, id, ownerId, toSettings(body, store)))
    return c.json({ name: id })
  })

  app.get('/', async (c) => {
    const { caller } = await requireCaller(c, services, 'storage.bucket.list')
    const { success, data } = listQuery.safeParse(c.req.query())
    if (!success) throw new StorageError('InvalidRequest', 'querystring is invalid')
    return c.json((await store.as(caller, (tx) => rows.listBuckets(tx, data))).map(render))
  })

  app.get('/:bucket', async (c) => {
    const { caller } = await requireCaller(c, services, 'storage.bucket.get')
    return c.json(render(found(await store.as(caller, (tx) => rows.findBucket(tx, c.req.param('bucket'))))))
  })

  app.put('/:bucket', async (c) => {
    const { caller } = await requireCaller(c, services, 'storage.bucket.update')
    const change = toSettings(await readJson(c, updateRequest), store)
    if (!(await store.as(caller, (tx) => rows.updateBucket(tx, c.req.param('bucket'), change)))) found(undefined)
    return c.json({ message: 'Successfully updated' })
  })

  app.post('/:bucket/empty', async (c) => {
    const { caller } = await requireCaller(c, services, 'storage.bucket.empty')
    const bucket = found(await store.as(caller, (tx) => rows.findBucket(tx, c.req.param('bucket'))))
    await store.remove(caller, bucket.id, 'all')
    return c.json({ message: 'Successfully emptied' })
  })

  app.delete('/:bucket', async (c) => {
    const { caller } = await requireCaller(c, services, 'storage.bucket.delete')
    const bucket = found(await store.as(caller, (tx) => rows.findBucket(tx, c.req.param('bucket'))))
    if (!(await isEmpty(store, bucket.id))) throw new StorageError('ResourceNotEmpty')
    if (!(await store.as(caller, (tx) => rows.deleteBucket(tx, bucket.id)))) found(undefined)
    return c.json({ message: 'Successfully deleted' })
  })

  return app
}

/** True when no object is left in the bucket, whoever could see it. */
export async function isEmpty(store: ObjectStore, bucketId: string): Promise<boolean> {
  const left = await store.as(SERVICE, (tx) =>
    tx.query('select 1 from storage.objects where bucket_id = $1 limit 1', [bucketId]),
  )
  return left.length === 0
}

function found(bucket: rows.BucketRow | undefined): rows.BucketRow {
  if (!bucket) throw new StorageError('NoSuchBucket')
  return bucket
}

function toSettings(body: z.infer<typeof updateRequest>, store: ObjectStore): rows.BucketSettings {
  const limit = body.file_size_limit
  const fileSizeLimit = limit === undefined || limit === null ? limit : parseSize(limit)
  if (fileSizeLimit && fileSizeLimit > store.fileSizeLimit) throw new StorageError('EntityTooLarge')
  return { public: body.public ?? undefined, fileSizeLimit, allowedMimeTypes: body.allowed_mime_types }
}

function render(bucket: rows.BucketRow) {
  return { ...bucket, owner: bucket.owner ?? '', type: 'STANDARD' }
}
