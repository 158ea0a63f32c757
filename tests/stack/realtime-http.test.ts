import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import {
  client,
  collect,
  openGateway,
  openWorld,
  PUBLISHABLE_KEY,
  RawSocket,
  SECRET_KEY,
  settle,
  subscribe,
  until,
  userToken,
  type Gateway,
  type World,
} from './realtime-support.ts'

let world: World
let gateway: Gateway
beforeAll(async () => {
  world = await openWorld()
  gateway = await openGateway(world)
})
afterAll(async () => {
  await gateway.close()
  await world.close()
})

const post = (path: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(gateway.url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', apikey: PUBLISHABLE_KEY, ...headers },
    body: typeof body === 'string' || body instanceof Uint8Array ? (body as string) : JSON.stringify(body),
  })
const listen = async (topic: string, config: Record<string, unknown> = {}, token?: string, vsn: 1 | 2 = 2) => {
  const raw = await RawSocket.open(gateway, { vsn })
  expect(await raw.join(topic, config, token)).toMatchObject({ status: 'ok' })
  return raw
}
const isBroadcast = (frame: { event: string }): boolean => frame.event === 'broadcast'

describe('POST api/broadcast', () => {
  test.each(['/realtime/v1', '/socket', ''])(
    '%s/api/broadcast → 202, delivered as text without meta',
    async (prefix) => {
      const topic = randomUUID()
      const raw = await listen(topic)
      const response = await post(`${prefix}/api/broadcast?apikey=x&vsn=1.0.0`, {
        messages: [{ topic, event: 'f', payload: { q: 1 }, private: false }],
      })
      expect([response.status, await response.text()]).toEqual([202, ''])
      expect(await raw.next(isBroadcast)).toEqual({
        joinRef: null,
        ref: null,
        topic: `realtime:${topic}`,
        event: 'broadcast',
        payload: { type: 'broadcast', event: 'f', payload: { q: 1 } },
      })
      await raw.close()
    },
  )

  test('private messages the caller may not write are skipped, still 202; the service key writes them', async () => {
    const user = randomUUID()
    const topic = `chat:${user}`
    const token = await userToken(world, user)
    const raw = await listen(topic, { private: true }, token)
    const message = (n: number) => ({ messages: [{ topic, event: 'e', payload: { n }, private: true }] })
    expect((await post('/realtime/v1/api/broadcast', message(1), { authorization: `Bearer ${token}` })).status).toBe(
      202,
    )
    expect((await post('/realtime/v1/api/broadcast', message(2), { apikey: SECRET_KEY })).status).toBe(202)
    expect((await raw.next(isBroadcast)).payload.payload).toEqual({ n: 2 })
    await settle()
    expect(raw.frames).toEqual([])
    await raw.close()
  })

  test.each([
    ['no messages', {}, { messages: ["can't be blank"] }],
    ['not JSON', '{', { messages: ["can't be blank"] }],
    [
      'fields missing',
      { messages: [{ event: 'e' }, { topic: 't', event: 'e', payload: {} }] },
      { messages: [{ topic: ["can't be blank"], payload: ["can't be blank"] }, {}] },
    ],
    [
      'a payload that is not an object',
      { messages: [{ topic: 't', event: 'e', payload: [1] }] },
      { messages: [{ payload: ['is invalid'] }] },
    ],
  ])('%s → 422 with errors', async (_name, body, errors) => {
    const response = await post('/realtime/v1/api/broadcast', body)
    expect([response.status, await response.json()]).toEqual([422, { errors }])
  })

  test.each([
    ['no key', { apikey: '' }],
    ['an unknown key', { apikey: 'sb_secret_of_another_project' }],
    ['a forged token beside a good key', { authorization: 'Bearer e30.e30.AAAA' }],
  ])('%s → 401', async (_name, headers) => {
    const response = await post('/realtime/v1/api/broadcast', { messages: [] }, headers)
    expect([response.status, await response.json()]).toEqual([401, { message: 'Unauthorized' }])
  })
})

