import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  client,
  collect,
  LEGACY_KEYS,
  openGateway,
  openWorld,
  RawSocket,
  SECRET_KEY,
  settle,
  subscribe,
  twoUsers,
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

const PRIVATE = { config: { private: true } }
const refused = (topic: string) => ({
  status: 'error',
  response: { reason: `Unauthorized: You do not have permissions to read from this Channel topic: ${topic}` },
})
const send = (topic: string, payload: object, isPrivate = true) =>
  world.db.query('select realtime.send($1::jsonb, $2, $3, $4::boolean)', [
    JSON.stringify(payload),
    'chat_event',
    topic,
    isPrivate,
  ])
const joinClub = (topic: string, user: string) =>
  world.db.query('insert into public.club_members values ($1, $2::uuid)', [topic, user])

describe('who may listen', () => {
  test('A on chat:A is SUBSCRIBED and receives; A on chat:B is refused and receives nothing', async () => {
    const [a, b] = twoUsers()
    const supabase = await client(gateway, await userToken(world, a))
    const [own, foreign] = [supabase.channel(`chat:${a}`, PRIVATE), supabase.channel(`chat:${b}`, PRIVATE)]
    const [received, stolen] = [collect(own), collect(foreign)]
    expect(await subscribe(own)).toMatchObject({ status: 'SUBSCRIBED' })
    expect(await subscribe(foreign)).toEqual({
      status: 'CHANNEL_ERROR',
      message: expect.stringContaining(refused(`chat:${b}`).response.reason),
    })
    await send(`chat:${b}`, { for: 'b' })
    await send(`chat:${a}`, { for: 'a' })
    await until(() => received.length > 0, 'the message for A')
    await settle()
    expect(received).toMatchObject([{ event: 'chat_event', payload: { for: 'a' } }])
    expect(stolen).toEqual([])
    await supabase.removeAllChannels()
  })

  test.each(['sb_publishable_', 'legacy'])('anon with a %s key is refused', async (kind) => {
    const [a] = twoUsers()
    const raw = await RawSocket.open(gateway, kind === 'legacy' ? { key: LEGACY_KEYS.anon } : {})
    expect(await raw.join(`chat:${a}`, { private: true })).toEqual(refused(`chat:${a}`))
    await raw.close()
  })

  test.each(['sb_secret_', 'legacy'])('service_role with a %s key listens anywhere', async (kind) => {
    const [a] = twoUsers()
    const raw = await RawSocket.open(gateway, { key: kind === 'legacy' ? LEGACY_KEYS.service_role : SECRET_KEY })
    expect(await raw.join(`chat:${a}`, { private: true })).toMatchObject({ status: 'ok' })
    await send(`chat:${a}`, { n: 1 })
    expect((await raw.next((frame) => frame.event === 'broadcast')).payload.payload).toMatchObject({ n: 1 })
    await raw.close()
  })

  test('an sb_ key as access_token means the key of the connection', async () => {
    const [a] = twoUsers()
    const raw = await RawSocket.open(gateway)
    expect(await raw.join(`chat:${a}`, { private: true }, SECRET_KEY)).toEqual(refused(`chat:${a}`))
    await raw.close()
  })

  test('S01 the public twin of a private topic hears nothing of it, nor the other way round', async () => {
    const [a] = twoUsers()
    const [insider, outsider] = [await RawSocket.open(gateway), await RawSocket.open(gateway)]
    await insider.join(`chat:${a}`, { private: true }, await userToken(world, a))
    expect(await outsider.join(`chat:${a}`, {})).toMatchObject({ status: 'ok' })
    outsider.push('1', '2', `realtime:chat:${a}`, 'broadcast', { type: 'broadcast', event: 'forged', payload: {} })
    await send(`chat:${a}`, { secret: true })
    await insider.next((frame) => frame.event === 'broadcast' && frame.payload.event === 'chat_event')
    await settle()
    expect(insider.broadcasts()).toEqual([])
    expect(outsider.broadcasts()).toEqual([])
    await Promise.all([insider.close(), outsider.close()])
  })

  test('policies see the x-* headers of the upgrade', async () => {
    await world.db.exec(`create policy "by header" on realtime.messages for select to anon
      using ((select realtime.topic()) = 'by-header' and current_setting('request.headers', true)::json ->> 'x-door' = 'open')`)
    const open = await RawSocket.open(gateway, { ws: { headers: { 'X-Door': 'open' } } })
    const shut = await RawSocket.open(gateway)
    expect(await open.join('by-header', { private: true })).toMatchObject({ status: 'ok' })
    expect(await shut.join('by-header', { private: true })).toEqual(refused('by-header'))
    await Promise.all([open.close(), shut.close()])
  })
})

