import { createHash, createHmac } from 'node:crypto'
import { GetObjectCommand, HeadObjectCommand, PutObjectCommand, type PutObjectCommandInput } from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { beforeAll, describe, expect, test } from 'vitest'
import { createS3 } from '../../local/s3/s3.ts'
import { ALICE, S3_KEY, SERVICE_KEY, useStorageStack } from './storage-support.ts'

const stack = useStorageStack()
const Bucket = 'files'
const sha256 = (body: string) => createHash('sha256').update(body).digest('base64')
const noChecksums = {
  requestChecksumCalculation: 'WHEN_REQUIRED',
  responseChecksumValidation: 'WHEN_REQUIRED',
} as const

const answer = async (url: string | URL, init?: RequestInit) => {
  const response = await fetch(url, init)
  const text = await response.text()
  return { status: response.status, code: /<Code>(\w+)<\/Code>/.exec(text)?.[1], text, headers: response.headers }
}
const stored = async (key: string) => {
  const s3 = stack.s3()
  return await s3
    .send(new GetObjectCommand({ Bucket, Key: key }))
    .then(({ Body }) => Body?.transformToString())
    .catch((error: Error) => error.name)
}

beforeAll(async () => {
  await stack
    .s3()
    .send(new PutObjectCommand({ Bucket, Key: 'sig/read.txt', Body: 'readable', ContentType: 'text/plain' }))
})

