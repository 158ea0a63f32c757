import { createHash, randomBytes } from 'node:crypto'
import { beforeAll, describe, expect, it } from 'vitest'
import { objectStoreFromEnv } from '../../supabase/functions/_shared/object-store.ts'
import { eventually } from '../support/eventually.ts'
import { useFunctionsStack } from './support/functions-stack.ts'
import { ABSENT, HARBOR, MERIDIAN, caller, fileForm, userCaller } from './support/http.ts'
import type { FunctionsCaller, Json } from './support/http.ts'

const stack = useFunctionsStack({ worker: true, userEnv: { BULKHEAD_CORS_ORIGINS: 'https://app.example' } })

let member: FunctionsCaller
let admin: FunctionsCaller
let viewer: FunctionsCaller
let outsider: FunctionsCaller
let stranger: FunctionsCaller
let both: FunctionsCaller
beforeAll(async () => {
  member = await userCaller(stack, 'member@harbor.example')
  admin = await userCaller(stack, 'admin@harbor.example')
  viewer = await userCaller(stack, 'viewer@harbor.example')
  outsider = await userCaller(stack, 'outsider@bulkhead.example')
  stranger = await userCaller(stack, 'member@meridian.example')
  both = await userCaller(stack, 'both@bulkhead.example')
})

let counter = 0
const uniqueText = () => `# Note ${++counter}\n\nNumber ${counter} of the notes of this test.\n`
const upload = (user: FunctionsCaller, status = 201, fields: Record<string, string> = {}, text = uniqueText()) =>
  user.json(status, 'POST', '/sources', { body: fileForm('note.md', text, fields) })