describe('the probe', () => {
  test('leaves no row and emits no notification', async () => {
    const user = randomUUID()
    const topic = `club:${randomUUID()}`
    await joinClub(topic, user)
    const heard: string[] = []
    const stop = await world.db.listen('realtime_messages', (payload) => heard.push(payload))
    const raw = await RawSocket.open(gateway)
    const config = { private: true, broadcast: { ack: true }, presence: { enabled: true } }
    expect(await raw.join(topic, config, await userToken(world, user))).toMatchObject({ status: 'ok' })
    raw.push('1', '2', `realtime:${topic}`, 'broadcast', { type: 'broadcast', event: 'e', payload: {} })
    expect(await raw.next((frame) => frame.ref === '2')).toMatchObject({ payload: { status: 'ok' } })
    const rows = await world.db.query('select 1 from realtime.messages where topic = $1', [topic])
    expect(rows).toEqual([])
    await settle()
    expect(heard).toEqual([])
    await send(topic, {})
    await until(() => heard.length === 1, 'the notification of a real message')
    await stop()
    await raw.close()
  })

  test.each([
    ['a policy that raises', 'raise', {}],
    ['a role that does not exist', 'chat:x', { role: 'nobody_of_that_name' }],
    ['the role "none", which would be the owner', 'chat:x', { role: 'none' }],
    ['a role of the platform', 'chat:x', { role: 'postgres' }],
  ])('%s means no, and the next statement runs as the owner again', async (_name, topic, claims) => {
    const raw = await RawSocket.open(gateway)
    const token = await userToken(world, randomUUID(), claims)
    expect(await raw.join(topic, { private: true }, token)).toEqual(refused(topic))
    const [state] = await world.db.query(
      `select current_user = session_user as owner, coalesce(current_setting('request.jwt.claims', true), '') as claims,
         coalesce(realtime.topic(), '') as topic`,
    )
    expect(state).toEqual({ owner: true, claims: '', topic: '' })
    const [a] = twoUsers()
    expect(await raw.join(`chat:${a}`, { private: true }, await userToken(world, a), '2')).toMatchObject({
      status: 'ok',
    })
    await raw.close()
  })

  test('concurrent joins of many users never see each other’s rights', async () => {
    const users = Array.from({ length: 20 }, () => randomUUID())
    const sockets = await Promise.all(users.map(() => RawSocket.open(gateway)))
    const outcomes = await Promise.all(
      users.flatMap((user, at) => {
        const foreign = users[(at + 1) % users.length]!
        const socket = sockets[at]!
        return [
          userToken(world, user).then((token) => socket.join(`chat:${user}`, { private: true }, token, 'own')),
          userToken(world, user).then((token) => socket.join(`chat:${foreign}`, { private: true }, token, 'foreign')),
        ]
      }),
    )
    expect(outcomes.map((reply) => reply.status)).toEqual(users.flatMap(() => ['ok', 'error']))
    await Promise.all(sockets.map((socket) => socket.close()))
  })

  test('without a partition for today a join says so', async () => {
    const [a] = twoUsers()
    const raw = await RawSocket.open(gateway)
    const token = await userToken(world, a)
    const today = `messages_${new Date().toISOString().slice(0, 10).replaceAll('-', '_')}`
    await world.db.exec(`drop table realtime.${today}`)
    const reply = await raw.join(`chat:${a}`, { private: true }, token)
    await world.db.exec('select realtime.ensure_partitions()')
    expect(reply.response.reason).toBe('MissingPartition: Realtime was unable to find the expected messages partition')
    expect(await raw.join(`chat:${a}`, { private: true }, token, '2')).toMatchObject({ status: 'ok' })
    await raw.close()
  })
})

describe('who may speak', () => {
  test('without an INSERT policy a push is not delivered and not answered, even with ack', async () => {
    const [a] = twoUsers()
    const token = await userToken(world, a)
    const [device, other] = [await RawSocket.open(gateway), await RawSocket.open(gateway)]
    await device.join(`chat:${a}`, { private: true, broadcast: { ack: true, self: true } }, token)
    await other.join(`chat:${a}`, { private: true }, token)
    device.push('1', '2', `realtime:chat:${a}`, 'broadcast', { type: 'broadcast', event: 'forged', payload: {} })
    device.pushBinary({ joinRef: '1', ref: '3' }, `realtime:chat:${a}`, 'forged', Buffer.from('{}'))
    await settle(400)
    expect(device.frames).toEqual([])
    expect(other.frames).toEqual([])
    await send(`chat:${a}`, {})
    await other.next((frame) => frame.event === 'broadcast' && frame.payload.event === 'chat_event')
    await Promise.all([device.close(), other.close()])
  })

  test('with one it is delivered and acknowledged', async () => {
    const [writer, reader] = twoUsers()
    const topic = `club:${randomUUID()}`
    await Promise.all([joinClub(topic, writer), joinClub(topic, reader)])
    const [from, to] = [await RawSocket.open(gateway), await RawSocket.open(gateway)]
    await from.join(topic, { private: true, broadcast: { ack: true } }, await userToken(world, writer))
    await to.join(topic, { private: true }, await userToken(world, reader))
    from.push('1', '2', `realtime:${topic}`, 'broadcast', { type: 'broadcast', event: 'hello', payload: { n: 1 } })
    expect(await from.next((frame) => frame.ref === '2')).toMatchObject({ payload: { status: 'ok' } })
    expect((await to.next((frame) => frame.event === 'broadcast')).payload).toMatchObject({ event: 'hello' })
    await Promise.all([from.close(), to.close()])
  })
})

