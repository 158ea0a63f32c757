import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import {
  client,
  collect,
  openGateway,
  openWorld,
  PUBLISHABLE_KEY,
  RawSocket,
  settle,
  subscribe,
  until,
  userToken,
  type World,
} from './realtime-support.ts'

let world: World
beforeAll(async () => {
  world = await openWorld()
})
afterAll(() => world.close())

const publish = (topic: string, payload: object) =>
  world.db.query('select realtime.send($1::jsonb, $2, $3, false)', [JSON.stringify(payload), 'e', topic])
const push = (raw: RawSocket, topic: string, ref = '9'): void =>
  raw.push('1', ref, `realtime:${topic}`, 'broadcast', { type: 'broadcast', event: 'e', payload: {} })

test('S08 a slow subscriber is cut off and does not delay the others', async () => {
  const gateway = await openGateway(world, { maxBufferedBytes: 1_000_000 })
  const topic = randomUUID()
  const [slow, quick] = [await RawSocket.open(gateway), await RawSocket.open(gateway)]
  await Promise.all([slow.join(topic), quick.join(topic)])
  slow.ws.pause()
  const payload = { text: 'x'.repeat(500_000) }
  for (let n = 0; n < 40; n++) {
    await publish(topic, payload)
    await until(() => quick.broadcasts().length === n + 1, `message ${n}`)
  }
  await until(() => gateway.log.some(({ event }) => event === 'slow_subscriber_cut'), 'the cut')
  slow.ws.resume()
  expect(await slow.closed).toBe(1006)
  expect(slow.broadcasts().length).toBeLessThan(40)
  await gateway.close()
})

describe('limits, when they are set', () => {
  test('channels of a socket', async () => {
    const gateway = await openGateway(world, { channelsPerSocket: 2 })
    const raw = await RawSocket.open(gateway)
    const replies = await Promise.all(['a', 'b', 'c'].map((topic) => raw.join(topic, {}, undefined, topic)))
    expect(replies.map((reply) => reply.response.reason)).toEqual([
      undefined,
      undefined,
      'ChannelRateLimitReached: Too many channels',
    ])
    raw.push('a', 'x', 'realtime:a', 'phx_leave', {})
    await raw.next((frame) => frame.event === 'phx_close')
    expect(await raw.join('c', {}, undefined, 'd')).toMatchObject({ status: 'ok' })
    await gateway.close()
  })

  test('sockets: the next one is refused at the upgrade', async () => {
    const gateway = await openGateway(world, { sockets: 1 })
    const first = await RawSocket.open(gateway)
    await expect(RawSocket.open(gateway)).rejects.toThrow('429')
    await first.close()
    await settle(50)
    await (await RawSocket.open(gateway)).close()
    await gateway.close()
  })

  test('messages per second: the channel is told and closed, other channels are not', async () => {
    const gateway = await openGateway(world, { eventsPerSecond: 0.1 })
    const raw = await RawSocket.open(gateway)
    await raw.join('busy')
    await raw.join('calm', {}, undefined, '2')
    for (let n = 0; n < 7; n++) push(raw, 'busy')
    expect((await raw.next((frame) => frame.event === 'system')).payload).toMatchObject({
      message: 'Too many messages per second',
      channel: 'busy',
    })
    expect(await raw.next((frame) => frame.event === 'phx_close')).toMatchObject({ ref: '1' })
    await settle()
    expect(raw.frames.filter((frame) => frame.topic === 'realtime:calm')).toEqual([])
    await gateway.close()
  })

  test('S08 joins per second: the join is refused and the socket closed with 1001', async () => {
    const gateway = await openGateway(world, { joinsPerSecond: 0.05 })
    const raw = await RawSocket.open(gateway)
    const replies = []
    for (const ref of ['1', '2', '3', '4']) replies.push(await raw.join(`t${ref}`, {}, undefined, ref))
    expect(replies.at(-1)).toEqual({
      status: 'error',
      response: { reason: 'ClientJoinRateLimitReached: Too many joins per second' },
    })
    expect(await raw.closed).toBe(1001)
    await gateway.close()
  })

  test('S01 private channels only', async () => {
    const gateway = await openGateway(world, { privateOnly: true })
    const raw = await RawSocket.open(gateway)
    expect(await raw.join('open')).toEqual({
      status: 'error',
      response: { reason: 'PrivateOnly: This project only allows private channels' },
    })
    await gateway.close()
  })

  test('none by default: 150 channels on a socket, 2000 messages in a burst', async () => {
    const gateway = await openGateway(world)
    const [raw, other] = [await RawSocket.open(gateway), await RawSocket.open(gateway)]
    await Promise.all(Array.from({ length: 150 }, (_, at) => raw.join(`t${at}`, {}, undefined, `${at}`)))
    await other.join('t0')
    for (let n = 0; n < 2_000; n++) push(raw, 't0')
    await until(() => other.broadcasts().length === 2_000, '2000 messages')
    await gateway.close()
  })

  test('a refused join waits as long as it is told to', async () => {
    const joinRefusalDelayMs = 300
    const gateway = await openGateway(world, { privateOnly: true, joinRefusalDelayMs })
    const raw = await RawSocket.open(gateway)
    const order: string[] = []
    // Of two that wait as long, the one that began first ends first, however slow the machine.
    const waited = settle(joinRefusalDelayMs).then(() => order.push('as long'))
    expect(await raw.join('open')).toMatchObject({ status: 'error' })
    order.push('refused')
    await waited
    expect(order).toEqual(['as long', 'refused'])
    await gateway.close()
  })
})