describe('POST /sources', () => {
  it('stores the file and queues it for the default knowledge base', async () => {
    const source = await upload(member, 201, { metadata: '{"case": 7}', name: 'A note.md' })
    expect(source).toMatchObject({
      tenant_id: HARBOR,
      name: 'A note.md',
      file_type: '.md',
      mime_type: 'text/markdown',
      visibility: 'tenant',
      extraction_status: 'pending',
      metadata: { case: 7 },
      uploaded_at: expect.any(String),
    })
    const shown = await member.json(200, 'GET', `/sources/${source['id']}`)
    expect(shown['indexing']).toHaveLength(1)
  })

  it('cleans the file name and makes the object key itself', async () => {
    const form = fileForm('../../../etc/pass\u202ewd.md', uniqueText())
    const source = await member.json(201, 'POST', '/sources', { body: form })
    expect(source['name']).toBe('passwd.md')
    expect(source['storage_path']).toBe(`${HARBOR}/${source['id']}/passwd.md`)
  })

  it('keeps all of a name that was given, though there is a slash in it', async () => {
    const source = await upload(member, 201, { name: 'Berths and/or quays: Q1\\Q2' })
    expect(source['name']).toBe('Berths and_or quays: Q1_Q2')
    const path = `/api/sources/${source['id']}`
    const renamed = await member.json(200, 'PATCH', path, { json: { name: '../AC/DC manual' } })
    expect(renamed['name']).toBe('_AC_DC manual')
  })

  it('puts the file into the named knowledge bases, and refuses unknown and foreign ones alike', async () => {
    const own = await member.json(201, 'POST', '/api/knowledge-bases', { json: { name: 'Chosen' } })
    const foreign = await stranger.json(201, 'POST', '/api/knowledge-bases', { json: { name: 'Theirs' } })
    const source = await upload(member, 201, { knowledge_base_id: own['id'] })
    const shown = await member.json(200, 'GET', `/sources/${source['id']}`)
    expect(shown['indexing'].map((entry: Json) => entry['knowledge_base_id'])).toEqual([own['id']])
    const refusals = [
      await upload(member, 404, { knowledge_base_ids: `${own['id']},${foreign['id']}` }),
      await upload(member, 404, { knowledge_base_id: ABSENT }),
    ]
    expect(refusals.map(({ request_id: _id, ...refusal }) => refusal)).toEqual(
      [refusals[0], refusals[0]].map(({ request_id: _id, ...refusal }: any) => refusal),
    )
  })

  it('keeps a private file from other members', async () => {
    const source = await upload(member, 201, { visibility: 'private' })
    await member.json(200, 'GET', `/sources/${source['id']}`)
    await viewer.json(404, 'GET', `/sources/${source['id']}`)
    await viewer.json(404, 'GET', `/sources/${source['id']}/download`)
  })

  it('answers 409 with the first one’s id for the same bytes in one tenant, and only there', async () => {
    const text = uniqueText()
    const first = await upload(member, 201, {}, text)
    const refusal = await upload(admin, 409, {}, text)
    expect(refusal).toMatchObject({ code: 'duplicate_source', duplicate: { id: first['id'] } })
    expect(JSON.stringify(await upload(stranger, 201, {}, text))).not.toContain(first['id'])
  })

  it('is not for viewers, outsiders and callers without a token', async () => {
    expect(await upload(viewer, 403)).toMatchObject({ code: 'forbidden' })
    expect(await upload(outsider, 403)).toMatchObject({ code: 'forbidden' })
    expect(await upload(caller(stack, { apikey: stack.keys.publishable }), 401)).toMatchObject({
      error: 'Authorization header required',
      code: 'unauthenticated',
    })
  })

  it('asks members of several tenants which one they mean', async () => {
    expect(await upload(both, 400)).toMatchObject({ code: 'tenant_required' })
    const there = await userCaller(stack, 'both@bulkhead.example', { 'x-tenant-id': MERIDIAN })
    expect(await upload(there)).toMatchObject({ tenant_id: MERIDIAN })
    const nowhere = await userCaller(stack, 'member@harbor.example', { 'x-tenant-id': MERIDIAN })
    expect(await upload(nowhere, 403)).toMatchObject({ code: 'forbidden' })
    const garbled = await userCaller(stack, 'member@harbor.example', { 'x-tenant-id': 'harbor' })
    expect(await upload(garbled, 400)).toMatchObject({ code: 'invalid_request' })
  })

  it.each([
    ['no file', () => ({ body: new FormData() }), 400, 'No file provided'],
    [
      'a text instead of a file',
      () => {
        const form = new FormData()
        form.set('file', 'x')
        return { body: form }
      },
      400,
      'No file provided',
    ],
    [
      'an unnamed file',
      () => {
        const form = new FormData()
        form.set('file', new Blob(['x']))
        return { body: form }
      },
      400,
      'No filename',
    ],
    ['an empty file', () => ({ body: fileForm('a.md', '') }), 400, 'The file is empty.'],
    ['a type that cannot be read', () => ({ body: fileForm('a.exe', 'x') }), 400, "Unsupported file type '.exe'"],
    [
      'a file that is something else',
      () => ({ body: fileForm('a.txt', '%PDF-1.7') }),
      400,
      'The file is named .txt but is a PDF document.',
    ],
    [
      'metadata that is no JSON',
      () => ({ body: fileForm('a.md', 'x', { metadata: '{' }) }),
      400,
      'Invalid metadata JSON',
    ],
    [
      'metadata that is a list',
      () => ({ body: fileForm('a.md', 'x', { metadata: '[]' }) }),
      400,
      'Invalid metadata JSON',
    ],
    [
      'an unknown field',
      () => ({ body: fileForm('a.md', 'x', { tenant_id: MERIDIAN }) }),
      400,
      'Unknown form field: tenant_id',
    ],
    [
      'an unknown visibility',
      () => ({ body: fileForm('a.md', 'x', { visibility: 'public' }) }),
      400,
      'visibility: Invalid option',
    ],
    [
      'a knowledge base that is no uuid',
      () => ({ body: fileForm('a.md', 'x', { knowledge_base_id: '1' }) }),
      400,
      'knowledge_base_ids.0: Invalid UUID',
    ],
    [
      'a name that is too long',
      () => ({ body: fileForm('a.md', 'x', { name: 'x'.repeat(1001) }) }),
      400,
      'name may have at most 1000 characters',
    ],
    ['JSON', () => ({ json: { file: 'x' } }), 415, 'Send the file as multipart/form-data.'],
    [
      'no boundary',
      () => ({ body: 'x', headers: { 'content-type': 'multipart/form-data' } }),
      400,
      'The multipart body is malformed.',
    ],
    [
      'a body cut off',
      () => ({
        body: '--b\r\ncontent-disposition: form-data; name="file"; filename="a.md"\r\n\r\nhalf',
        headers: { 'content-type': 'multipart/form-data; boundary=b' },
      }),
      400,
      '',
    ],
  ])('refuses %s', async (_name, sent, status, message) => {
    const refusal = await member.json(status, 'POST', '/sources', sent())
    expect(refusal['error']).toContain(message)
    expect(refusal).toMatchObject({ code: expect.any(String), request_id: expect.any(String) })
  })

  it('refuses a form of more parts than any has', async () => {
    const part = '--b\r\ncontent-disposition: form-data; name="file"; filename="a.md"\r\n\r\nx\r\n'
    const sent = { body: `${part.repeat(201)}--b--`, headers: { 'content-type': 'multipart/form-data; boundary=b' } }
    expect(await member.json(400, 'POST', '/sources', sent)).toMatchObject({
      error: 'The multipart body is malformed.',
      hint: 'It has more than 200 parts.',
    })
  })

  it('keeps the name of a file with a semicolon and an equals sign in it', async () => {
    for (const name of ['minutes; draft.md', 'a=b.md']) {
      expect(await member.json(201, 'POST', '/sources', { body: fileForm(name, `About ${name}.`) })).toMatchObject({
        name,
      })
    }
  })

  it('refuses more than 20 MB while it reads', async () => {
    const form = fileForm('big.txt', new Uint8Array(21 * 1024 * 1024).fill(97))
    expect(await member.json(413, 'POST', '/sources', { body: form })).toMatchObject({ code: 'payload_too_large' })
    const left = await stack.db.query('select id from ai.sources where name = $1', ['big.txt'])
    expect(left).toEqual([])
  })
})