describe('token refresh and expiry', () => {
  test('the same token, an sb_ key and null change nothing; a valid one is silent', async () => {
    const [a] = twoUsers()
    const token = await userToken(world, a)
    const raw = await RawSocket.open(gateway)
    await raw.join(`chat:${a}`, { private: true }, token)
    const fresh = await userToken(world, a, { session: 'new' })
    for (const access_token of [token, SECRET_KEY, null, fresh]) {
      raw.push('1', '9', `realtime:chat:${a}`, 'access_token', { access_token })
    }
    await settle()
    expect(raw.frames).toEqual([])
    await send(`chat:${a}`, { still: 'here' })
    await raw.next((frame) => frame.event === 'broadcast')
    await raw.close()
  })

  test.each([
    [
      'another user’s',
      (b: string) => userToken(world, b),
      /^You do not have permissions to read from this Channel topic: chat:/,
    ],
    [
      'a forged',
      async () => 'e30.e30.AAAA',
      /^(The token provided is not a valid JWT|Failed to validate JWT signature)$/,
    ],
    [
      'an expired',
      (b: string) => userToken(world, b, { exp: Math.floor(Date.now() / 1000) - 5 }),
      /^Token has expired \d+ seconds ago$/,
    ],
  ])(
    '%s token: system error without prefix, then phx_close; nothing more is delivered',
    async (_name, make, message) => {
      const [a, b] = twoUsers()
      const raw = await RawSocket.open(gateway)
      await raw.join(`chat:${a}`, { private: true }, await userToken(world, a), '6')
      raw.push('6', '18', `realtime:chat:${a}`, 'access_token', { access_token: await make(b) })
      await until(() => raw.frames.length === 2, 'system and close')
      expect(raw.frames.splice(0)).toMatchObject([
        {
          joinRef: '6',
          ref: null,
          event: 'system',
          payload: {
            status: 'error',
            extension: 'system',
            channel: `chat:${a}`,
            message: expect.stringMatching(message),
          },
        },
        { joinRef: '6', ref: '6', event: 'phx_close', payload: {} },
      ])
      await send(`chat:${a}`, {})
      await settle()
      expect(raw.frames).toEqual([])
      await raw.close()
    },
  )

  test('an expired token closes its channel without being asked; the socket and other channels live on', async () => {
    const [a] = twoUsers()
    const raw = await RawSocket.open(gateway)
    const exp = Math.floor(Date.now() / 1000) + 2
    await raw.join('lobby', {}, undefined, '1')
    await raw.join(`chat:${a}`, { private: true }, await userToken(world, a, { exp }), '2')
    const system = await raw.next((frame) => frame.event === 'system')
    expect(system.payload.message).toMatch(/^Token has expired \d+ seconds ago$/)
    expect(await raw.next((frame) => frame.event === 'phx_close')).toMatchObject({ ref: '2' })
    raw.push(null, '9', 'phoenix', 'heartbeat', {})
    await raw.next((frame) => frame.ref === '9')
    await send('lobby', { n: 1 }, false)
    await raw.next((frame) => frame.event === 'broadcast')
    await raw.close()
  })

  test('supabase-js: a refreshed token keeps the channel beyond the expiry of the first', async () => {
    const [a] = twoUsers()
    let token = await userToken(world, a, { exp: Math.floor(Date.now() / 1000) + 2 })
    const supabase = await client(gateway, () => token)
    const channel = supabase.channel(`chat:${a}`, PRIVATE)
    const received = collect(channel)
    const statuses: string[] = []
    await subscribe(channel, (status) => statuses.push(status) > 0)
    token = await userToken(world, a)
    await supabase.realtime.setAuth()
    await settle(2_500)
    await send(`chat:${a}`, { late: true })
    await until(() => received.length === 1, 'a message after the first token expired')
    expect(statuses).toEqual(['SUBSCRIBED'])
    await supabase.removeAllChannels()
  })
})
