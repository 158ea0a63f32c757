import { Hono } from 'hono'
import type { ResolveApiKey, TokenAuthority } from '../auth/tokens.ts'
import type { Database } from '../database/database.ts'
import type { StorageServices } from './context.ts'
import { renderError, StorageError, toStorageError } from './errors.ts'
import { watchForAbort, type FileStore } from './files.ts'
import { parseSize } from './names.ts'
import { ObjectStore, type Recovery } from './object-store.ts'
import { bucketRoutes } from './routes/buckets.ts'
import { downloadRoutes } from './routes/downloads.ts'
import { objectRoutes } from './routes/objects.ts'
import { uploadRoutes } from './routes/uploads.ts'
import { createUrlSigner } from './signing.ts'

export type StorageOptions = {
  db: Database
  tokens: Pick<TokenAuthority, 'verify'>
  resolveApiKey: ResolveApiKey
  files: FileStore
  /** Largest upload of all buckets, bytes or a size like `50MiB` (config.toml `[storage] file_size_limit`). */
  fileSizeLimit: number | string
  /** Signed URLs are signed with keys derived from this (the JWT secret will do). */
  urlSigningSecret: string
}

export interface StorageService {
  fetch(request: Request): Promise<Response>
  /** Settles what a crash interrupted; call once before serving. */
  recover(): Promise<Recovery>
}

/** The Storage API under `/storage/v1`: rows and rights in the `storage` schema, bytes in a file store. */
export function createStorage(options: StorageOptions): StorageService {
  const { db, files } = options
  const store = new ObjectStore({ db, files, fileSizeLimit: parseSize(options.fileSizeLimit) })
  const services: StorageServices = { store, signer: createUrlSigner(options.urlSigningSecret), callers: options }

  // One reading of the path for routing and parameters: with dot segments and their encoded forms resolved.
  const app = new Hono({ getPath: (request) => new URL(request.url).pathname }).basePath('/storage/v1')
  app.onError((error) => {
    const refusal = toStorageError(error)
    if (refusal.code === 'InternalError') console.error('storage:', error)
    return renderError(refusal)
  })
  app.notFound(() => renderError(new StorageError('NoSuchRoute')))

  app.get('/health', (c) => c.json({ healthy: true }))
  app.get('/status', (c) => c.body(null, 200))
  for (const path of ['/render/*', '/upload/*', '/cdn/*', '/vector/*', '/iceberg/*', '/bucket/:bucket/lifecycle']) {
    app.all(path, () => {
      throw new StorageError('NotSupported')
    })
  }
  app.route('/bucket', bucketRoutes(services))
  app.route('/object', objectRoutes(services))
  app.route('/object', downloadRoutes(services))
  app.route('/object', uploadRoutes(services))

  return {
    async fetch(request) {
      watchForAbort(request)
      return await app.fetch(request)
    },
    recover: () => store.recover(),
  }
}
