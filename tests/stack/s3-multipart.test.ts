import { createHash } from 'node:crypto'
import { readdirSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  ListPartsCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { expect, test } from 'vitest'
import { createS3 } from '../../local/s3/s3.ts'
import { S3_KEY, useStorageStack } from './storage-support.ts'

const stack = useStorageStack()
const Bucket = 'files'
const PART = 5 * 1024 * 1024

async function begin(Key: string) {
  const s3 = stack.s3()
  const created = await s3.send(
    new CreateMultipartUploadCommand({ Bucket, Key, ContentType: 'text/plain', Metadata: { a: '1' } }),
  )
  const upload = { Bucket, Key, UploadId: created.UploadId }
  return {
    upload,
    part: async (PartNumber: number, Body: Buffer) => {
      const { ETag } = await s3.send(new UploadPartCommand({ ...upload, PartNumber, Body }))
      return { PartNumber, ETag }
    },
    complete: async (Parts: { PartNumber: number; ETag: string | undefined }[]) =>
      await s3.send(new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts } })),
    abort: async () => await s3.send(new AbortMultipartUploadCommand(upload)),
    list: async () => (await s3.send(new ListPartsCommand(upload))).Parts,
    read: async () => await (await s3.send(new GetObjectCommand({ Bucket, Key }))).Body?.transformToByteArray(),
  }
}

test('parts in any order become one object, which nobody saw before', async () => {
  const upload = await begin('multi/part.bin')
  const bytes = Buffer.concat([Buffer.alloc(PART, 'a'), Buffer.alloc(PART, 'b'), Buffer.from('end')])
  const third = await upload.part(3, bytes.subarray(2 * PART))
  await upload.part(1, Buffer.from('replaced later'))
  const first = await upload.part(1, bytes.subarray(0, PART))
  const second = await upload.part(2, bytes.subarray(PART, 2 * PART))
  expect((await upload.list())?.map((part) => [part.PartNumber, part.Size])).toEqual([
    [1, PART],
    [2, PART],
    [3, 3],
  ])
  await expect(upload.read()).rejects.toMatchObject({ name: 'NoSuchKey' })

  const { ETag } = await upload.complete([first, second, third])
  const md5 = (data: Buffer) => createHash('md5').update(data).digest()
  const joined = Buffer.concat(
    [bytes.subarray(0, PART), bytes.subarray(PART, 2 * PART), bytes.subarray(2 * PART)].map(md5),
  )
  expect(ETag).toBe(`"${md5(joined).toString('hex')}-3"`)
  expect(Buffer.from((await upload.read()) ?? []).equals(bytes)).toBe(true)
  const { data } = await stack.client('service').storage.from('files').info('multi/part.bin')
  expect(data).toMatchObject({ size: bytes.length, contentType: 'text/plain', metadata: { a: '1' } })
  expect(readdirSync(join(stack.files.root, 'multipart'))).toEqual([])
  await expect(upload.complete([first])).rejects.toMatchObject({ name: 'NoSuchUpload' })
})

test('wrong, missing, unordered and too small parts are refused', async () => {
  const upload = await begin('multi/refused.bin')
  const first = await upload.part(1, Buffer.from('small'))
  const second = await upload.part(2, Buffer.from('smaller'))
  await expect(upload.complete([first, second])).rejects.toMatchObject({ name: 'EntityTooSmall' })
  await expect(upload.complete([second, first])).rejects.toMatchObject({ name: 'InvalidPartOrder' })
  await expect(upload.complete([{ PartNumber: 1, ETag: second.ETag }])).rejects.toMatchObject({ name: 'InvalidPart' })
  await expect(upload.complete([{ PartNumber: 7, ETag: first.ETag }])).rejects.toMatchObject({ name: 'InvalidPart' })
  await expect(upload.part(0, Buffer.from('x'))).rejects.toMatchObject({ name: 'InvalidArgument' })
  await expect(upload.part(10_001, Buffer.from('x'))).rejects.toMatchObject({ name: 'InvalidArgument' })
  await upload.abort()
  await expect(upload.part(1, Buffer.from('x'))).rejects.toMatchObject({ name: 'NoSuchUpload' })
  await expect(upload.read()).rejects.toMatchObject({ name: 'NoSuchKey' })
})

test('an upload is bound to its key, and its id is no path', async () => {
  const upload = await begin('multi/bound.bin')
  const s3 = stack.s3()
  for (const change of [
    { Key: 'multi/other.bin' },
    { Bucket: 'small' },
    { UploadId: '../../objects' },
    { UploadId: 'x' },
  ]) {
    const part = new UploadPartCommand({ ...upload.upload, PartNumber: 1, Body: 'x', ...change })
    await expect(s3.send(part)).rejects.toMatchObject({ name: 'NoSuchUpload' })
  }
  await upload.part(1, Buffer.from('x'))
  await upload.abort()
})

test('an upload nobody finished is removed after a day', async () => {
  const s3 = createS3({ ...stack, credentials: S3_KEY, region: 'local', fileSizeLimit: '50MiB' })
  const upload = await begin('multi/abandoned.bin')
  expect(await s3.recover()).toEqual({ removedUploads: 0 })
  const yesterday = new Date(Date.now() - 25 * 60 * 60 * 1000)
  utimesSync(join(stack.files.root, 'multipart', upload.upload.UploadId ?? ''), yesterday, yesterday)
  expect(await s3.recover()).toEqual({ removedUploads: 1 })
  await expect(upload.part(1, Buffer.from('x'))).rejects.toMatchObject({ name: 'NoSuchUpload' })
})