describe('signed headers', () => {
  test('the right key reads; a wrong secret, key, region or clock does not', async () => {
    const read = (config: object) => stack.s3(config).send(new GetObjectCommand({ Bucket, Key: 'sig/read.txt' }))
    expect(await (await read({})).Body?.transformToString()).toBe('readable')
    const wrongSecret = { credentials: { ...S3_KEY, secretAccessKey: 'wrong' } }
    await expect(read(wrongSecret)).rejects.toMatchObject({
      name: 'SignatureDoesNotMatch',
      $metadata: { httpStatusCode: 403 },
    })
    const wrongKey = { credentials: { ...S3_KEY, accessKeyId: 'wrong' } }
    await expect(read(wrongKey)).rejects.toMatchObject({ name: 'InvalidAccessKeyId' })
    await expect(read({ region: 'us-east-1' })).rejects.toMatchObject({ name: 'AuthorizationHeaderMalformed' })
    const temporary = { credentials: { ...S3_KEY, sessionToken: 'token' } }
    await expect(read(temporary)).rejects.toMatchObject({ name: 'InvalidToken' })
    for (const minutes of [-16, 16]) {
      const skewed = { systemClockOffset: minutes * 60_000 }
      await expect(read(skewed)).rejects.toMatchObject({ name: 'RequestTimeTooSkewed' })
    }
    await read({ systemClockOffset: 14 * 60_000 })
  })

  test('without a signature, with another kind or with a Supabase key nothing opens', async () => {
    const url = `${stack.url}/storage/v1/s3/files/sig/read.txt`
    expect(await answer(url)).toMatchObject({ status: 403, code: 'AccessDenied' })
    expect(await answer(url, { method: 'PUT', body: 'x' })).toMatchObject({ status: 403 })
    const bearer = `Bearer ${await stack.token({ sub: ALICE })}`
    for (const authorization of [bearer, `Bearer ${SERVICE_KEY}`, 'AWS key:signature', 'AWS4-HMAC-SHA256 nonsense']) {
      const headers = { authorization, 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' }
      expect((await answer(url, { headers })).status).toBe(400)
    }
    expect(await answer(`${url}?AWSAccessKeyId=a&Signature=b&Expires=4102444800`)).toMatchObject({
      code: 'AccessDenied',
    })
  })

  test('a tampered path, query, method, header, date or body is refused', async () => {
    const good = () => signed({ method: 'PUT', path: '/storage/v1/s3/files/sig/tampered.txt', body: 'good' })
    expect((await stack.raw(good())).status).toBe(200)
    const tampered: Record<string, Partial<Signed>> = {
      path: { path: '/storage/v1/s3/files/sig/other.txt' },
      query: { path: '/storage/v1/s3/files/sig/tampered.txt?x=1' },
      method: { method: 'DELETE' },
      body: { body: 'evil' },
      type: { headers: { ...good().headers, 'content-type': 'text/html' } },
      date: { headers: { ...good().headers, 'x-amz-date': '20300101T000000Z' } },
      extra: { headers: { ...good().headers, 'x-amz-meta-a': '1' } },
      host: { headers: { ...good().headers, host: 'evil.example' } },
      hash: { headers: { ...good().headers, 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' }, body: 'evil' },
    }
    for (const [what, change] of Object.entries(tampered)) {
      const { status, text } = await stack.raw({ ...good(), ...change })
      expect([what, status < 400, text.includes('<Error>')]).toEqual([what, false, true])
    }
    expect(await stored('sig/tampered.txt')).toBe('good')
    expect(await stored('sig/other.txt')).toBe('NoSuchKey')
  })

  test('the host and every x-amz header must be among the signed ones', async () => {
    for (const unsigned of ['host', 'x-amz-content-sha256', 'x-amz-date']) {
      const request = signed({ path: '/storage/v1/s3/files/sig/read.txt', leaveOut: unsigned })
      const { status, text } = await stack.raw(request)
      expect([unsigned, status, /not signed|do not match|does not match/.test(text)]).toEqual([unsigned, 403, true])
    }
  })

  test('two ways to read a request are one too many', async () => {
    const twice = signed({ path: '/storage/v1/s3/files/?prefix=a&prefix=b' })
    expect((await stack.raw(twice)).text).toContain('InvalidArgument')
    const malformed = signed({ path: '/storage/v1/s3/files/%ff' })
    expect((await stack.raw(malformed)).text).toContain('InvalidURI')
    const url = await getSignedUrl(stack.s3(), new GetObjectCommand({ Bucket, Key: 'sig/read.txt' }))
    const both = await answer(url, { headers: { authorization: 'AWS4-HMAC-SHA256 x' } })
    expect(both).toMatchObject({ status: 400, code: 'InvalidArgument' })
  })
})

describe('presigned URLs', () => {
  const presignGet = async (input: object = {}, options: object = {}) =>
    new URL(await getSignedUrl(stack.s3(), new GetObjectCommand({ Bucket, Key: 'sig/read.txt', ...input }), options))

  test('open one object for one method until they expire', async () => {
    const url = await presignGet()
    expect(await answer(url)).toMatchObject({ status: 200, text: 'readable' })
    for (const method of ['HEAD', 'PUT', 'DELETE', 'POST']) {
      const init = { method, ...(method !== 'HEAD' && { body: 'x' }) }
      expect([method, (await answer(url, init)).status]).toEqual([method, 403])
    }
    const other = new URL(url.href.replace('read.txt', 'other.txt'))
    expect(await answer(other)).toMatchObject({ status: 403, code: 'SignatureDoesNotMatch' })
    const head = await getSignedUrl(stack.s3(), new HeadObjectCommand({ Bucket, Key: 'sig/read.txt' }))
    expect((await answer(head, { method: 'HEAD' })).status).toBe(200)
    expect(await stored('sig/read.txt')).toBe('readable')
  })

  test('any changed parameter breaks them', async () => {
    const url = await presignGet({ ResponseContentDisposition: 'attachment' })
    expect((await answer(url)).headers.get('content-disposition')).toBe('attachment')
    const changes: Record<string, string> = {
      'X-Amz-Signature': '0'.repeat(64),
      'X-Amz-Expires': '604800',
      'X-Amz-Date': '20300101T000000Z',
      'X-Amz-Credential': `wrong/${new Date().toISOString().slice(0, 10).replaceAll('-', '')}/local/s3/aws4_request`,
      'X-Amz-SignedHeaders': 'host;x-amz-date',
      'X-Amz-Algorithm': 'AWS4-HMAC-SHA1',
      'response-content-disposition': 'inline',
      'response-content-type': 'text/html',
      'X-Amz-Content-Sha256': '',
    }
    for (const [name, value] of Object.entries(changes)) {
      const changed = new URL(url)
      changed.searchParams.set(name, value)
      expect([name, (await answer(changed)).status >= 400]).toEqual([name, true])
    }
    for (const name of url.searchParams.keys()) {
      const removed = new URL(url)
      removed.searchParams.delete(name)
      expect([name, (await answer(removed)).status >= 400]).toEqual([name, true])
    }
  })

  test('expire, do not begin early, and last seven days at most', async () => {
    const at = (now: number) => {
      const s3 = createS3({ ...stack, credentials: S3_KEY, region: 'local', fileSizeLimit: '50MiB', now: () => now })
      return async (url: URL) => (await s3.fetch(new Request(url))).status
    }
    const signedAt = (url: URL) =>
      Date.parse(
        (url.searchParams.get('X-Amz-Date') ?? '').replace(/^(\d{4})(\d\d)(\d\dT\d\d)(\d\d)(\d\dZ)$/, '$1-$2-$3:$4:$5'),
      )
    const url = await presignGet({}, { expiresIn: 60 })
    const signed = signedAt(url)
    expect(await at(signed + 59_000)(url)).toBe(200)
    expect(await at(signed + 61_000)(url)).toBe(403)
    expect(await at(signed - 14 * 60_000)(url)).toBe(200)
    expect(await at(signed - 16 * 60_000)(url)).toBe(403)
    const week = await presignGet({}, { expiresIn: 604_800 })
    expect(await at(signedAt(week) + 604_799_000)(week)).toBe(200)
    const longer = query({ path: '/storage/v1/s3/files/sig/read.txt', expires: '604801' })
    expect(await answer(longer)).toMatchObject({ status: 400, code: 'AuthorizationQueryParametersError' })
    expect((await answer(query({ path: '/storage/v1/s3/files/sig/read.txt', expires: '604800' }))).status).toBe(200)
    for (const expires of ['0', '-1', '1e3', '']) {
      expect((await answer(query({ path: '/storage/v1/s3/files/sig/read.txt', expires }))).status).toBe(400)
    }
  })

  test('headers that were not signed are refused', async () => {
    const url = await presignGet()
    expect((await answer(url, { headers: { 'x-amz-checksum-mode': 'ENABLED' } })).status).toBe(403)
  })
})

describe('presigned uploads', () => {
  const body = 'the agreed bytes'
  const input = (Key: string): PutObjectCommandInput => ({
    ...{ Bucket, Key, ContentType: 'application/pdf', ContentLength: body.length, ChecksumSHA256: sha256(body) },
  })
  /** Everything in headers, so that the uploader has to say it again: enforced by every S3 there is. */
  const presign = async (key: string, options: object = {}) =>
    await getSignedUrl(stack.s3(noChecksums), new PutObjectCommand(input(key)), {
      expiresIn: 60,
      signableHeaders: new Set(['content-type', 'content-length', 'host', 'x-amz-checksum-sha256']),
      unhoistableHeaders: new Set(['x-amz-checksum-sha256']),
      ...options,
    })
  const headers = { 'content-type': 'application/pdf', 'x-amz-checksum-sha256': sha256(body) }

  test('take exactly the agreed type, length and hash', async () => {
    const url = await presign('up/good.pdf')
    expect(new URL(url).searchParams.get('X-Amz-SignedHeaders')).toBe(
      'content-length;content-type;host;x-amz-checksum-sha256',
    )
    expect((await answer(url, { method: 'PUT', body, headers })).status).toBe(200)
    const head = await stack.s3().send(new HeadObjectCommand({ Bucket, Key: 'up/good.pdf', ChecksumMode: 'ENABLED' }))
    expect(head).toMatchObject({
      ContentType: 'application/pdf',
      ContentLength: body.length,
      ChecksumSHA256: sha256(body),
    })
  })

  test.each([
    ['another type', { body, headers: { ...headers, 'content-type': 'text/html' } }, 'SignatureDoesNotMatch'],
    [
      'no type',
      { body: Buffer.from(body), headers: { 'x-amz-checksum-sha256': sha256(body) } },
      'SignatureDoesNotMatch',
    ],
    ['more bytes', { body: `${body}!`, headers }, 'SignatureDoesNotMatch'],
    ['fewer bytes', { body: body.slice(1), headers }, 'SignatureDoesNotMatch'],
    ['other bytes', { body: body.replace('agreed', 'forged'), headers }, 'BadDigest'],
    ['another hash', { body, headers: { ...headers, 'x-amz-checksum-sha256': sha256('x') } }, 'SignatureDoesNotMatch'],
    ['no hash', { body, headers: { 'content-type': 'application/pdf' } }, 'SignatureDoesNotMatch'],
    ['an extra header', { body, headers: { ...headers, 'x-amz-meta-a': '1' } }, 'AccessDenied'],
    ['an access list', { body, headers: { ...headers, 'x-amz-acl': 'public-read' } }, 'AccessDenied'],
    ['a copy source', { body, headers: { ...headers, 'x-amz-copy-source': 'files/sig/read.txt' } }, 'AccessDenied'],
  ])('refuse %s', async (_, init, code) => {
    const url = await presign('up/refused.pdf')
    expect(await answer(url, { method: 'PUT', ...init })).toMatchObject({ code })
    expect(await stored('up/refused.pdf')).toBe('NoSuchKey')
  })

  test('refuse other keys, other methods and expired ones', async () => {
    const url = await presign('up/refused.pdf')
    expect((await answer(url.replace('refused', 'another'), { method: 'PUT', body, headers })).code).toBe(
      'SignatureDoesNotMatch',
    )
    expect((await answer(url, { method: 'POST', body, headers })).code).toBe('SignatureDoesNotMatch')
    const brief = await presign('up/refused.pdf', { expiresIn: 1 })
    await new Promise((resolve) => setTimeout(resolve, 2000))
    expect((await answer(brief, { method: 'PUT', body, headers })).code).toBe('AccessDenied')
    expect(await stored('up/refused.pdf')).toBe('NoSuchKey')
  })

  test('a hash in the query is enforced as well', async () => {
    const url = await getSignedUrl(
      stack.s3(noChecksums),
      new PutObjectCommand({ Bucket, Key: 'up/query', ChecksumSHA256: sha256(body) }),
    )
    expect(new URL(url).searchParams.get('x-amz-checksum-sha256')).toBe(sha256(body))
    expect((await answer(url, { method: 'PUT', body: 'other' })).code).toBe('BadDigest')
    expect((await answer(url, { method: 'PUT', body })).status).toBe(200)
    expect(await stored('up/query')).toBe(body)
  })
})

type Signed = { method: string; path: string; body: string; headers: Record<string, string> }
type Unsigned = { method?: string; path: string; body?: string; leaveOut?: string }

const hmac = (key: Buffer | string, text: string) => createHmac('sha256', key).update(text).digest()
const hex = (text: string) => createHash('sha256').update(text).digest('hex')

function sign(timestamp: string, canonical: string): { scope: string; signature: string } {
  const date = timestamp.slice(0, 8)
  const scope = `${date}/local/s3/aws4_request`
  const key = [date, 'local', 's3', 'aws4_request'].reduce<Buffer | string>(hmac, `AWS4${S3_KEY.secretAccessKey}`)
  const signature = hmac(key, `AWS4-HMAC-SHA256\n${timestamp}\n${scope}\n${hex(canonical)}`).toString('hex')
  return { scope, signature }
}

const nowStamp = () => new Date().toISOString().replace(/[-:]|\.\d+/g, '')

/** A request signed by hand, so that tests can leave out or change what no client would. */
function signed({ method = 'GET', path, body = '', leaveOut }: Unsigned): Signed {
  const timestamp = nowStamp()
  const [pathname = '', search = ''] = path.split('?')
  const headers: Record<string, string> = {
    'content-type': 'text/plain',
    host: new URL(stack.url).host,
    'x-amz-content-sha256': hex(body),
    'x-amz-date': timestamp,
  }
  const names = Object.keys(headers).filter((name) => name !== leaveOut)
  const lines = names.map((name) => `${name}:${headers[name]}\n`).join('')
  const canonical = [method, pathname, search, lines, names.join(';'), hex(body)].join('\n')
  const { scope, signature } = sign(timestamp, canonical)
  const authorization = `AWS4-HMAC-SHA256 Credential=${S3_KEY.accessKeyId}/${scope}, SignedHeaders=${names.join(';')}, Signature=${signature}`
  const length = { 'content-length': String(Buffer.byteLength(body)) }
  return { method, path, body, headers: { ...headers, ...length, authorization } }
}

/** A presigned URL with any expiry. */
function query({ path, expires }: { path: string; expires: string }): string {
  const timestamp = nowStamp()
  const credential = encodeURIComponent(`${S3_KEY.accessKeyId}/${timestamp.slice(0, 8)}/local/s3/aws4_request`)
  const search = [
    'X-Amz-Algorithm=AWS4-HMAC-SHA256',
    `X-Amz-Credential=${credential}`,
    `X-Amz-Date=${timestamp}`,
    `X-Amz-Expires=${encodeURIComponent(expires)}`,
    'X-Amz-SignedHeaders=host',
  ].join('&')
  const canonical = ['GET', path, search, `host:${new URL(stack.url).host}\n`, 'host', 'UNSIGNED-PAYLOAD'].join('\n')
  return `${stack.url}${path}?${search}&X-Amz-Signature=${sign(timestamp, canonical).signature}`
}
