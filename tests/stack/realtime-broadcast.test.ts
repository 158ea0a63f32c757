import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  client,
  collect,
  openGateway,
  openWorld,
  RawSocket,
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

const send = (topic: string, payload: object, isPrivate = true) =>
  world.db.query('select realtime.send($1::jsonb, $2, $3, $4::boolean)', [
    JSON.stringify(payload),
    'chat_event',
    topic,
    isPrivate,
  ])

/** A signed-in user on their own private topic. */
const onOwnTopic = async (config: Record<string, unknown> = {}, options: { vsn?: 1 | 2 } = {}) => {
  const [user] = twoUsers()
  const topic = `chat:${user}`
  const raw = await RawSocket.open(gateway, options)
  const token = await userToken(world, user)
  expect(await raw.join(topic, { private: true, ...config }, token)).toMatchObject({ status: 'ok' })
  return { user, topic, raw, token }
}

const isBroadcast = (frame: { event: string }): boolean => frame.event === 'broadcast'

describe('between clients', () => {
  test('a push reaches the others, not the sender', async () => {
    const topic = randomUUID()
    const [from, to] = [await RawSocket.open(gateway), await RawSocket.open(gateway)]
    await Promise.all([from.join(topic), to.join(topic)])
    from.pushBinary({ joinRef: '1', ref: '2' }, `realtime:${topic}`, 'hi', Buffer.from('{"a":1}'))
    const frame = await to.next(isBroadcast)
    expect(frame.payload).toEqual({ type: 'broadcast', event: 'hi', payload: { a: 1 } })
    await settle()
    expect(from.frames).toEqual([])
    await Promise.all([from.close(), to.close()])
  })

  test('self: the sender too; ack: a reply', async () => {
    const topic = randomUUID()
    const raw = await RawSocket.open(gateway)
    await raw.join(topic, { broadcast: { self: true, ack: true } })
    raw.pushBinary({ joinRef: '14', ref: '15' }, `realtime:${topic}`, 'hi', Buffer.from('{}'))
    await raw.next(isBroadcast)
    expect(await raw.next((frame) => frame.ref === '15')).toMatchObject({
      joinRef: '14',
      event: 'phx_reply',
      payload: { status: 'ok', response: {} },
    })
    await raw.close()
  })

  test('what arrives as a frame leaves as a frame, what arrives as text leaves as text', async () => {
    const topic = randomUUID()
    const [from, v2, v1] = [
      await RawSocket.open(gateway),
      await RawSocket.open(gateway),
      await RawSocket.open(gateway, { vsn: 1 }),
    ]
    await Promise.all([from.join(topic), v2.join(topic), v1.join(topic)])
    from.pushBinary({}, `realtime:${topic}`, 'framed', Buffer.from('{"n":1}'))
    from.push('1', '2', `realtime:${topic}`, 'broadcast', { type: 'broadcast', event: 'texted', payload: { n: 2 } })
    const [framed, texted] = [await v2.next(isBroadcast), await v2.next(isBroadcast)]
    expect([framed.binary !== undefined, framed.payload.event]).toEqual([true, 'framed'])
    expect(texted).toEqual({
      joinRef: null,
      ref: null,
      topic: `realtime:${topic}`,
      event: 'broadcast',
      payload: { type: 'broadcast', event: 'texted', payload: { n: 2 } },
    })
    await until(() => v1.frames.length === 2, 'both on vsn 1')
    expect(v1.frames.map((frame) => frame.payload)).toEqual([framed.payload, texted.payload])
    await Promise.all([from.close(), v2.close(), v1.close()])
  })

  test('raw bytes reach vsn 2 unchanged and skip vsn 1', async () => {
    const topic = randomUUID()
    const [from, v2, v1] = [
      await RawSocket.open(gateway),
      await RawSocket.open(gateway),
      await RawSocket.open(gateway, { vsn: 1 }),
    ]
    await Promise.all([from.join(topic), v2.join(topic), v1.join(topic)])
    from.pushBinary({}, `realtime:${topic}`, 'bin', Buffer.from([1, 2, 255]), { encoding: 0 })
    from.pushBinary({}, `realtime:${topic}`, 'end', Buffer.from('{}'))
    expect((await v2.next(isBroadcast)).payload).toEqual({
      type: 'broadcast',
      event: 'bin',
      payload: Buffer.from([1, 2, 255]),
    })
    expect((await v1.next(isBroadcast)).payload.event).toBe('end')
    await Promise.all([from.close(), v2.close(), v1.close()])
  })

  test('supabase-js: JSON and bytes from one client to another, ack and self', async () => {
    const topic = randomUUID()
    const [ada, bob] = [await client(gateway, null), await client(gateway, null)]
    const from = ada.channel(topic, { config: { broadcast: { ack: true, self: true } } })
    const to = bob.channel(topic)
    const [own, theirs] = [collect(from), collect(to)]
    await Promise.all([subscribe(from), subscribe(to)])
    expect(await from.send({ type: 'broadcast', event: 'json', payload: { text: 'zażółć 🌊' } })).toBe('ok')
    expect(await from.send({ type: 'broadcast', event: 'raw', payload: new Uint8Array([1, 2, 255]).buffer })).toBe('ok')
    await until(() => own.length === 2 && theirs.length === 2, 'two messages on each side')
    for (const received of [own, theirs]) {
      expect(received[0]).toMatchObject({ type: 'broadcast', event: 'json', payload: { text: 'zażółć 🌊' } })
      expect(new Uint8Array(received[1]!['payload'])).toEqual(new Uint8Array([1, 2, 255]))
    }
    await Promise.all([ada.removeAllChannels(), bob.removeAllChannels()])
  })

  test('persist is refused, never silently accepted', async () => {
    const raw = await RawSocket.open(gateway)
    await raw.join('stored', { broadcast: { ack: true, self: true } })
    raw.pushBinary({ joinRef: '1', ref: '2' }, 'realtime:stored', 'e', Buffer.from('{}'), { meta: '{"persist":true}' })
    expect(await raw.next((frame) => frame.ref === '2')).toMatchObject({
      payload: { status: 'error', response: { error: 'persistence_not_supported' } },
    })
    expect(raw.frames).toEqual([])
    await raw.close()
  })

  test('a push over the size limit is refused with ack and reaches nobody', async () => {
    const small = await openGateway(world, { maxPayloadBytes: 1_000 })
    const raw = await RawSocket.open(small)
    await raw.join('small', { broadcast: { ack: true, self: true } })
    raw.pushBinary({ joinRef: '1', ref: '2' }, 'realtime:small', 'e', Buffer.from(JSON.stringify('x'.repeat(1_000))))
    raw.pushBinary({ joinRef: '1', ref: '3' }, 'realtime:small', 'fits', Buffer.from('{}'))
    expect(await raw.next((frame) => frame.ref === '2')).toMatchObject({
      payload: { status: 'error', response: { error: 'payload_size_exceeded' } },
    })
    expect((await raw.next(isBroadcast)).payload.event).toBe('fits')
    await small.close()
  })
})

