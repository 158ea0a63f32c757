import type { Context } from 'hono'
import type { z } from 'zod'
import type { DbCaller } from '../database/database.ts'
import { during, ownerOf, resolveCaller, type CallerOptions } from './caller.ts'
import { StorageError } from './errors.ts'
import { bodyOf } from './upload-body.ts'
import { readText } from './form.ts'
import { requireBucketName, requireKey } from './names.ts'
import type { ObjectStore } from './object-store.ts'
import type { UrlSigner } from './signing.ts'

/** What every route works with. */
export type StorageServices = { store: ObjectStore; signer: UrlSigner; callers: CallerOptions }

const MAX_JSON_BYTES = 1024 * 1024

/**
 * The caller of an operation that needs one.
 * @throws StorageError `InvalidRequest` without credentials, `AccessDenied` with invalid ones
 */
export async function requireCaller(c: Context, services: StorageServices, operation: string) {
  const caller = await resolveCaller(c.req.raw, services.callers)
  if (!caller) throw new StorageError('InvalidRequest', "headers must have required property 'authorization'")
  return { caller: during(caller, operation), ownerId: ownerOf(caller) } satisfies {
    caller: DbCaller
    ownerId: string | null
  }
}

/** The JSON body in the given shape. @throws StorageError `InvalidRequest` */
export async function readJson<T>(c: Context, schema: z.ZodType<T>): Promise<T> {
  const text = await readText(bodyOf(c.req.raw), MAX_JSON_BYTES)
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    throw new StorageError('InvalidRequest', 'The body is not valid JSON')
  }
  const { success, data, error } = schema.safeParse(json)
  if (success) return data
  const [issue] = error.issues
  throw new StorageError('InvalidRequest', `body/${issue?.path.join('/') ?? ''} ${issue?.message ?? 'is invalid'}`)
}

/** Bucket and key of a path `/:bucket/:key{.+}`, checked. @throws StorageError */
export function targetOf(c: Context): { bucketId: string; name: string } {
  const { bucket, key } = c.req.param() as { bucket?: string; key?: string }
  return { bucketId: requireBucketName(bucket ?? ''), name: requireKey(key ?? '') }
}