describe('POST api/broadcast/:topic/events/:event', () => {
  const path = (topic: string, event: string, query = ''): string =>
    `/realtime/v1/api/broadcast/${encodeURIComponent(topic)}/events/${encodeURIComponent(event)}${query}`

  test('JSON → 202, delivered as a frame without meta, text on vsn 1', async () => {
    const topic = `room/with slash:${randomUUID()}`
    const [v2, v1] = [await listen(topic), await listen(topic, {}, undefined, 1)]
    expect((await post(path(topic, 'h é'), { z: 1 })).status).toBe(202)
    const frame = await v2.next(isBroadcast)
    expect(frame.binary?.[0]).toBe(4)
    expect(frame.payload).toEqual({ type: 'broadcast', event: 'h é', payload: { z: 1 } })
    expect((await v1.next(isBroadcast)).payload).toEqual(frame.payload)
    await Promise.all([v2.close(), v1.close()])
  })

  test('bytes arrive as bytes; JSON that is not an object arrives wrapped', async () => {
    const topic = randomUUID()
    const raw = await listen(topic)
    const bytes = new Uint8Array([0, 1, 255])
    expect((await post(path(topic, 'b'), bytes, { 'content-type': 'application/octet-stream' })).status).toBe(202)
    expect((await raw.next(isBroadcast)).payload.payload).toEqual(Buffer.from(bytes))
    expect((await post(path(topic, 'j'), [1, 2])).status).toBe(202)
    expect((await raw.next(isBroadcast)).payload.payload).toEqual({ _json: [1, 2] })
    await raw.close()
  })

  test('private: 403 without an INSERT policy, 202 with the service key; a public twin hears neither', async () => {
    const user = randomUUID()
    const topic = `chat:${user}`
    const token = await userToken(world, user)
    const [insider, outsider] = [await listen(topic, { private: true }, token), await listen(topic)]
    const denied = await post(path(topic, 'e', '?private=true'), {}, { authorization: `Bearer ${token}` })
    expect([denied.status, await denied.json()]).toEqual([403, { message: 'Unauthorized' }])
    expect((await post(path(topic, 'e', '?private=true'), {}, { apikey: SECRET_KEY })).status).toBe(202)
    await insider.next(isBroadcast)
    await settle()
    expect([...insider.frames, ...outsider.frames]).toEqual([])
    await Promise.all([insider.close(), outsider.close()])
  })

  test('another content type → 415, broken JSON → 422, persist → 422, no key → 401', async () => {
    expect((await post(path('t', 'e'), 'x', { 'content-type': 'text/plain' })).status).toBe(415)
    expect((await post(path('t', 'e'), '{')).status).toBe(422)
    const persisted = await post(path('t', 'e', '?private=true&persist%5Bttl%5D=5'), {}, { apikey: SECRET_KEY })
    expect([persisted.status, await persisted.json()]).toEqual([422, { message: expect.any(String) }])
    expect((await post(path('t', 'e'), {}, { apikey: '' })).status).toBe(401)
  })
})

describe('the rest', () => {
  test('a browser’s preflight is answered, and answers carry CORS', async () => {
    for (const path of ['/realtime/v1/api/broadcast', '/realtime/v1/api/broadcast/t/events/e']) {
      const preflight = await fetch(gateway.url + path, {
        method: 'OPTIONS',
        headers: {
          origin: 'http://app.example',
          'access-control-request-method': 'POST',
          'access-control-request-headers': 'apikey,authorization,content-type',
        },
      })
      expect(preflight.status).toBe(204)
      expect(preflight.headers.get('access-control-allow-origin')).toBe('*')
      expect(preflight.headers.get('access-control-allow-headers')).toContain('authorization')
      const answer = await post(path, {}, { origin: 'http://app.example', apikey: '' })
      expect(answer.headers.get('access-control-allow-origin')).toBe('*')
    }
  })

  test('ping and healthcheck answer; what is left out says so', async () => {
    const get = (path: string) => fetch(gateway.url + path)
    expect(await (await get('/realtime/v1/api/ping')).json()).toEqual({ message: 'Success' })
    expect(await (await get('/realtime/v1/healthcheck')).text()).toBe('ok')
    for (const path of ['/realtime/v1/longpoll', '/realtime/v1/api/tenants', '/realtime/v1/metrics']) {
      const response = await get(path)
      expect([response.status, await response.json()]).toEqual([404, { error: 'not available on the local gateway' }])
    }
  })

  test('supabase-js: httpSend, and send before subscribe, reach a subscriber', async () => {
    const topic = randomUUID()
    const [ada, bob] = [await client(gateway, null), await client(gateway, null)]
    const to = bob.channel(topic)
    const received = collect(to)
    await subscribe(to)
    const from = ada.channel(topic)
    expect(await from.httpSend('h', { z: 1 })).toEqual({ success: true })
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => undefined)
    expect(await from.send({ type: 'broadcast', event: 'f', payload: { q: 1 } })).toBe('ok')
    warn.mockRestore()
    await until(() => received.length === 2, 'both messages')
    expect(received).toMatchObject([
      { event: 'h', payload: { z: 1 } },
      { event: 'f', payload: { q: 1 } },
    ])
    await expect(ada.channel(`chat:${randomUUID()}`, { config: { private: true } }).httpSend('e', {})).rejects.toThrow(
      'Unauthorized',
    )
    await Promise.all([ada.removeAllChannels(), bob.removeAllChannels()])
  })

  test('over the event rate → 429, with the rate in the headers', async () => {
    const narrow = await openGateway(world, { eventsPerSecond: 0.05 })
    const send = () =>
      fetch(`${narrow.url}/realtime/v1/api/broadcast/t/events/e`, {
        method: 'POST',
        headers: { apikey: PUBLISHABLE_KEY, 'content-type': 'application/json' },
        body: '{}',
      })
    const statuses = [(await send()).status, (await send()).status, (await send()).status]
    expect(statuses).toEqual([202, 202, 202])
    const refused = await send()
    expect([refused.status, refused.headers.get('x-rate-limit')]).toEqual([429, '0.05'])
    await narrow.close()
  })
})
