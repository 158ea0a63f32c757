import { Hono, type Context } from 'hono'
import { during } from '../caller.ts'
import { requireCaller, targetOf, type StorageServices } from '../context.ts'
import type { DbCaller } from '../../database/database.ts'
import { StorageError } from '../errors.ts'
import { SERVICE, type Target } from '../object-store.ts'
import { readUpload } from '../upload-body.ts'

/** Uploads: by the caller under row-level security, or by whoever holds a signed upload URL. */
export function uploadRoutes(services: StorageServices): Hono {
  const { store, signer } = services
  const app = new Hono()

  const upload = async (c: Context, caller: DbCaller, spec: Target & { ownerId: string | null; upsert: boolean }) => {
    const bucket = await store.bucket(spec.bucketId)
    await store.requireWritable(caller, spec)
    const body = await readUpload(c.req.raw)
    const maxBytes = store.limitFor(bucket, body.mimetype)
    // Said in advance that it is too large; the form around a file is never this big.
    const declaredBytes = Number(c.req.header('content-length') ?? 0)
    if (declaredBytes > maxBytes + 2 * 1024 * 1024) throw new StorageError('EntityTooLarge')
    const received = await store.files.receive(body.bytes, { maxBytes })
    await body.finish().catch(async (error: unknown) => {
      await store.files.discard(received)
      throw error
    })
    const row = await store.put(caller, { ...body, ...spec }, received)
    return c.json({ Id: row.id, Key: `${spec.bucketId}/${spec.name}` })
  }

  app.post('/upload/sign/:bucket/:key{.+}', async (c) => {
    const { caller, ownerId } = await requireCaller(c, services, 'storage.object.sign_upload_url')
    const target = targetOf(c)
    const upsert = isUpsert(c)
    await store.bucket(target.bucketId)
    await store.requireWritable(caller, { ...target, ownerId, upsert })
    const path = `${target.bucketId}/${target.name}`
    const token = await signer.signUpload(path, { owner: ownerId, upsert })
    return c.json({ url: `/object/upload/sign/${path}?token=${token}`, token })
  })

  app.put('/upload/sign/:bucket/:key{.+}', async (c) => {
    const target = targetOf(c)
    const grant = await signer.verifyUpload(c.req.query('token') ?? '', `${target.bucketId}/${target.name}`)
    // The signer checked the rights of whoever asked for the URL.
    const caller = during(SERVICE, 'storage.object.upload_signed')
    return await upload(c, caller, { ...target, ownerId: grant.owner, upsert: grant.upsert })
  })

  app.post('/:bucket/:key{.+}', async (c) => {
    const { caller, ownerId } = await requireCaller(c, services, 'storage.object.upload')
    return await upload(c, caller, { ...targetOf(c), ownerId, upsert: isUpsert(c) })
  })

  app.put('/:bucket/:key{.+}', async (c) => {
    const { caller, ownerId } = await requireCaller(c, services, 'storage.object.upload_update')
    return await upload(c, caller, { ...targetOf(c), ownerId, upsert: true })
  })

  return app
}

function isUpsert(c: Context): boolean {
  return c.req.header('x-upsert') === 'true'
}