describe('stopping', () => {
  test('sockets are closed with 1012 and nothing is accepted afterwards', async () => {
    const gateway = await openGateway(world)
    const raw = await RawSocket.open(gateway)
    await raw.join('room')
    await gateway.close()
    expect(await raw.closed).toBe(1012)
    await expect(RawSocket.open(gateway)).rejects.toThrow()
  })

  test('a client that does not answer the close frame does not hold up the stop', async () => {
    const gateway = await openGateway(world, { stopTimeoutMs: 200 })
    const raw = await RawSocket.open(gateway)
    raw.ws.pause()
    await gateway.close()
    raw.ws.terminate()
  })

  test('supabase-js reconnects after a restart, rejoins by itself and receives again', async () => {
    const before = await openGateway(world)
    const user = randomUUID()
    const supabase = await client(before, await userToken(world, user))
    const channel = supabase.channel(`chat:${user}`, { config: { private: true } })
    const received = collect(channel)
    const statuses: string[] = []
    await subscribe(channel, (status) => statuses.push(status) > 0)
    await before.close()
    const after = await openGateway(world, {}, before.port)
    await until(() => statuses.filter((status) => status === 'SUBSCRIBED').length === 2, 'subscribed again', 15_000)
    await world.db.query(`select realtime.send('{"n":1}', 'e', $1)`, [`chat:${user}`])
    await until(() => received.length === 1, 'a message after the restart')
    await supabase.removeAllChannels()
    await after.close()
  })
})

describe('partitions', () => {
  const names = async (): Promise<string[]> =>
    (
      await world.db.query<{ name: string }>(
        `select pg_class.relname::text as name from pg_inherits join pg_class on pg_class.oid = pg_inherits.inhrelid
         where pg_inherits.inhparent = 'realtime.messages'::regclass order by 1`,
      )
    ).map((row) => row.name)
  const day = (offset: number): string =>
    `messages_${new Date(Date.now() + offset * 86_400_000).toISOString().slice(0, 10).replaceAll('-', '_')}`

  test('a start makes yesterday to three days ahead and drops what is older than 72 hours', async () => {
    const old = new Date(Date.now() - 5 * 86_400_000).toISOString().slice(0, 10)
    await world.db.exec(`
      create table realtime.${day(-5)} partition of realtime.messages for values from ('${old}') to ('${old}'::date + 1);
      drop table realtime.${day(3)};`)
    const gateway = await openGateway(world)
    expect(await names()).toEqual([-1, 0, 1, 2, 3].map(day))
    await gateway.close()
  })

  test('they are kept up while it runs', async () => {
    const gateway = await openGateway(world, { upkeepIntervalMs: 100 })
    await world.db.exec(`drop table realtime.${day(2)}`)
    const deadline = Date.now() + 5_000
    while (!(await names()).includes(day(2)) && Date.now() < deadline) await settle(50)
    expect(await names()).toContain(day(2))
    await gateway.close()
  })
})

test('500 idle sockets are held and heartbeats stay quick', async () => {
  const gateway = await openGateway(world)
  const sockets = await Promise.all(Array.from({ length: 500 }, () => RawSocket.open(gateway)))
  expect(sockets.every((raw) => raw.ws.readyState === WebSocket.OPEN)).toBe(true)
  sockets[0]!.push(null, 'h', 'phoenix', 'heartbeat', {})
  await sockets[0]!.next((frame) => frame.ref === 'h')
  await gateway.close()
  expect(await Promise.all(sockets.map((raw) => raw.closed))).toEqual(sockets.map(() => 1012))
})

test('the key of a connection is not kept in what is logged', async () => {
  const gateway = await openGateway(world)
  const raw = await RawSocket.open(gateway)
  raw.ws.send('not json')
  await until(() => gateway.log.length > 0, 'a log line')
  expect(JSON.stringify(gateway.log)).not.toContain(PUBLISHABLE_KEY)
  await gateway.close()
})
