import { z } from 'zod'
import { describe, expect, it } from 'vitest'
import { MAX_JSON_BYTES, readMultipart } from '../../supabase/functions/_shared/body.ts'
import { createRouter, likePattern, parseBody, parseLenientBody, uuid } from '../../supabase/functions/_shared/http.ts'
import type { Deps } from '../../supabase/functions/_shared/context.ts'
import { asReadable } from '../../supabase/functions/_shared/sources.ts'

const deps = { corsOrigins: ['https://app.example'], log: { info() {}, error() {} } } as unknown as Deps
const app = createRouter('/test', deps)
app.post('/strict', async (c) => c.json(await parseBody(c, z.strictObject({ id: uuid, n: z.number().optional() }))))
app.post('/lenient', async (c) => c.json(await parseLenientBody(c, z.object({ n: z.number() }))))
app.post('/form', async (c) => c.json([...(await readMultipart(c.req.raw)).keys()]))

const ID = '7A5D7D3E-3b3c-4d7e-9f46-1f0f1d6c0a01'
const post = (path: string, body: BodyInit, headers: Record<string, string> = { 'content-type': 'application/json' }) =>
  app.request(`/test${path}`, { method: 'POST', headers, body, duplex: 'half' } as RequestInit)

/** A body without a declared length, to show that it is the bytes that count. */
function endless(chunk: Uint8Array<ArrayBuffer>): { body: ReadableStream<Uint8Array>; pulled: () => number } {
  let pulled = 0
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      pulled += chunk.length
      controller.enqueue(chunk)
    },
  })
  return { body, pulled: () => pulled }
}

describe('an answer to HEAD', () => {
  it.each(['GET', 'HEAD'])('lets go of what its body would come from, as one that is read does: %s', async (method) => {
    const released: string[] = []
    async function* object() {
      try {
        for (const byte of [1, 2, 3]) yield await Promise.resolve(new Uint8Array([byte]))
      } finally {
        released.push('object')
      }
    }
    const downloads = createRouter('/test', deps)
    downloads.get('/object', (c) => c.body(asReadable(object()), 200, { 'content-length': '3' }))
    const response = await downloads.request('/test/object', { method })
    expect([response.status, response.headers.get('content-length')]).toEqual([200, '3'])
    expect((await response.arrayBuffer()).byteLength).toBe(method === 'GET' ? 3 : 0)
    expect(released).toEqual(['object'])
  })
})

describe('a JSON body', () => {
  it('is parsed strictly where the shape is ours', async () => {
    expect(await (await post('/strict', JSON.stringify({ id: ID, n: 1 }))).json()).toEqual({
      id: ID.toLowerCase(),
      n: 1,
    })
    const refused = await post('/strict', JSON.stringify({ id: ID, m: 1 }))
    expect([refused.status, await refused.json()]).toEqual([
      400,
      { error: 'Unrecognized key: "m"', code: 'invalid_request', request_id: expect.any(String) },
    ])
    expect(await (await post('/strict', '{"id":"x"}')).json()).toMatchObject({ error: 'id: Invalid UUID' })
  })

  it('is parsed leniently, with warnings, where clients were written for another server', async () => {
    const body = '{"n":1,"extra":1,"__proto__":{"polluted":1}}'
    expect(await (await post('/lenient', body)).json()).toEqual({
      body: { n: 1 },
      warnings: [
        'The field "extra" is not known here and was ignored.',
        'The field "__proto__" is not known here and was ignored.',
      ],
    })
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined()
  })

  it.each(['', '{', 'undefined', '{"n":NaN}', '\ufeff{'])('%j is not JSON', async (body) => {
    expect(await (await post('/lenient', body)).json()).toMatchObject({
      code: 'invalid_request',
      error: 'The request body is not valid JSON.',
    })
  })

  it.each(['{"n":1,"a":"\\u0000"}', '{"n":1,"a\\u0000":1}', '{"n":1,"a":["\\ud800"]}'])(
    '%j cannot be stored',
    async (body) => {
      expect(await (await post('/lenient', body)).json()).toMatchObject({
        error: 'A text contains a character that cannot be stored.',
      })
    },
  )

  it('may hold escaped backslashes and emoji', async () => {
    expect((await post('/lenient', '{"n":1,"a":"\\\\u0000 🦆 \\ud83e\\udd86"}')).status).toBe(200)
  })

  it('needs its content type', async () => {
    expect((await post('/lenient', '{"n":1}', { 'content-type': 'text/plain' })).status).toBe(415)
    expect((await post('/lenient', '{"n":1}', { 'content-type': 'application/json; charset=utf-8' })).status).toBe(200)
  })

  it('larger than 1 MB is refused by its declared length and by its bytes', async () => {
    const declared = await post('/lenient', '{}', {
      'content-type': 'application/json',
      'content-length': String(MAX_JSON_BYTES + 1),
    })
    expect([declared.status, (await declared.json()).code]).toEqual([413, 'payload_too_large'])
    const { body, pulled } = endless(new Uint8Array(64 * 1024).fill(32))
    expect((await post('/lenient', body)).status).toBe(413)
    expect(pulled()).toBeLessThan(40 * MAX_JSON_BYTES)
  })
})

describe('a multipart body', () => {
  it('larger than 20 MB is refused while it is read', async () => {
    const { body, pulled } = endless(new Uint8Array(1024 * 1024).fill(97))
    expect((await post('/form', body, { 'content-type': 'multipart/form-data; boundary=b' })).status).toBe(413)
    expect(pulled()).toBeLessThan(60 * 1024 * 1024)
  })

  it('that is malformed is refused', async () => {
    expect((await post('/form', 'x', { 'content-type': 'multipart/form-data; boundary=b' })).status).toBe(400)
    expect((await post('/form', 'x', { 'content-type': 'text/plain' })).status).toBe(415)
  })
})

describe('browsers', () => {
  const preflight = (origin: string) =>
    app.request('/test/strict', {
      method: 'OPTIONS',
      headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization' },
    })

  it('of a listed origin may call, without credentials', async () => {
    const { headers } = await preflight('https://app.example')
    expect(headers.get('access-control-allow-origin')).toBe('https://app.example')
    expect(headers.get('access-control-allow-headers')).toContain('authorization')
    expect(headers.get('access-control-allow-headers')).toContain('last-event-id')
    expect(headers.get('access-control-allow-credentials')).toBeNull()
  })

  it.each(['https://evil.example', 'https://app.example.evil.example', 'null', 'http://app.example'])(
    'of %s may not',
    async (origin) => {
      for (const response of [await preflight(origin), await app.request('/test/none', { headers: { origin } })]) {
        expect(response.headers.get('access-control-allow-origin')).toBeNull()
      }
    },
  )

  it('of any origin may call where the list says *, still without credentials', async () => {
    const open = createRouter('/test', { ...deps, corsOrigins: ['*'] })
    const { headers } = await open.request('/test/x', { headers: { origin: 'https://any.example' } })
    expect(headers.get('access-control-allow-origin')).toBe('*')
    expect(headers.get('access-control-allow-credentials')).toBeNull()
  })

  it('never guess a content type', async () => {
    expect((await app.request('/test/none')).headers.get('x-content-type-options')).toBe('nosniff')
  })
})

describe('likePattern', () => {
  it('takes search terms literally', () => {
    expect(likePattern('100%_\\')).toBe('%100\\%\\_\\\\%')
  })
})
