import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { request as httpRequest } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3'
import { createClient, type SupabaseClient } from '@supabase/supabase-js'
import { afterAll, beforeAll } from 'vitest'
import { createApiKeyResolver } from '../../local/auth/api-keys.ts'
import { createTokenAuthority, generateSigningKey } from '../../local/auth/tokens.ts'
import { bootstrap } from '../../local/database/bootstrap.ts'
import type { Database, SessionDatabase } from '../../local/database/database.ts'
import { openNative } from '../../local/database/native.ts'
import { openPglite } from '../../local/database/pglite.ts'
import { createGateway, serveGateway } from '../../local/gateway.ts'
import { LOCAL_KEYS } from '../../local/keys.ts'
import { createS3 } from '../../local/s3/s3.ts'
import { openFileStore, type FileStore } from '../../local/storage/files.ts'
import { createStorage } from '../../local/storage/storage.ts'

export const { publishable: ANON_KEY, secret: SERVICE_KEY, jwtSecret: JWT_SECRET, s3: S3_KEY } = LOCAL_KEYS
export const ALICE = 'a11ce000-0000-4000-8000-000000000001'
export const BOB = 'b0b00000-0000-4000-8000-000000000002'

/** Users write and read their own folder of the private bucket `files`; `site` is public; `small` has limits. */
const BUCKETS = `
  insert into storage.buckets (id, name, public, file_size_limit, allowed_mime_types) values
    ('files', 'files', false, null, null), ('site', 'site', true, null, null),
    ('small', 'small', false, 1000, '{text/plain,image/*}'), ('locked', 'locked', false, null, null);
  create policy "people read their folder" on storage.objects for select to authenticated
    using (bucket_id in ('files', 'small') and (storage.foldername(name))[1] = (select auth.uid())::text);
  create policy "people add to their folder" on storage.objects for insert to authenticated
    with check (bucket_id in ('files', 'small') and (storage.foldername(name))[1] = (select auth.uid())::text);
  create policy "people change their folder" on storage.objects for update to authenticated
    using (bucket_id in ('files', 'small') and (storage.foldername(name))[1] = (select auth.uid())::text);
  create policy "people clear their folder" on storage.objects for delete to authenticated
    using (bucket_id in ('files', 'small') and (storage.foldername(name))[1] = (select auth.uid())::text);
`

export type StorageStack = {
  url: string
  db: Database
  files: FileStore
  token(claims: Record<string, unknown>): Promise<string>
  /** A supabase-js client: of a user by id, of anyone, or with the service key. */
  client(who: string | 'anon' | 'service'): SupabaseClient
  s3(config?: Partial<S3ClientConfig>): S3Client
  /** A request exactly as given: fetch would tidy up the path. */
  raw(options: {
    method?: string
    path: string
    headers?: Record<string, string>
    body?: string | Uint8Array
  }): Promise<{ status: number; headers: Record<string, unknown>; text: string }>
}

/** Starts Storage and S3 on a port of their own for one test file, on an empty database. */
export function useStorageStack(): StorageStack {
  const stack = {} as StorageStack
  const cleanups: (() => Promise<unknown>)[] = []
  beforeAll(async () => {
    Object.assign(stack, await start(cleanups))
  })
  afterAll(async () => {
    for (const cleanup of cleanups.reverse()) await cleanup()
  })
  return stack
}

/** The error of an answer that must be one. */
export function refused(result: { error: unknown }): { message: string; statusCode: string } {
  const error = result.error as { message: string; statusCode: string } | null
  if (!error) throw new Error('Expected a refusal')
  return { message: error.message, statusCode: error.statusCode }
}

async function start(cleanups: (() => Promise<unknown>)[]): Promise<StorageStack> {
  const { db, close } = await openDatabase()
  cleanups.push(close)
  await bootstrap(db)
  await db.exec(BUCKETS)
  const folder = await mkdtemp(join(tmpdir(), 'storage-test-'))
  cleanups.push(() => rm(folder, { recursive: true, force: true }))
  const files = await openFileStore(folder)

  const tokens = await createTokenAuthority(await generateSigningKey(), JWT_SECRET)
  const token = async (claims: Record<string, unknown>) =>
    await tokens.sign({ role: 'authenticated', exp: Math.floor(Date.now() / 1000) + 3600, ...claims })
  const shared = { db, files, fileSizeLimit: '50MiB' }
  const storage = createStorage({
    ...shared,
    tokens,
    resolveApiKey: createApiKeyResolver(LOCAL_KEYS, tokens),
    urlSigningSecret: JWT_SECRET,
  })
  const s3 = createS3({ ...shared, credentials: S3_KEY, region: S3_KEY.region })
  const absent = async () => new Response(null, { status: 404 })
  const gateway = createGateway({
    ...{ rest: absent, auth: absent, realtime: absent, functions: () => undefined },
    ...{ storage: storage.fetch, s3: s3.fetch },
  })
  const served = await serveGateway((request) => gateway.fetch(request), 0)
  cleanups.push(() => served.close())
  const { url, port } = served

  return {
    ...{ url, db, files, token },
    client(who) {
      const auth = { persistSession: false, autoRefreshToken: false }
      if (who === 'anon' || who === 'service')
        return createClient(url, who === 'anon' ? ANON_KEY : SERVICE_KEY, { auth })
      return createClient(url, ANON_KEY, { accessToken: () => token({ sub: who }) })
    },
    s3(config) {
      const client = new S3Client({
        endpoint: `${url}/storage/v1/s3`,
        region: S3_KEY.region,
        forcePathStyle: true,
        credentials: S3_KEY,
        maxAttempts: 1,
        ...config,
      })
      cleanups.push(async () => client.destroy())
      return client
    },
    raw: ({ method = 'GET', path, headers = {}, body }) =>
      new Promise((resolve, reject) => {
        const outgoing = httpRequest({ host: '127.0.0.1', port, method, path, headers }, (response) => {
          let text = ''
          response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
          response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text }))
        })
        outgoing.on('error', reject)
        outgoing.end(body)
      }),
  }
}

/** PGlite in memory, or a new database on the server that TEST_DATABASE_URL names. */
async function openDatabase(): Promise<{ db: SessionDatabase; close: () => Promise<void> }> {
  const server = process.env['TEST_DATABASE_URL']
  if (!server) {
    const db = await openPglite()
    return { db, close: () => db.close() }
  }
  const admin = await openNative({ url: server, poolSize: 1 })
  const name = `storage_${randomUUID().replaceAll('-', '')}`
  await admin.query(`create database ${name}`)
  const url = new URL(server)
  url.pathname = `/${name}`
  const db = await openNative({ url: url.href })
  const close = async () => {
    await db.close()
    await admin.query(`drop database ${name} with (force)`)
    await admin.close()
  }
  return { db, close }
}
