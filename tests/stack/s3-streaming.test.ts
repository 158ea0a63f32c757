import { createHash, createHmac } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { afterEach, describe, expect, test } from 'vitest'
import { S3_KEY, useStorageStack } from './storage-support.ts'

const stack = useStorageStack()
const hmac = (key: Buffer | string, text: string) => createHmac('sha256', key).update(text).digest()
const hex = (data: string | Buffer) => createHash('sha256').update(data).digest('hex')
const crc = (data: Buffer) => {
  const sum = Buffer.alloc(4)
  sum.writeUInt32BE(crc32(data))
  return sum.toString('base64')
}

type Mode =
  | 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD'
  | 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER'
  | 'STREAMING-UNSIGNED-PAYLOAD-TRAILER'
type Upload = {
  mode: Mode
  key: string
  chunks: string[]
  trailer?: Record<string, string>
  decodedLength?: number
  /** Changes the encoded body after it was signed. */
  tamper?: (body: string) => string
}

/** Sends chunks as aws-chunked, signed by hand from the AWS documentation. */
async function send({ mode, key, chunks, trailer = {}, decodedLength, tamper = (body) => body }: Upload) {
  const timestamp = new Date().toISOString().replace(/[-:]|\.\d+/g, '')
  const date = timestamp.slice(0, 8)
  const scope = `${date}/local/s3/aws4_request`
  const signingKey = [date, 'local', 's3', 'aws4_request'].reduce<Buffer | string>(
    hmac,
    `AWS4${S3_KEY.secretAccessKey}`,
  )
  const path = `/storage/v1/s3/files/${key}`
  const trailerNames = Object.keys(trailer)
  const headers: Record<string, string> = {
    'content-encoding': 'aws-chunked',
    host: new URL(stack.url).host,
    'x-amz-content-sha256': mode,
    'x-amz-date': timestamp,
    'x-amz-decoded-content-length': String(decodedLength ?? chunks.join('').length),
    ...(trailerNames.length > 0 && { 'x-amz-trailer': trailerNames.join(',') }),
  }
  const names = Object.keys(headers).sort()
  const lines = names.map((name) => `${name}:${headers[name]}\n`).join('')
  const canonical = ['PUT', path, '', lines, names.join(';'), mode].join('\n')
  const seed = hmac(signingKey, `AWS4-HMAC-SHA256\n${timestamp}\n${scope}\n${hex(canonical)}`).toString('hex')
  let previous = seed
  const chain = (kind: string, rest: string) =>
    (previous = hmac(signingKey, `AWS4-HMAC-SHA256-${kind}\n${timestamp}\n${scope}\n${previous}\n${rest}`).toString(
      'hex',
    ))

  let body = ''
  for (const chunk of [...chunks, '']) {
    const signature = mode.includes('HMAC') ? `;chunk-signature=${chain('PAYLOAD', `${hex('')}\n${hex(chunk)}`)}` : ''
    body += `${chunk.length.toString(16)}${signature}\r\n${chunk}${chunk === '' ? '' : '\r\n'}`
  }
  const canonicalTrailer = trailerNames.map((name) => `${name}:${trailer[name]}\n`).join('')
  body += trailerNames.map((name) => `${name}:${trailer[name]}\r\n`).join('')
  if (mode.endsWith('PAYLOAD-TRAILER') && mode.includes('HMAC')) {
    body += `x-amz-trailer-signature:${chain('TRAILER', hex(canonicalTrailer))}\r\n`
  }
  body = tamper(`${body}\r\n`)
  const authorization = `AWS4-HMAC-SHA256 Credential=${S3_KEY.accessKeyId}/${scope},SignedHeaders=${names.join(';')},Signature=${seed}`
  const length = { 'content-length': String(Buffer.byteLength(body)) }
  const { status, text } = await stack.raw({
    method: 'PUT',
    path,
    body,
    headers: { ...headers, ...length, authorization },
  })
  return { status, code: /<Code>(\w+)<\/Code>/.exec(text)?.[1] }
}