const announce = (bytes: Buffer, more: Record<string, unknown> = {}) => ({
  name: 'tariff.txt',
  size_bytes: bytes.length,
  sha256: createHash('sha256').update(bytes).digest('hex'),
  ...more,
})
/** As a browser: it sets Content-Length itself, from the bytes it has. */
const put = ({ upload: { url, headers, method } }: Json, bytes: Buffer) => {
  const { 'content-length': _length, ...others } = headers
  return fetch(url, { method, headers: others, body: new Uint8Array(bytes) })
}

describe('presigned uploads', () => {
  it('go straight to storage and are extracted once they are complete', async () => {
    const bytes = Buffer.from(`Tariff ${randomBytes(8).toString('hex')}: forty euro per day.`)
    const begun = await member.json(201, 'POST', '/sources/uploads', {
      json: announce(bytes, { content_type: 'text/plain' }),
    })
    expect(begun['source']).toMatchObject({ extraction_status: 'pending', uploaded_at: null, size_bytes: bytes.length })
    expect(begun['upload']).toMatchObject({ method: 'PUT', headers: { 'content-type': 'text/plain' } })
    const id = begun['source'].id
    expect(await member.json(409, 'GET', `/sources/${id}/download`)).toMatchObject({ code: 'object_missing' })
    expect(await member.json(409, 'POST', `/sources/${id}/complete`)).toMatchObject({ code: 'object_missing' })
    expect((await put(begun, bytes)).status).toBe(200)
    const done = await member.json(200, 'POST', `/sources/${id}/complete`)
    expect(done['uploaded_at']).toEqual(expect.any(String))
    expect(await member.json(200, 'POST', `/sources/${id}/complete`)).toMatchObject({
      id,
      uploaded_at: done['uploaded_at'],
    })
    await eventually(async () => {
      expect(await member.json(200, 'GET', `/sources/${id}`)).toMatchObject({ extraction_status: 'extracted' })
    })
  })

  it('take no other bytes than those announced', async () => {
    const bytes = randomBytes(40)
    const begun = await member.json(201, 'POST', '/sources/uploads', { json: announce(bytes) })
    const other = Buffer.from(bytes)
    other[0] = (other[0] ?? 0) ^ 1
    expect((await put(begun, other)).ok).toBe(false)
    expect((await put(begun, Buffer.concat([bytes, bytes]))).ok).toBe(false)
    expect(await member.json(409, 'POST', `/sources/${begun['source'].id}/complete`)).toMatchObject({
      code: 'object_missing',
    })
    expect((await put(begun, bytes)).ok).toBe(true)
  })

  it.each([
    ['other bytes of the same size', (bytes: Buffer) => Buffer.from(bytes).fill(98), 'text/plain', 'SHA-256'],
    ['fewer bytes', (bytes: Buffer) => bytes.subarray(1), 'text/plain', 'bytes; 40 were announced'],
    ['another type', (bytes: Buffer) => bytes, 'text/html', 'not text/plain'],
  ])('are abandoned when storage holds %s', async (_name, stored, contentType, message) => {
    const bytes = randomBytes(40)
    const { source } = await member.json(201, 'POST', '/sources/uploads', { json: announce(bytes) })
    const found = new Uint8Array(stored(bytes))
    const sha256 = createHash('sha256').update(found).digest('hex')
    await objectStoreFromEnv(stack.stack.env).put(source.storage_path, found, { contentType, sha256 })
    const refusal = await member.json(409, 'POST', `/sources/${source.id}/complete`)
    expect(refusal).toMatchObject({ code: 'hash_mismatch', hint: expect.stringContaining('abandoned') })
    expect(refusal['error']).toContain(message)
    await member.json(404, 'GET', `/sources/${source.id}`)
    // The same file can be announced again at once.
    await member.json(201, 'POST', '/sources/uploads', { json: announce(bytes) })
  })

  it('can be announced again when they were interrupted: by the same person soon, by others later', async () => {
    const bytes = randomBytes(64)
    const { source } = await member.json(201, 'POST', '/sources/uploads', { json: announce(bytes) })
    expect(await member.json(409, 'POST', '/sources/uploads', { json: announce(bytes) })).toMatchObject({
      duplicate: { id: source.id },
    })
    const age = (id: string, interval: string) =>
      stack.db.query('update ai.sources set created_at = now() - $2::interval where id = $1', [id, interval])
    await age(source.id, '2 minutes')
    await admin.json(409, 'POST', '/sources/uploads', { json: announce(bytes) })
    const resumed = await member.json(201, 'POST', '/sources/uploads', { json: announce(bytes) })
    await member.json(404, 'GET', `/sources/${source.id}`)
    await age(resumed['source'].id, '61 minutes')
    const taken = await admin.json(201, 'POST', '/sources/uploads', { json: announce(bytes) })
    expect((await put(taken, bytes)).ok).toBe(true)
    await admin.json(200, 'POST', `/sources/${taken['source'].id}/complete`)
    await age(taken['source'].id, '61 minutes')
    expect(await admin.json(409, 'POST', '/sources/uploads', { json: announce(bytes) })).toMatchObject({
      duplicate: { id: taken['source'].id },
    })
  })

  it.each([
    ['an unknown field', { owner_id: ABSENT }, 'Unrecognized key: "owner_id"'],
    ['no name', { name: undefined }, 'name: Invalid input'],
    ['an unreadable type', { name: 'a.zip' }, "Unsupported file type '.zip'"],
    ['a negative size', { size_bytes: -1 }, 'The file is empty.'],
    ['half a byte', { size_bytes: 1.5 }, 'size_bytes: Invalid input'],
    ['a short hash', { sha256: 'abc' }, 'sha256 must be the SHA-256 of the file'],
    ['a foreign metadata type', { metadata: 'x' }, 'metadata: Invalid input'],
    ['a NUL character', { metadata: { a: 'b\u0000' } }, 'A text contains a character that cannot be stored.'],
  ])('refuse %s', async (_name, change, message) => {
    const refusal = await member.json(400, 'POST', '/sources/uploads', {
      json: { ...announce(randomBytes(5)), ...change },
    })
    expect(refusal['error']).toContain(message)
  })

  it('refuse more than 50 MB and bodies that are no JSON', async () => {
    const tooLarge = { ...announce(randomBytes(5)), size_bytes: 60 * 1024 * 1024 }
    expect(await member.json(413, 'POST', '/sources/uploads', { json: tooLarge })).toMatchObject({
      code: 'payload_too_large',
    })
    const json = { 'content-type': 'application/json' }
    for (const body of ['{', '', '\u00ff', 'null', '[]', '"x"']) {
      await member.json(400, 'POST', '/sources/uploads', { body, headers: json })
    }
    const latin1 = new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x7d])
    expect(await member.json(400, 'POST', '/sources/uploads', { body: latin1, headers: json })).toMatchObject({
      error: 'The request body is not valid JSON.',
    })
    await member.json(415, 'POST', '/sources/uploads', { body: '{}' })
    const huge = { ...announce(randomBytes(5)), metadata: { a: 'x'.repeat(1024 * 1024) } }
    await member.json(413, 'POST', '/sources/uploads', { json: huge })
  })
})

