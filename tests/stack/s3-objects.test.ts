import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import {
  CopyObjectCommand,
  CreateBucketCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetBucketLocationCommand,
  GetObjectAclCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  ListObjectsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3'
import { beforeAll, describe, expect, test } from 'vitest'
import { ALICE, useStorageStack } from './storage-support.ts'

const stack = useStorageStack()
const Bucket = 'files'
const sha256 = (body: string | Uint8Array) => createHash('sha256').update(body).digest('base64')

describe.each([
  [
    'checksums when required',
    { requestChecksumCalculation: 'WHEN_REQUIRED', responseChecksumValidation: 'WHEN_REQUIRED' },
  ],
  ['default checksums', {}],
] as const)('%s', (_, config) => {
  let s3: S3Client
  beforeAll(() => {
    s3 = stack.s3(config)
  })
  const put = async (Key: string, Body: string | Uint8Array | Readable, more: object = {}) =>
    await s3.send(new PutObjectCommand({ Bucket, Key, Body, ...more }))
  const read = async (Key: string, more: object = {}) => {
    const { Body, ...rest } = await s3.send(new GetObjectCommand({ Bucket, Key, ...more }))
    return { ...rest, text: await Body?.transformToString() }
  }

  test('put, get, head and delete', async () => {
    const before = Math.floor(Date.now() / 1000) * 1000
    const stored = await put('s3/a file.txt', 'content', {
      ContentType: 'text/plain',
      CacheControl: 'max-age=5',
      Metadata: { team: 'blue' },
    })
    expect(stored.ETag).toBe('"9a0364b9e99bb480dd25e1f0284c8555"')
    const object = await read('s3/a file.txt')
    expect(object).toMatchObject({
      text: 'content',
      ContentType: 'text/plain',
      CacheControl: 'max-age=5',
      ContentLength: 7,
      Metadata: { team: 'blue' },
      ETag: stored.ETag,
    })
    expect(object.LastModified?.getTime()).toBeGreaterThanOrEqual(before)
    const head = await s3.send(new HeadObjectCommand({ Bucket, Key: 's3/a file.txt' }))
    expect(head).toMatchObject({ ContentLength: 7, ETag: stored.ETag })
    await s3.send(new DeleteObjectCommand({ Bucket, Key: 's3/a file.txt' }))
    await expect(read('s3/a file.txt')).rejects.toMatchObject({ name: 'NoSuchKey' })
    await expect(s3.send(new HeadObjectCommand({ Bucket, Key: 's3/a file.txt' }))).rejects.toMatchObject({
      name: 'NotFound',
    })
    await s3.send(new DeleteObjectCommand({ Bucket, Key: 's3/a file.txt' }))
  })

  test('a stream of 20 MB with its length arrives whole', async () => {
    const bytes = Buffer.alloc(20 * 1024 * 1024, 'abcdefgh')
    const chunks = function* () {
      for (let i = 0; i < bytes.length; i += 65536) yield bytes.subarray(i, i + 65536)
    }
    await put('s3/large.bin', Readable.from(chunks()), { ContentLength: bytes.length })
    const { Body } = await s3.send(new GetObjectCommand({ Bucket, Key: 's3/large.bin' }))
    expect(sha256((await Body?.transformToByteArray()) ?? '')).toBe(sha256(bytes))
  })

  test('a checksum that agrees is kept, one that does not refuses the object', async () => {
    const ChecksumSHA256 = sha256('vouched')
    expect((await put('s3/sum.txt', 'vouched', { ChecksumSHA256 })).ChecksumSHA256).toBe(ChecksumSHA256)
    const head = { Bucket, Key: 's3/sum.txt' } as const
    expect((await s3.send(new HeadObjectCommand({ ...head, ChecksumMode: 'ENABLED' }))).ChecksumSHA256).toBe(
      ChecksumSHA256,
    )
    expect((await s3.send(new HeadObjectCommand(head))).ChecksumSHA256).toBeUndefined()
    expect((await read('s3/sum.txt', { ChecksumMode: 'ENABLED' })).text).toBe('vouched')
    await expect(put('s3/sum.txt', 'something else', { ChecksumSHA256 })).rejects.toMatchObject({ name: 'BadDigest' })
    await expect(put('s3/sum.txt', 'x', { ContentMD5: 'AAAAAAAAAAAAAAAAAAAAAA==' })).rejects.toMatchObject({
      name: 'BadDigest',
    })
    await expect(put('s3/sum.txt', 'x', { ContentMD5: 'nonsense' })).rejects.toMatchObject({ name: 'InvalidDigest' })
    expect((await read('s3/sum.txt')).text).toBe('vouched')
    for (const ChecksumAlgorithm of ['SHA1', 'SHA256', 'CRC32'] as const) {
      await put('s3/algorithm.txt', 'x', { ChecksumAlgorithm })
      await put('s3/algorithm.txt', Readable.from([Buffer.from('x')]), { ChecksumAlgorithm, ContentLength: 1 })
    }
    await expect(put('s3/algorithm.txt', 'x', { ChecksumCRC32C: 'AAAAAA==' })).rejects.toMatchObject({
      name: 'NotImplemented',
    })
  })
})

describe('reading', () => {
  let s3: S3Client
  beforeAll(async () => {
    s3 = stack.s3()
    await s3.send(new PutObjectCommand({ Bucket, Key: 'read/digits', Body: '0123456789', ContentType: 'text/plain' }))
  })
  const get = async (more: object) => {
    const { Body, ...rest } = await s3.send(new GetObjectCommand({ Bucket, Key: 'read/digits', ...more }))
    return { ...rest, text: await Body?.transformToString() }
  }

  test('ranges', async () => {
    expect(await get({ Range: 'bytes=2-4' })).toMatchObject({
      text: '234',
      ContentRange: 'bytes 2-4/10',
      ContentLength: 3,
    })
    expect(await get({ Range: 'bytes=-3' })).toMatchObject({ text: '789', ContentRange: 'bytes 7-9/10' })
    await expect(get({ Range: 'bytes=10-' })).rejects.toMatchObject({
      name: 'InvalidRange',
      $metadata: { httpStatusCode: 416 },
    })
  })

  test('conditions', async () => {
    const { ETag } = await get({})
    expect((await get({ IfMatch: ETag })).text).toBe('0123456789')
    await expect(get({ IfMatch: '"x"' })).rejects.toMatchObject({ name: 'PreconditionFailed' })
    await expect(get({ IfNoneMatch: ETag })).rejects.toMatchObject({ $metadata: { httpStatusCode: 304 } })
  })

  test('response overrides are followed, but not into other headers', async () => {
    const changed = await get({
      ResponseContentDisposition: 'attachment; filename="d.txt"',
      ResponseContentType: 'application/pdf',
      ResponseCacheControl: 'no-store',
    })
    expect(changed).toMatchObject({
      ContentDisposition: 'attachment; filename="d.txt"',
      ContentType: 'application/pdf',
      CacheControl: 'no-store',
    })
    await expect(get({ ResponseContentType: 'text/plain\r\nx-evil: 1' })).rejects.toMatchObject({
      name: 'InvalidArgument',
    })
  })
})

describe('writing', () => {
  test('If-None-Match: * creates once', async () => {
    const s3 = stack.s3()
    const create = () => s3.send(new PutObjectCommand({ Bucket, Key: 'write/once', Body: 'x', IfNoneMatch: '*' }))
    await create()
    await expect(create()).rejects.toMatchObject({ name: 'PreconditionFailed', $metadata: { httpStatusCode: 412 } })
    const conditional = new PutObjectCommand({ Bucket, Key: 'write/once', Body: 'y', IfMatch: '"x"' })
    await expect(s3.send(conditional)).rejects.toMatchObject({ name: 'NotImplemented' })
  })

  test('limits of the bucket and of the stack hold', async () => {
    const s3 = stack.s3()
    const small = (Body: string, ContentType: string) =>
      s3.send(new PutObjectCommand({ Bucket: 'small', Key: 'a', Body, ContentType }))
    await small('x', 'text/plain')
    await expect(small('x'.repeat(1001), 'text/plain')).rejects.toMatchObject({ name: 'EntityTooLarge' })
    await expect(small('x', 'text/html')).rejects.toMatchObject({ name: 'InvalidRequest' })
    const large = new PutObjectCommand({ Bucket, Key: 'a', Body: Buffer.alloc(51 * 1024 * 1024) })
    await expect(s3.send(large)).rejects.toMatchObject({ name: 'EntityTooLarge' })
  })

  test.each(['../escape', 'a/../b', 'a//b', 'é', 'nul\0', 'back\\slash', 'x'.repeat(1025)])(
    'key %j is refused',
    async (Key) => {
      const before = await stack.db.query('select name from storage.objects order by name')
      await expect(stack.s3().send(new PutObjectCommand({ Bucket, Key, Body: 'x' }))).rejects.toThrow()
      expect(await stack.db.query('select name from storage.objects order by name')).toEqual(before)
    },
  )

  test('copy within and across buckets, with metadata kept or replaced', async () => {
    const s3 = stack.s3()
    await s3.send(
      new PutObjectCommand({
        Bucket,
        Key: 'copy/from me',
        Body: 'copied',
        ContentType: 'text/plain',
        Metadata: { a: '1' },
      }),
    )
    const copy = (to: string, more: object = {}) =>
      s3.send(
        new CopyObjectCommand({ Bucket: to, Key: 'copy/to', CopySource: encodeURI('files/copy/from me'), ...more }),
      )
    expect((await copy('small')).CopyObjectResult?.ETag).toMatch(/^"[0-9a-f]{32}"$/)
    expect((await s3.send(new HeadObjectCommand({ Bucket: 'small', Key: 'copy/to' }))).Metadata).toEqual({ a: '1' })
    await copy('files', { MetadataDirective: 'REPLACE', ContentType: 'text/css', Metadata: { b: '2' } })
    const replaced = await s3.send(new HeadObjectCommand({ Bucket, Key: 'copy/to' }))
    expect(replaced).toMatchObject({ ContentType: 'text/css', Metadata: { b: '2' } })
    const absent = new CopyObjectCommand({ Bucket, Key: 'x', CopySource: 'files/copy/absent' })
    await expect(s3.send(absent)).rejects.toMatchObject({ name: 'NoSuchKey' })
  })

  test('what is not offered is refused, not ignored', async () => {
    const s3 = stack.s3()
    const acl = new PutObjectCommand({ Bucket, Key: 'acl', Body: 'x', ACL: 'public-read' })
    await expect(s3.send(acl)).rejects.toMatchObject({ name: 'NotImplemented' })
    await expect(s3.send(new GetObjectAclCommand({ Bucket, Key: 'read/digits' }))).rejects.toMatchObject({
      name: 'NotImplemented',
    })
  })
})

describe('listing and deleting many', () => {
  const keys = ['l/a', 'l/b/1', 'l/b/2', 'l/c & <d>', 'l/e', 'l/f/1'].filter((key) => !/[<>]/.test(key))
  let s3: S3Client
  beforeAll(async () => {
    s3 = stack.s3()
    await s3.send(new CreateBucketCommand({ Bucket: 'lists' }))
    for (const Key of [...keys, 'l/c & d']) await s3.send(new PutObjectCommand({ Bucket: 'lists', Key, Body: Key }))
  })

  test('pages, prefixes and delimiters', async () => {
    const all: string[] = []
    let ContinuationToken: string | undefined
    do {
      const page = await s3.send(new ListObjectsV2Command({ Bucket: 'lists', MaxKeys: 2, ContinuationToken }))
      expect(page.KeyCount).toBeLessThanOrEqual(2)
      all.push(...(page.Contents ?? []).map((object) => object.Key ?? ''))
      ContinuationToken = page.NextContinuationToken
    } while (ContinuationToken)
    expect(all).toEqual(['l/a', 'l/b/1', 'l/b/2', 'l/c & d', 'l/e', 'l/f/1'])

    const level = { Bucket: 'lists', Prefix: 'l/', Delimiter: '/' }
    const folders = await s3.send(new ListObjectsV2Command(level))
    expect(folders.CommonPrefixes).toEqual([{ Prefix: 'l/b/' }, { Prefix: 'l/f/' }])
    expect(folders.Contents?.map((object) => object.Key)).toEqual(['l/a', 'l/c & d', 'l/e'])
    expect(folders.Contents?.[0]).toMatchObject({ Size: 3, ETag: expect.stringMatching(/^"[0-9a-f]{32}"$/) as string })
    const first = await s3.send(new ListObjectsV2Command({ ...level, MaxKeys: 2 }))
    const second = await s3.send(new ListObjectsV2Command({ ...level, ContinuationToken: first.NextContinuationToken }))
    expect([first.IsTruncated, second.IsTruncated]).toEqual([true, false])
    expect(second.Contents?.map((object) => object.Key)).toEqual(['l/c & d', 'l/e'])
    const after = await s3.send(new ListObjectsV2Command({ Bucket: 'lists', StartAfter: 'l/c', EncodingType: 'url' }))
    expect(after.Contents?.map((object) => object.Key)).toEqual(['l/c%20%26%20d', 'l/e', 'l/f/1'])
    const older = await s3.send(new ListObjectsCommand({ Bucket: 'lists', Marker: 'l/b/2', MaxKeys: 1 }))
    expect(older).toMatchObject({ IsTruncated: true, NextMarker: 'l/c & d' })
    expect((await s3.send(new ListObjectsV2Command({ Bucket: 'lists', Prefix: 'none' }))).KeyCount).toBe(0)
    expect((await s3.send(new ListObjectsV2Command({ Bucket: 'lists', Prefix: '%' }))).KeyCount).toBe(0)
  })

  test('buckets', async () => {
    const { Buckets } = await s3.send(new ListBucketsCommand({}))
    expect(Buckets?.map((bucket) => bucket.Name)).toEqual(['files', 'lists', 'locked', 'site', 'small'])
    await s3.send(new HeadBucketCommand({ Bucket: 'lists' }))
    await expect(s3.send(new HeadBucketCommand({ Bucket: 'absent' }))).rejects.toMatchObject({ name: 'NotFound' })
    expect((await s3.send(new GetBucketLocationCommand({ Bucket }))).LocationConstraint).toBe('local')
    await expect(s3.send(new CreateBucketCommand({ Bucket: 'lists' }))).rejects.toMatchObject({
      name: 'BucketAlreadyOwnedByYou',
    })
    await expect(s3.send(new DeleteBucketCommand({ Bucket: 'lists' }))).rejects.toMatchObject({
      name: 'BucketNotEmpty',
    })
    await expect(s3.send(new ListObjectsV2Command({ Bucket: 'absent' }))).rejects.toMatchObject({
      name: 'NoSuchBucket',
    })
    await expect(s3.send(new PutObjectCommand({ Bucket: 'absent', Key: 'a', Body: 'x' }))).rejects.toMatchObject({
      name: 'NoSuchBucket',
    })
  })

  test('DeleteObjects, then the bucket', async () => {
    const Objects = [...keys, 'l/c & d', 'absent'].map((Key) => ({ Key }))
    const { Deleted, Errors } = await s3.send(new DeleteObjectsCommand({ Bucket: 'lists', Delete: { Objects } }))
    expect(Deleted?.map((object) => object.Key).sort()).toEqual(Objects.map((object) => object.Key).sort())
    expect(Errors).toBeUndefined()
    expect((await s3.send(new ListObjectsV2Command({ Bucket: 'lists' }))).KeyCount).toBe(0)
    await s3.send(new DeleteBucketCommand({ Bucket: 'lists' }))
    await expect(s3.send(new HeadBucketCommand({ Bucket: 'lists' }))).rejects.toMatchObject({ name: 'NotFound' })
  })
})

describe('one store, two doors', () => {
  test('what S3 writes the Storage API serves under RLS, and the other way round', async () => {
    const s3 = stack.s3()
    await s3.send(
      new PutObjectCommand({ Bucket, Key: `${ALICE}/from-s3.txt`, Body: 'by s3', ContentType: 'text/plain' }),
    )
    const files = stack.client(ALICE).storage.from('files')
    expect(await (await files.download(`${ALICE}/from-s3.txt`)).data?.text()).toBe('by s3')
    expect((await files.list(ALICE)).data).toMatchObject([
      { name: 'from-s3.txt', metadata: { size: 5, mimetype: 'text/plain' } },
    ])
    const bob = stack.client('b0b00000-0000-4000-8000-000000000002').storage.from('files')
    expect((await bob.download(`${ALICE}/from-s3.txt`)).error).not.toBeNull()

    await files.upload(`${ALICE}/from-api.txt`, 'by api', { contentType: 'text/plain', metadata: { tag: 'x' } })
    const { Body, ETag, Metadata } = await s3.send(new GetObjectCommand({ Bucket, Key: `${ALICE}/from-api.txt` }))
    expect(await Body?.transformToString()).toBe('by api')
    expect(Metadata).toEqual({ tag: 'x' })
    expect(ETag).toBe((await files.info(`${ALICE}/from-api.txt`)).data?.etag)
    await s3.send(new DeleteObjectCommand({ Bucket, Key: `${ALICE}/from-api.txt` }))
    expect((await files.exists(`${ALICE}/from-api.txt`)).data).toBe(false)
  })
})