const stored = async (key: string) => {
  const { data } = await stack.client('service').storage.from('files').download(key)
  return data ? await data.text() : null
}

const chunks = ['first chunk, ', 'second chunk, ', 'third']
const whole = chunks.join('')
const sum = { 'x-amz-checksum-crc32': crc(Buffer.from(whole)) }

afterEach(() => {
  expect(readdirSync(join(stack.files.root, 'tmp'))).toEqual([])
})

describe.each<[Mode, Record<string, string>]>([
  ['STREAMING-AWS4-HMAC-SHA256-PAYLOAD', {}],
  ['STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER', sum],
  ['STREAMING-UNSIGNED-PAYLOAD-TRAILER', sum],
])('%s', (mode, trailer) => {
  const key = `chunked/${mode}`

  test('stores what the chunks hold', async () => {
    expect(await send({ mode, key, chunks, trailer })).toEqual({ status: 200 })
    expect(await stored(key)).toBe(whole)
  })

  test.each<[string, Partial<Upload>]>([
    ['changed bytes', { tamper: (body) => body.replace('second', 'forged') }],
    ['a cut body', { tamper: (body) => body.slice(0, body.indexOf('third')) }],
    ['a chunk left out', { tamper: (body) => body.replace(/e(;chunk-signature=\w+)?\r\nsecond chunk, \r\n/, '') }],
    [
      'chunks swapped',
      {
        chunks: ['aaaa', 'bbbb'],
        tamper: (body) => body.replace('aaaa', '____').replace('bbbb', 'aaaa').replace('____', 'bbbb'),
      },
    ],
    ['bytes after the end', { tamper: (body) => `${body}more` }],
    ['another length than stated', { decodedLength: whole.length + 1 }],
    ['a chunk size that is none', { tamper: (body) => `zz${body}` }],
  ])('refuses %s', async (_, change) => {
    const { status } = await send({ mode, key: `${key}-refused`, chunks, trailer, ...change })
    expect(status).toBeGreaterThanOrEqual(400)
    expect(status).toBeLessThan(500)
    expect(await stored(`${key}-refused`)).toBeNull()
  })
})

test('a chunk signature or trailer signature that is wrong or missing is refused', async () => {
  const key = 'chunked/signature'
  const mode = 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER'
  const wrong = (body: string) => body.replace(/chunk-signature=\w{64}/, `chunk-signature=${'0'.repeat(64)}`)
  expect(await send({ mode, key, chunks, trailer: sum, tamper: wrong })).toEqual({
    status: 403,
    code: 'SignatureDoesNotMatch',
  })
  const missing = (body: string) => body.replace(/;chunk-signature=\w{64}/, '')
  expect((await send({ mode, key, chunks, trailer: sum, tamper: missing })).status).toBe(400)
  const unsigned = (body: string) => body.replace(/x-amz-trailer-signature:\w{64}\r\n/, '')
  expect(await send({ mode, key, chunks, trailer: sum, tamper: unsigned })).toMatchObject({
    code: 'SignatureDoesNotMatch',
  })
  expect(await stored(key)).toBeNull()
})

test('a trailing checksum is verified, and one that was announced must come', async () => {
  const key = 'chunked/checksum'
  const mode = 'STREAMING-UNSIGNED-PAYLOAD-TRAILER'
  const wrong = { 'x-amz-checksum-crc32': crc(Buffer.from('something else')) }
  expect(await send({ mode, key, chunks, trailer: wrong })).toEqual({ status: 400, code: 'BadDigest' })
  const dropped = (body: string) => body.replace(/x-amz-checksum-crc32:[^\r]+\r\n/, '')
  expect(await send({ mode, key, chunks, trailer: sum, tamper: dropped })).toMatchObject({
    status: 400,
    code: 'InvalidRequest',
  })
  expect(await stored(key)).toBeNull()
})