describe('one source', () => {
  it('looks absent to other tenants, by whatever route', async () => {
    const { id } = await upload(member)
    const routes: [string, string][] = [
      ['GET', ''],
      ['GET', '/download'],
      ['POST', '/complete'],
      ['POST', '/retry'],
      ['DELETE', ''],
    ]
    for (const [method, path] of routes) {
      const { request_id: _a, ...foreign } = await stranger.json(404, method, `/sources/${id}${path}`)
      const { request_id: _b, ...absent } = await stranger.json(404, method, `/sources/${ABSENT}${path}`)
      expect(foreign).toEqual(absent)
      await stranger.json(404, method, `/sources/not-a-uuid${path}`)
    }
    await member.json(200, 'GET', `/sources/${id}`)
  })

  it('is downloaded as an attachment, through a link that lives for a minute at most', async () => {
    const text = uniqueText()
    const source = await member.json(201, 'POST', '/sources', { body: fileForm('Größe (1).md', text) })
    const link = await viewer.json(200, 'GET', `/sources/${source['id']}/download`)
    expect(Date.parse(link['expires_at']) - Date.now()).toBeLessThanOrEqual(60_000)
    const response = await fetch(link['url'])
    expect(await response.text()).toBe(text)
    expect(response.headers.get('content-disposition')).toMatch(
      /^attachment;.*filename\*=UTF-8''Gr%C3%B6%C3%9Fe%20%281%29\.md/,
    )
    const longer = new URL(link['url'])
    expect(Number(longer.searchParams.get('X-Amz-Expires'))).toBeLessThanOrEqual(60)
    longer.searchParams.set('X-Amz-Expires', '600')
    expect((await fetch(longer)).status).toBe(403)
  })

  it('is deleted by its owner or an admin, with its bytes', async () => {
    const source = await upload(member)
    expect(await viewer.json(403, 'DELETE', `/sources/${source['id']}`)).toMatchObject({ code: 'forbidden' })
    const response = await member.send('DELETE', `/sources/${source['id']}`)
    expect([response.status, await response.text()]).toEqual([204, ''])
    await member.json(404, 'DELETE', `/sources/${source['id']}`)
    const objects = objectStoreFromEnv(stack.stack.env)
    await eventually(async () => expect(await objects.head(source['storage_path'])).toBeNull())
    const second = await upload(member)
    expect((await admin.send('DELETE', `/sources/${second['id']}`)).status).toBe(204)
  })

  it('that failed says why, and can be tried again', async () => {
    const source = await member.json(201, 'POST', '/sources', {
      body: fileForm('broken.pdf', `%PDF-1.7 ${randomBytes(9).toString('hex')}`),
    })
    await eventually(async () => {
      expect(await member.json(200, 'GET', `/sources/${source['id']}`)).toMatchObject({
        extraction_status: 'failed',
        reason_code: 'corrupt_document',
        error_message: expect.stringMatching(/\w+/),
      })
    })
    expect(await member.json(200, 'POST', `/sources/${source['id']}/retry`)).toMatchObject({
      extraction_status: 'pending',
    })
    const fine = await upload(member)
    await eventually(async () => {
      expect(await member.json(200, 'GET', `/sources/${fine['id']}`)).toMatchObject({ extraction_status: 'extracted' })
    })
    expect(await member.json(409, 'POST', `/sources/${fine['id']}/retry`)).toMatchObject({ code: 'not_retryable' })
  })
})