describe('from the database', () => {
  test('a committed row reaches every socket of the room once, with meta.id', async () => {
    const { raw, topic, token } = await onOwnTopic()
    const [second, v1] = [await RawSocket.open(gateway), await RawSocket.open(gateway, { vsn: 1 })]
    await second.join(topic, { private: true }, token)
    await v1.join(topic, { private: true }, token)
    await send(topic, { n: 1, big: 'exact' })
    const [row] = await world.db.query('select id::text as id from realtime.messages where topic = $1', [topic])
    const payload = {
      type: 'broadcast',
      event: 'chat_event',
      payload: { n: 1, big: 'exact', id: row!['id'] },
      meta: { id: row!['id'] },
    }
    for (const socket of [raw, second]) {
      const frame = await socket.next(isBroadcast)
      expect(frame.payload).toEqual(payload)
      expect(frame.binary?.[0]).toBe(4)
    }
    expect((await v1.next(isBroadcast)).payload).toEqual(payload)
    await settle()
    expect([raw, second, v1].flatMap((socket) => socket.frames)).toEqual([])
    await Promise.all([raw.close(), second.close(), v1.close()])
  })

  test('a rolled-back row is never delivered', async () => {
    const { raw, topic } = await onOwnTopic()
    const rollback = world.db.transaction(async (tx) => {
      await tx.query(`select realtime.send('{"n":1}', 'e', $1)`, [topic])
      throw new Error('rolled back on purpose')
    })
    await expect(rollback).rejects.toThrow('on purpose')
    await send(topic, { n: 2 })
    expect((await raw.next(isBroadcast)).payload.payload).toMatchObject({ n: 2 })
    expect(raw.frames).toEqual([])
    await raw.close()
  })

  test('commit order, also within a transaction and across 300 messages', async () => {
    const { raw, topic } = await onOwnTopic()
    for (let at = 0; at < 30; at++) {
      await world.db.query(
        `select realtime.send(jsonb_build_object('n', n), 'e', $1)
         from generate_series($2::int, $2::int + 9) as n`,
        [topic, at * 10],
      )
    }
    await until(() => raw.frames.length === 300, '300 messages')
    expect(raw.frames.map((frame) => frame.payload.payload.n)).toEqual(Array.from({ length: 300 }, (_, n) => n))
    await raw.close()
  })

  test('payloads far over the 8000 bytes of a notification arrive whole', async () => {
    const { raw, topic } = await onOwnTopic()
    const text = 'żółw '.repeat(40_000)
    await send(topic, { text })
    expect((await raw.next(isBroadcast)).payload.payload.text).toBe(text)
    await raw.close()
  })

  test('numbers beyond double precision arrive as stored', async () => {
    const { raw, topic } = await onOwnTopic()
    await world.db.query(`select realtime.send('{"n":12345678901234567890.123}', 'e', $1)`, [topic])
    expect(String((await raw.next(isBroadcast)).binary)).toContain('12345678901234567890.123')
    await raw.close()
  })

  test('send_binary arrives as bytes', async () => {
    const { raw, topic } = await onOwnTopic()
    await world.db.query(`select realtime.send_binary('\\x0102ff'::bytea, 'bin', $1)`, [topic])
    const { payload } = await raw.next(isBroadcast)
    expect(payload).toMatchObject({ event: 'bin', payload: Buffer.from([1, 2, 255]), meta: { id: expect.any(String) } })
    await raw.close()
  })

  test('rows without event or payload, or over the size limit, are left out with one log line; others arrive', async () => {
    const small = await openGateway(world, { maxPayloadBytes: 1_000 })
    const [user] = twoUsers()
    const topic = `chat:${user}`
    const raw = await RawSocket.open(small)
    await raw.join(topic, { private: true }, await userToken(world, user))
    await world.db.query(
      `insert into realtime.messages (topic, extension, event, payload, private) values
         ($1, 'broadcast', null, '{}', true),
         ($1, 'broadcast', 'no payload', null, true),
         ($1, 'broadcast', 'too large', jsonb_build_object('x', repeat('x', 1000)), true),
         ($1, 'presence', 'not a broadcast', '{}', true),
         ($1, 'broadcast', 'fine', '{"n":1}', true)`,
      [topic],
    )
    expect((await raw.next(isBroadcast)).payload.event).toBe('fine')
    await settle()
    expect(raw.frames).toEqual([])
    expect(small.log.filter(({ event }) => event === 'message_not_delivered')).toHaveLength(3)
    await small.close()
  })

  test('a broadcast from a trigger reaches supabase-js', async () => {
    await world.db.exec(`
      create table public.notes (id bigint generated always as identity, user_id uuid, body text);
      create function public.tell_owner() returns trigger language plpgsql security definer set search_path = '' as $$
      begin
        perform realtime.send(payload => jsonb_build_object('body', new.body), event => 'note', topic => 'chat:' || new.user_id, private => true);
        return null;
      end $$;
      create trigger tell_owner after insert on public.notes for each row execute function public.tell_owner();
      grant insert on public.notes to authenticated;`)
    const [user] = twoUsers()
    const supabase = await client(gateway, await userToken(world, user))
    const channel = supabase.channel(`chat:${user}`, { config: { private: true } })
    const received = collect(channel, 'note')
    await subscribe(channel)
    await world.db.transaction(async (tx) => {
      await tx.query("select set_config('role', 'authenticated', true)")
      await tx.query('insert into public.notes (user_id, body) values ($1::uuid, $2)', [user, 'hello'])
    })
    await until(() => received.length === 1, 'the note')
    expect(received[0]).toMatchObject({ event: 'note', payload: { body: 'hello' }, meta: { id: expect.any(String) } })
    await supabase.removeAllChannels()
  })

  test('replication_ready: the system message says when rows are heard', async () => {
    const { raw, topic } = await onOwnTopic({ broadcast: { replication_ready: true } })
    expect(await raw.next((frame) => frame.event === 'system')).toMatchObject({
      joinRef: '1',
      ref: null,
      payload: {
        status: 'ok',
        extension: 'system',
        message: 'Replication connection established',
        channel: topic,
      },
    })
    await raw.close()
  })

  test('without asking for it there is no system message', async () => {
    const { raw } = await onOwnTopic()
    await settle()
    expect(raw.frames).toEqual([])
    await raw.close()
  })
})

