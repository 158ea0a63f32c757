import { once } from 'node:events'
import http from 'node:http'
import net from 'node:net'
import { WebSocket } from 'ws'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  client,
  hsToken,
  LEGACY_KEYS,
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

/** What an upgrade request is answered: 101, or the refusal's status and error. */
const connect = (path: string, headers: Record<string, string> = {}): Promise<{ status: number; error?: string }> =>
  new Promise((resolve, reject) => {
    const ws = new WebSocket(`${gateway.wsUrl}${path}`, { headers })
    ws.on('open', () => {
      ws.close()
      resolve({ status: 101 })
    })
    ws.on('unexpected-response', (_request, response: http.IncomingMessage) => {
      let body = ''
      response.on('data', (chunk) => (body += chunk))
      response.on('end', () => resolve({ status: response.statusCode ?? 0, error: JSON.parse(body).error }))
    })
    ws.on('error', reject)
  })

const PATH = '/realtime/v1/websocket'

describe('connecting', () => {
  test.each(['/realtime/v1/websocket', '/socket/websocket'])('%s upgrades with the key in the query', async (path) => {
    expect(await connect(`${path}?apikey=${PUBLISHABLE_KEY}&vsn=2.0.0`)).toEqual({ status: 101 })
  })

  test('every kind of key is accepted: sb_publishable_, sb_secret_, legacy HS256, ES256 of the local auth', async () => {
    const keys = [PUBLISHABLE_KEY, SECRET_KEY, LEGACY_KEYS.anon, await userToken(world, crypto.randomUUID())]
    for (const key of keys) expect(await connect(`${PATH}?apikey=${key}`)).toEqual({ status: 101 })
  })

  test('the x-api-key header wins over the query', async () => {
    expect(await connect(`${PATH}?apikey=nonsense`, { 'x-api-key': PUBLISHABLE_KEY })).toEqual({ status: 101 })
    expect(await connect(`${PATH}?apikey=${PUBLISHABLE_KEY}`, { 'x-api-key': 'nonsense' })).toMatchObject({
      status: 401,
    })
  })

  test('refusals: no key, no JWT, forged, expired, claims missing → 401 with the reason', async () => {
    const expired = await hsToken({ role: 'anon' }, Math.floor(Date.now() / 1000) - 10)
    const forged = LEGACY_KEYS.anon.replace(/\.[^.]+$/, `.${'A'.repeat(43)}`)
    const cases = [
      ['', 'API key is missing'],
      ['nonsense', 'The token provided is not a valid JWT'],
      ['sb_publishable_of_another_project', 'The token provided is not a valid JWT'],
      [forged, 'Failed to validate JWT signature'],
      [expired, 'Token has expired'],
      [await hsToken({ sub: 'x' }), 'Fields `role` and `exp` are required in JWT'],
    ] as const
    for (const [key, error] of cases) expect(await connect(`${PATH}?apikey=${key}`)).toEqual({ status: 401, error })
  })

  test('a vsn nobody speaks is refused; without one the socket speaks 1.0.0', async () => {
    expect(await connect(`${PATH}?apikey=${PUBLISHABLE_KEY}&vsn=9.0.0`)).toMatchObject({ status: 403 })
    const ws = new WebSocket(`${gateway.wsUrl}${PATH}?apikey=${PUBLISHABLE_KEY}`)
    await new Promise((resolve) => ws.once('open', resolve))
    const answer = new Promise<string>((resolve) => ws.once('message', (data) => resolve(String(data))))
    ws.send('{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"1"}')
    expect(JSON.parse(await answer)).toEqual({
      topic: 'phoenix',
      event: 'phx_reply',
      payload: { status: 'ok', response: {} },
      ref: '1',
    })
    ws.close()
  })

  test('another path is not upgraded', async () => {
    expect(await connect('/elsewhere')).toMatchObject({ status: 404 })
    // No address at all; any page can make a browser ask for it.
    expect(await connect('//[')).toMatchObject({ status: 404 })
  })

  test('a client that is gone before it is refused harms nobody else', async () => {
    for (const path of ['/elsewhere', '/realtime/v1/websocket'])
      for (let round = 0; round < 20; round++) {
        const socket = net.connect(gateway.port, '127.0.0.1')
        await once(socket, 'connect')
        socket.write(`GET ${path} HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`)
        socket.resetAndDestroy()
      }
    expect(await connect('/elsewhere')).toMatchObject({ status: 404 })
  })
})

