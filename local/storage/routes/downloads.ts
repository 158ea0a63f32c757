import { Hono, type Context } from 'hono'
import { z } from 'zod'
import { during, resolveCaller } from '../caller.ts'
import { readJson, requireCaller, targetOf, type StorageServices } from '../context.ts'
import { StorageError } from '../errors.ts'
import { isValidKey, requireBucketName } from '../names.ts'
import { SERVICE, type Target } from '../object-store.ts'
import * as rows from '../rows.ts'
import { serveObject } from '../serve.ts'

const expiresIn = z.number().int().min(1)
const notOffered = z.undefined({ error: 'is not offered by the local stack' }).optional()
const signRequest = z.object({ expiresIn, transform: notOffered, versionId: notOffered })
const signManyRequest = z.object({ expiresIn, paths: z.array(z.string()).min(1).max(1000) })

/** Reading objects and their properties: by the caller, from a public bucket, or through a signed URL. */
export function downloadRoutes(services: StorageServices): Hono {
  const { store, signer } = services
  const app = new Hono()

  const readPublic = async (c: Context, operation: string) => {
    const target = targetOf(c)
    if (!(await store.bucket(target.bucketId)).public) throw new StorageError('NoSuchBucket')
    return await store.find(during(SERVICE, operation), target)
  }
  /** Public buckets are open to everyone; others to callers whom a policy lets. */
  const readAsCaller = async (c: Context, operation: string) => {
    const target = targetOf(c)
    const caller = await resolveCaller(c.req.raw, services.callers)
    const bucket = await store.bucket(target.bucketId)
    if (!caller && !bucket.public) throw new StorageError('NoSuchBucket')
    return await store.find(during(bucket.public || !caller ? SERVICE : caller, operation), target)
  }
  const serve = async (c: Context, row: rows.ObjectRow, expires?: number) =>
    await serveObject(c.req.raw, store, row, {
      download: c.req.query('download'),
      ...(expires !== undefined && { expires }),
    })

  app.post('/sign/:bucket', async (c) => {
    const { caller } = await requireCaller(c, services, 'storage.object.sign_many')
    const bucketId = requireBucketName(c.req.param('bucket'))
    const { paths, expiresIn } = await readJson(c, signManyRequest)
    const visible = await store.as(caller, (tx) => rows.findNames(tx, bucketId, paths.filter(isValidKey)))
    const signed = paths.map(async (path) =>
      visible.has(path)
        ? { error: null, path, signedURL: await signedUrl({ bucketId, name: path }, expiresIn) }
        : { error: 'Either the object does not exist or you do not have access to it', path, signedURL: null },
    )
    return c.json(await Promise.all(signed))
  })

  app.post('/sign/:bucket/:key{.+}', async (c) => {
    const { caller } = await requireCaller(c, services, 'storage.object.sign')
    const target = targetOf(c)
    const { expiresIn } = await readJson(c, signRequest)
    await store.find(caller, target)
    return c.json({ signedURL: await signedUrl(target, expiresIn) })
  })

  const signedUrl = async ({ bucketId, name }: Target, expiresIn: number) => {
    const path = `${bucketId}/${name}`
    return `/object/sign/${path}?token=${await signer.signDownload(path, expiresIn)}`
  }

  app.get('/sign/:bucket/:key{.+}', async (c) => {
    const target = targetOf(c)
    const { exp } = await signer.verifyDownload(c.req.query('token') ?? '', `${target.bucketId}/${target.name}`)
    return await serve(c, await store.find(during(SERVICE, 'storage.object.get_signed'), target), exp)
  })

  app.get('/public/:bucket/:key{.+}', async (c) => serve(c, await readPublic(c, 'storage.object.get_public')))
  app.get('/info/public/:bucket/:key{.+}', async (c) =>
    c.json(describe(await readPublic(c, 'storage.object.info_public'))),
  )
  for (const prefix of ['/info/authenticated', '/info']) {
    app.get(`${prefix}/:bucket/:key{.+}`, async (c) =>
      c.json(describe(await readAsCaller(c, 'object.get_authenticated_info'))),
    )
  }
  for (const prefix of ['/authenticated', '']) {
    app.get(`${prefix}/:bucket/:key{.+}`, async (c) => {
      const isHead = c.req.raw.method === 'HEAD'
      const operation = isHead ? 'object.head_authenticated_info' : 'storage.object.get_authenticated'
      return await serve(c, await readAsCaller(c, operation))
    })
  }

  return app
}

function describe(row: rows.ObjectRow) {
  const { id, name, version, bucket_id, metadata, user_metadata, updated_at, created_at } = row
  return {
    ...{ id, name, version, bucket_id, created_at },
    size: metadata?.size ?? null,
    content_type: metadata?.mimetype ?? null,
    cache_control: metadata?.cacheControl ?? null,
    content_encoding: metadata?.contentEncoding ?? null,
    etag: metadata?.eTag ?? null,
    metadata: user_metadata,
    last_modified: updated_at,
  }
}