describe('GET /sources', () => {
  it('pages through everything the caller can see, newest first, without gaps', async () => {
    const reader = await userCaller(stack, 'owner@meridian.example')
    const made: string[] = []
    for (let i = 0; i < 5; i++) made.unshift((await upload(stranger))['id'])
    const seen: string[] = []
    for (let cursor = ''; ; ) {
      const page = await reader.json(200, 'GET', `/sources?limit=2${cursor && `&cursor=${cursor}`}`)
      expect(page['sources'].length).toBeLessThanOrEqual(2)
      seen.push(...page['sources'].map((source: Json) => source['id']))
      if (page['next_cursor'] === null) break
      cursor = page['next_cursor']
    }
    expect(seen.slice(0, 5)).toEqual(made)
    expect(new Set(seen).size).toBe(seen.length)
    expect((await outsider.json(200, 'GET', '/sources'))['sources']).toEqual([])
    expect((await reader.json(200, 'GET', '/sources?status=cancelled'))['sources']).toEqual([])
  })

  it.each([
    'limit=0',
    'limit=101',
    'limit=x',
    'cursor=x',
    'cursor=',
    'status=done',
    `cursor=${btoa('["2026-01-01T00:00:00Z","x"]')}`,
  ])('refuses %s', async (query) => {
    expect(await member.json(400, 'GET', `/sources?${query}`)).toMatchObject({ code: 'invalid_request' })
  })
})

describe('every route', () => {
  it('answers unknown paths and methods with the envelope', async () => {
    for (const [method, path] of [
      ['GET', '/sources/a/b/c'],
      ['PUT', '/sources'],
      ['PATCH', `/sources/${ABSENT}`],
    ] as const) {
      expect(await member.json(404, method, path)).toEqual({
        error: 'No such route.',
        code: 'not_found',
        request_id: expect.any(String),
      })
    }
  })

  it('takes over a plain request id and no other', async () => {
    const given = await member.send('GET', '/sources', { headers: { 'x-request-id': 'trace-7' } })
    expect(given.headers.get('x-request-id')).toBe('trace-7')
    const odd = await member.send('GET', '/sources', { headers: { 'x-request-id': 'a b{}' } })
    expect(odd.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/)
  })

  it('refuses x-act-as-user from a person', async () => {
    const sent = { headers: { 'x-act-as-user': 'a0000000-0000-4000-8000-000000000001' } }
    expect(await member.json(403, 'GET', '/sources', sent)).toMatchObject({ code: 'forbidden' })
  })
})