describe('heartbeat and malformed frames', () => {
  test.each([1, 2] as const)('vsn %i: a heartbeat is answered before any join', async (vsn) => {
    const raw = await RawSocket.open(gateway, { vsn })
    raw.push(null, '17', 'phoenix', 'heartbeat', {})
    const reply = await raw.next((frame) => frame.ref === '17')
    expect(reply).toMatchObject({ topic: 'phoenix', event: 'phx_reply', payload: { status: 'ok', response: {} } })
    await raw.close()
  })

  test('malformed text and binary frames are ignored and the socket stays', async () => {
    const raw = await RawSocket.open(gateway)
    const deep = '['.repeat(100_000) + ']'.repeat(100_000)
    const nested = `[null,null,"realtime:x","broadcast",{"event":"e","payload":${deep}}]`
    for (const frame of ['', '{', '[1,2]', nested, Buffer.from([3, 255, 255]), Buffer.from([9])]) raw.ws.send(frame)
    raw.push(null, '1', 'phoenix', 'heartbeat', {})
    await raw.next((frame) => frame.ref === '1')
    expect(raw.frames).toEqual([])
    await raw.close()
  })

  test('a frame over the limit closes with 1009', async () => {
    const raw = await RawSocket.open(gateway)
    raw.ws.send('x'.repeat(5_000_001))
    expect(await raw.closed).toBe(1009)
  })

  test('permessage-deflate is not negotiated', async () => {
    const raw = await RawSocket.open(gateway, { ws: { perMessageDeflate: true } })
    expect(raw.ws.extensions).toBe('')
    await raw.close()
  })

  test('a socket from which no frame comes is closed, one with heartbeats is not', async () => {
    const impatient = await openGateway(world, { idleTimeoutMs: 300 })
    const [silent, beating] = [await RawSocket.open(impatient), await RawSocket.open(impatient)]
    const beat = setInterval(() => beating.push(null, 'h', 'phoenix', 'heartbeat', {}), 100)
    expect(await silent.closed).toBe(1001)
    expect(beating.ws.readyState).toBe(WebSocket.OPEN)
    clearInterval(beat)
    await impatient.close()
  })
})

