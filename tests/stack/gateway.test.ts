import { describe, expect, test } from 'vitest'
import { FIXTURE_PROJECT } from '../support/stack-project.ts'
import { useStack } from '../support/stack.ts'

const stack = useStack({ projectDir: FIXTURE_PROJECT })

describe('browsers', () => {
  test.each([
    '/rest/v1/notes',
    '/auth/v1/token',
    '/storage/v1/object/x/y',
    '/storage/v1/s3/x/y',
    '/realtime/v1/api/broadcast',
  ])('may ask %s with any header and method', async (path) => {
    const response = await fetch(stack.url + path, {
      method: 'OPTIONS',
      headers: {
        origin: 'http://localhost:3000',
        'access-control-request-method': 'PUT',
        'access-control-request-headers': 'authorization,x-tenant-id',
      },
    })
    expect(response.status).toBe(204)
    expect(response.headers.get('access-control-allow-origin')).toBe('*')
    expect(response.headers.get('access-control-allow-methods')).toContain('PUT')
    expect(response.headers.get('access-control-allow-headers')).toContain('x-tenant-id')
  })

  test('may read answers, errors too, with the headers clients need', async () => {
    for (const headers of [{ apikey: stack.keys.publishable }, { apikey: 'wrong' }]) {
      const response = await fetch(`${stack.url}/rest/v1/notes?select=id`, { headers })
      expect(response.headers.get('access-control-allow-origin')).toBe('*')
      expect(response.headers.get('access-control-expose-headers')).toContain('Content-Range')
      // `*` with credentials would be refused by browsers, and a cookie has no meaning here.
      expect(response.headers.get('access-control-allow-credentials')).toBeNull()
    }
  })
})

test('what no service answers → 404, functions that do not run → 503', async () => {
  expect((await fetch(`${stack.url}/nothing/here`)).status).toBe(404)
  expect((await fetch(`${stack.url}/pg/meta`)).status).toBe(404)
  expect((await fetch(`${stack.url}/functions/v1/api`)).status).toBe(503)
})

test('a body too large for memory → 413, with and without a stated length', async () => {
  const size = 33 * 2 ** 20
  const headers = { apikey: stack.keys.publishable, 'content-type': 'application/json' }
  const chunk = new Uint8Array(2 ** 20).fill(32)
  const stream = () => {
    let sent = 0
    return new ReadableStream<Uint8Array>({
      pull(controller) {
        if (sent >= size) return controller.close()
        sent += chunk.length
        controller.enqueue(chunk)
      },
    })
  }
  const stated = fetch(`${stack.url}/rest/v1/notes`, { method: 'POST', headers, body: new Uint8Array(size) })
  const streamed = fetch(`${stack.url}/rest/v1/notes`, {
    method: 'POST',
    headers,
    body: stream(),
    duplex: 'half',
  } as RequestInit)
  for (const attempt of [stated, streamed]) {
    // The connection may be cut while the client still sends; either way nothing was accepted.
    const status = await attempt.then(
      (response) => response.status,
      () => 413,
    )
    expect(status).toBe(413)
  }
  expect((await stack.service.from('notes').select('id')).status).toBe(200)
})

test('listens on the loopback interface only', () => {
  expect(stack.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
})

test('serves all services of one project', async () => {
  const bucket = await stack.service.storage.createBucket('b', { public: false })
  expect(bucket.error).toBeNull()
  expect((await stack.service.storage.from('b').upload('a.txt', new Blob(['hello']))).error).toBeNull()
  expect(await (await stack.service.storage.from('b').download('a.txt')).data?.text()).toBe('hello')
  const channel = stack.anon.channel('room')
  const status = await new Promise((resolve) => channel.subscribe((state) => resolve(state)))
  expect(status).toBe('SUBSCRIBED')
  await stack.anon.removeAllChannels()
})
