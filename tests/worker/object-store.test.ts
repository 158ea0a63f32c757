import { createHash, randomBytes } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import {
  attachment,
  createObjectStore,
  objectStoreFromEnv,
  ObjectMissingError,
  type ObjectStore,
  type PresignedRequest,
} from '../../supabase/functions/_shared/object-store.ts'
import { useStack } from '../support/stack.ts'

const stack = useStack()
let store: ObjectStore
beforeAll(() => {
  store = objectStoreFromEnv(stack.stack.env)
})

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')
const freshKey = (name = "a file (1), it's new.pdf") => `${crypto.randomUUID()}/${crypto.randomUUID()}/${name}`
const contentType = 'application/pdf'

async function read(key: string): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  for await (const part of (await store.get(key)).stream) parts.push(part)
  return new Uint8Array(Buffer.concat(parts))
}

/** Makes a presigned request; the size header is left to the client, as a browser does. */
const make = ({ url, method, headers }: PresignedRequest, body?: Uint8Array, more: Record<string, string> = {}) => {
  const { 'content-length': _, ...sent } = { ...headers, ...more }
  return fetch(url, { method, headers: sent, ...(body ? { body: body as Uint8Array<ArrayBuffer> } : {}) })
}

describe('objects', () => {
  test('are stored, described, read and removed', async () => {
    const key = freshKey()
    const bytes = new Uint8Array(randomBytes(200_000))
    await store.put(key, bytes, { contentType, sha256: sha256(bytes) })
    expect(await store.head(key)).toEqual({ sizeBytes: bytes.length, contentType })
    expect((await store.get(key)).sizeBytes).toBe(bytes.length)
    expect(sha256(await read(key))).toBe(sha256(bytes))
    await store.delete(key)
    expect(await store.head(key)).toBeNull()
    await expect(store.get(key)).rejects.toThrow(ObjectMissingError)
    await store.delete(key)
  })

  test('are not stored with another hash than the announced one', async () => {
    const key = freshKey()
    await expect(
      store.put(key, new Uint8Array([1, 2, 3]), { contentType, sha256: sha256(new Uint8Array([4])) }),
    ).rejects.toThrow()
    expect(await store.head(key)).toBeNull()
  })

  test('need the right secret', async () => {
    const { env } = stack.stack
    const stranger = createObjectStore({
      endpoint: env['S3_ENDPOINT'] as string,
      region: env['S3_REGION'] as string,
      bucket: env['S3_BUCKET'] as string,
      accessKeyId: env['S3_ACCESS_KEY_ID'] as string,
      secretAccessKey: 'another secret',
    })
    await expect(stranger.head(freshKey())).rejects.toThrow()
  })
})

describe('a presigned upload', () => {
  const bytes = new Uint8Array(randomBytes(5_000))
  const presign = (key: string, more: { expiresInSeconds?: number } = {}) =>
    store.presignPut(key, {
      contentType,
      sizeBytes: bytes.length,
      sha256: sha256(bytes),
      expiresInSeconds: 300,
      ...more,
    })

  test('takes exactly the announced bytes', async () => {
    const key = freshKey()
    const request = await presign(key)
    expect((await make(request, bytes)).status).toBe(200)
    expect(sha256(await read(key))).toBe(sha256(bytes))
  })

  const refused: [string, (request: PresignedRequest) => Promise<Response>][] = [
    ['other bytes of the same size', (request) => make(request, bytes.slice().fill(0, 0, 10))],
    ['more bytes', (request) => make(request, new Uint8Array(5_001))],
    ['another type', (request) => make(request, bytes, { 'content-type': 'text/html' })],
    [
      'another hash header',
      (request) => make(request, bytes, { 'x-amz-checksum-sha256': Buffer.alloc(32).toString('base64') }),
    ],
    [
      'no hash header',
      ({ url }) => fetch(url, { method: 'PUT', headers: { 'content-type': contentType }, body: bytes }),
    ],
    ['another key', ({ url, ...request }) => make({ ...request, url: url.replace('.pdf?', '2.pdf?') }, bytes)],
  ]
  test.each(refused)('refuses %s', async (_, attempt) => {
    const key = freshKey()
    const response = await attempt(await presign(key))
    expect(response.status).toBeGreaterThanOrEqual(400)
    expect(response.status).toBeLessThan(500)
    expect(await store.head(key)).toBeNull()
  })

  test('expires', async () => {
    const request = await presign(freshKey(), { expiresInSeconds: 1 })
    await new Promise((resolve) => setTimeout(resolve, 2_500))
    expect((await make(request, bytes)).status).toBe(403)
  })
})

describe('a presigned download', () => {
  test('is an attachment under its name, for a minute at most', async () => {
    const key = freshKey()
    const bytes = new Uint8Array([1, 2, 3])
    await store.put(key, bytes, { contentType: 'text/html', sha256: sha256(bytes) })
    const request = await store.presignGet(key, { fileName: 'Übersicht "1".pdf', contentType, expiresInSeconds: 3_600 })
    expect(new URL(request.url).searchParams.get('X-Amz-Expires')).toBe('60')
    expect(Date.parse(request.expiresAt) - Date.now()).toBeLessThanOrEqual(60_000)
    const response = await make(request)
    expect(response.status).toBe(200)
    expect(response.headers.get('content-disposition')).toBe(attachment('Übersicht "1".pdf'))
    expect(response.headers.get('content-type')).toBe(contentType)
    expect(new Uint8Array(await response.arrayBuffer())).toEqual(bytes)
  })

  test('names survive header injection and non-ASCII characters', () => {
    expect(attachment('Übersicht "1"\r\nx: y.pdf')).toBe(
      `attachment; filename="_bersicht _1___x: y.pdf"; filename*=UTF-8''%C3%9Cbersicht%20%221%22%0D%0Ax%3A%20y.pdf`,
    )
  })
})