describe('join and leave', () => {
  test('a join is answered with postgres_changes: [], refs echoed', async () => {
    const raw = await RawSocket.open(gateway)
    raw.push('6', '7', 'realtime:room', 'phx_join', { config: {} })
    const reply = await raw.next((frame) => frame.event === 'phx_reply')
    expect(reply).toMatchObject({
      joinRef: '6',
      ref: '7',
      payload: { status: 'ok', response: { postgres_changes: [] } },
    })
    await raw.close()
  })

  test('vsn 1 joins as well, and its reply has no join_ref', async () => {
    const raw = await RawSocket.open(gateway, { vsn: 1 })
    raw.push('6', '6', 'realtime:room', 'phx_join', { config: {} })
    expect(await raw.next((frame) => frame.event === 'phx_reply')).toEqual({
      topic: 'realtime:room',
      event: 'phx_reply',
      payload: { status: 'ok', response: { postgres_changes: [] } },
      ref: '6',
    })
    await raw.close()
  })

  test.each([
    ['no name', '', {}, 'TopicNameRequired: You must provide a topic name'],
    [
      'postgres_changes',
      'room',
      { postgres_changes: [{ event: '*' }] },
      'RealtimeDisabledForConfiguration: postgres_changes is not available on the local gateway; use broadcast from the database',
    ],
    [
      'replay on a public channel',
      'room',
      { broadcast: { replay: { since: 1 } } },
      'UnableToReplayMessages: Replay is not allowed for public channels',
    ],
    [
      'unreadable replay',
      'room',
      { private: true, broadcast: { replay: { since: 'x' } } },
      'UnableToReplayMessages: Replay params are not valid',
    ],
  ])('refused: %s', async (_name, topic, config, reason) => {
    const raw = await RawSocket.open(gateway)
    expect(await raw.join(topic, config)).toEqual({ status: 'error', response: { reason } })
    await raw.close()
  })

  test('an unreadable `private` is refused instead of opening a public channel', async () => {
    const raw = await RawSocket.open(gateway)
    const reply = await raw.join('room', { private: 'perhaps' })
    expect(reply).toMatchObject({
      status: 'error',
      response: { reason: expect.stringMatching(/^InvalidJoinPayload: /) },
    })
    expect(await raw.join('room', { private: 'false' }, undefined, '2')).toMatchObject({ status: 'ok' })
    await raw.close()
  })

  test('tokens that do not verify are refused with their reason', async () => {
    const raw = await RawSocket.open(gateway)
    const expired = await hsToken({ role: 'authenticated' }, Math.floor(Date.now() / 1000) - 10)
    const forged = (await userToken(world, crypto.randomUUID())).replace(/\.[^.]+$/, `.${'A'.repeat(86)}`)
    const cases: [string, RegExp][] = [
      ['a.b.c', /^MalformedJWT: The token provided is not a valid JWT$/],
      [forged, /^JwtSignatureError: Failed to validate JWT signature$/],
      [expired, /^InvalidJWTToken: Token has expired 1\d seconds ago$/],
      [await hsToken({ sub: 'x' }), /^InvalidJWTToken: Fields `role` and `exp` are required in JWT$/],
    ]
    for (const [at, [token, reason]] of cases.entries()) {
      const reply = await raw.join('room', {}, token, `r${at}`)
      expect(reply).toEqual({ status: 'error', response: { reason: expect.stringMatching(reason) } })
    }
    await raw.close()
  })

  test('leave: reply ok, then phx_close with ref equal to the join ref; again ok when not joined', async () => {
    const raw = await RawSocket.open(gateway)
    await raw.join('room', {}, undefined, '14')
    raw.push('14', '20', 'realtime:room', 'phx_leave', {})
    await until(() => raw.frames.length === 2, 'reply and close')
    expect(raw.frames.splice(0)).toMatchObject([
      { joinRef: '14', ref: '20', event: 'phx_reply', payload: { status: 'ok' } },
      { joinRef: '14', ref: '14', event: 'phx_close', payload: {} },
    ])
    raw.push('14', '21', 'realtime:room', 'phx_leave', {})
    expect(await raw.next((frame) => frame.ref === '21')).toMatchObject({ payload: { status: 'ok' } })
    await raw.close()
  })

  test('a second join of a topic closes the first and delivers once', async () => {
    const [raw, other] = [await RawSocket.open(gateway), await RawSocket.open(gateway)]
    await raw.join('twice', {}, undefined, '1')
    raw.push('2', '2', 'realtime:twice', 'phx_join', { config: {} })
    await until(() => raw.frames.length === 2, 'close and reply')
    expect(raw.frames.splice(0)).toMatchObject([
      { joinRef: '1', ref: '1', event: 'phx_close' },
      { joinRef: '2', ref: '2', event: 'phx_reply', payload: { status: 'ok' } },
    ])
    await other.join('twice')
    other.push('1', '9', 'realtime:twice', 'broadcast', { type: 'broadcast', event: 'e', payload: {} })
    await raw.next((frame) => frame.event === 'broadcast')
    await settle()
    expect(raw.broadcasts()).toEqual([])
    await Promise.all([raw.close(), other.close()])
  })

  test('a push on a topic that is not joined: unmatched topic, join_ref null', async () => {
    const raw = await RawSocket.open(gateway)
    raw.push('1', '2', 'realtime:nowhere', 'broadcast', { type: 'broadcast', event: 'e', payload: {} })
    raw.push('1', '3', 'elsewhere', 'phx_join', { config: {} })
    for (const ref of ['2', '3']) {
      expect(await raw.next((frame) => frame.ref === ref)).toMatchObject({
        joinRef: null,
        event: 'phx_reply',
        payload: { status: 'error', response: { reason: 'unmatched topic' } },
      })
    }
    await raw.close()
  })

  test('a stale or missing join_ref is tolerated, an unknown event ignored', async () => {
    const raw = await RawSocket.open(gateway)
    await raw.join('lenient', { broadcast: { ack: true } }, undefined, '5')
    raw.push(null, '6', 'realtime:lenient', 'broadcast', { type: 'broadcast', event: 'e', payload: {} })
    raw.push('stale', '7', 'realtime:lenient', 'broadcast', { type: 'broadcast', event: 'e', payload: {} })
    raw.push('5', '8', 'realtime:lenient', 'something', {})
    for (const ref of ['6', '7']) {
      expect(await raw.next((frame) => frame.ref === ref)).toMatchObject({ payload: { status: 'ok' } })
    }
    await settle()
    expect(raw.frames).toEqual([])
    await raw.close()
  })

  test('supabase-js: subscribe, removeChannel, subscribe again', async () => {
    const supabase = await client(gateway, null)
    for (let round = 0; round < 2; round++) {
      const channel = supabase.channel('lobby')
      expect(await subscribe(channel)).toMatchObject({ status: 'SUBSCRIBED' })
      expect(await supabase.removeChannel(channel)).toBe('ok')
    }
    await supabase.realtime.disconnect()
  })
})