describe('replay', () => {
  const replay = (since: number, limit?: number) => ({ private: true, broadcast: { replay: { since, limit } } })

  test('the newest messages since a time, oldest first, marked, text, with join_ref; later ones are live', async () => {
    const [user] = twoUsers()
    const topic = `chat:${user}`
    const since = Date.now() - 1_000
    await world.db.query(`select realtime.send(jsonb_build_object('n', n), 'e', $1) from generate_series(1, 4) as n`, [
      topic,
    ])
    await send(topic, { n: 5 })
    const raw = await RawSocket.open(gateway)
    await raw.join(topic, replay(since, 3), await userToken(world, user), '6')
    await until(() => raw.broadcasts().length === 3, 'three replayed')
    expect(raw.broadcasts().map((frame) => frame.payload.payload.n)).toEqual([3, 4, 5])
    expect(raw.broadcasts()[0]).toMatchObject({ joinRef: '6', ref: null, payload: { meta: { replayed: true } } })
    expect(raw.broadcasts()[0]!.binary).toBeUndefined()
    raw.frames.splice(0)
    await send(topic, { n: 6 })
    const live = await raw.next(isBroadcast)
    expect(live.payload).toMatchObject({ payload: { n: 6 } })
    expect(live.payload.meta).not.toHaveProperty('replayed')
    await raw.close()
  })

  test('at most 25, whatever is asked for; not older than since; not of other topics or public rows', async () => {
    const [user, other] = twoUsers()
    const topic = `chat:${user}`
    await world.db.query(`select realtime.send(jsonb_build_object('n', n), 'e', $1) from generate_series(1, 40) as n`, [
      topic,
    ])
    await send(topic, { public: true }, false)
    await send(`chat:${other}`, { foreign: true })
    const token = await userToken(world, user)
    const raw = await RawSocket.open(gateway)
    await raw.join(topic, replay(0, 1_000), token)
    await until(() => raw.broadcasts().length >= 25, 'the replay')
    await settle()
    expect(raw.broadcasts().map((frame) => frame.payload.payload.n)).toEqual(
      Array.from({ length: 25 }, (_, at) => at + 16),
    )
    raw.frames.splice(0)
    await raw.join(topic, replay(Date.now() + 1), token, '2')
    await settle()
    expect(raw.broadcasts()).toEqual([])
    await raw.close()
  })

  test('nothing is lost and nothing comes twice while messages are being committed', async () => {
    const [user] = twoUsers()
    const topic = `chat:${user}`
    const token = await userToken(world, user)
    const since = Date.now() - 1_000
    let n = 0
    let sending = true
    const writer = (async () => {
      while (sending && n < 20) {
        await send(topic, { n: n++ })
        await settle(5)
      }
    })()
    const sockets = await Promise.all(
      Array.from({ length: 5 }, async (_, at) => {
        await settle(at * 20)
        const raw = await RawSocket.open(gateway)
        await raw.join(topic, replay(since, 25), token)
        return raw
      }),
    )
    await settle(100)
    sending = false
    await writer
    await settle()
    for (const raw of sockets) {
      const seen = raw.broadcasts().map((frame) => frame.payload.payload.n)
      expect(seen).toEqual(Array.from({ length: n }, (_, at) => at))
      await raw.close()
    }
  })
})
