import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Database } from '../../local/database/database.ts'
import { Authorizer } from '../../local/realtime/authorization.ts'
import { DEFAULT_LIMITS } from '../../local/realtime/options.ts'
import { RecheckLoop } from '../../local/realtime/recheck.ts'
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
  type World,
} from './realtime-support.ts'

// Deliberately stricter than upstream, which keeps a verdict until the token changes.

let world: World
beforeAll(async () => {
  world = await openWorld()
})
afterAll(() => world.close())

/** Leaves only the check before a delivery. */
const NO_ROUNDS = { recheckIntervalMs: 3_600_000 }

const send = (topic: string, payload: object) =>
  world.db.query('select realtime.send($1::jsonb, $2, $3)', [JSON.stringify(payload), 'chat_event', topic])
const joinClub = (topic: string, user: string) =>
  world.db.query('insert into public.club_members values ($1, $2::uuid)', [topic, user])
const leaveClub = (topic: string, user: string) =>
  world.db.query('delete from public.club_members where topic = $1 and user_id = $2::uuid', [topic, user])

describe('S04 a member who is removed', () => {
  test('is given nothing a second later, and told why', async () => {
    const gateway = await openGateway(world, NO_ROUNDS)
    const [stays, goes] = twoUsers()
    const topic = `club:${randomUUID()}`
    await Promise.all([joinClub(topic, stays), joinClub(topic, goes)])
    const [kept, removed] = [await RawSocket.open(gateway), await RawSocket.open(gateway)]
    await kept.join(topic, { private: true }, await userToken(world, stays))
    await removed.join(topic, { private: true }, await userToken(world, goes))
    await send(topic, { n: 1 })
    await Promise.all([kept, removed].map((raw) => raw.next((frame) => frame.event === 'broadcast')))
    await leaveClub(topic, goes)
    await settle(1_100)
    await send(topic, { n: 2 })
    await kept.next((frame) => frame.event === 'broadcast')
    expect((await removed.next((frame) => frame.event === 'system')).payload.message).toBe(
      `You no longer have permission to read from this Channel topic: ${topic}`,
    )
    await removed.next((frame) => frame.event === 'phx_close')
    expect(removed.broadcasts()).toEqual([])
    await gateway.close()
  })

  test('is closed within five seconds even when nothing is sent; others stay', async () => {
    const [stays, goes] = twoUsers()
    const topic = `club:${randomUUID()}`
    await Promise.all([joinClub(topic, stays), joinClub(topic, goes)])
    expect(DEFAULT_LIMITS.recheckIntervalMs).toBeLessThan(5_000)
    const quick = await openGateway(world, { recheckIntervalMs: 200 })
    const [kept, removed] = [await RawSocket.open(quick), await RawSocket.open(quick)]
    await kept.join(topic, { private: true }, await userToken(world, stays))
    await removed.join(topic, { private: true }, await userToken(world, goes))
    await settle(1_000) // several rounds have found everything in order
    expect([...kept.frames, ...removed.frames]).toEqual([])
    await leaveClub(topic, goes)
    await removed.next((frame) => frame.event === 'phx_close', 1_000)
    expect(kept.frames).toEqual([])
    await quick.close()
  })

  test('can no longer speak a second later', async () => {
    const gateway = await openGateway(world, NO_ROUNDS)
    const [stays, goes] = twoUsers()
    const topic = `club:${randomUUID()}`
    await Promise.all([joinClub(topic, stays), joinClub(topic, goes)])
    const [kept, removed] = [await RawSocket.open(gateway), await RawSocket.open(gateway)]
    await kept.join(topic, { private: true }, await userToken(world, stays))
    await removed.join(topic, { private: true }, await userToken(world, goes))
    const say = (n: number): void =>
      removed.push('1', `${n}`, `realtime:${topic}`, 'broadcast', { type: 'broadcast', event: 'e', payload: { n } })
    say(1)
    await kept.next((frame) => frame.event === 'broadcast')
    await leaveClub(topic, goes)
    await settle(1_100)
    say(2)
    await settle()
    expect(kept.broadcasts()).toEqual([])
    await gateway.close()
  })
})

/** A channel as far as a round looks at it. */
const standIn = (user: string, topic: string) => ({
  name: topic,
  presenceEnabled: false,
  caller: { claims: { role: 'authenticated', sub: user }, headers: {} },
  isClosed: false,
  checkedAt: 0,
  verdicts: [] as boolean[],
  confirm({ broadcast }: { broadcast: boolean }) {
    this.verdicts.push(broadcast)
  },
  breakOff() {
    throw new Error('the database was there')
  },
})

test('a round is left out while nothing is written, and made after any write', async () => {
  const [user] = twoUsers()
  const channel = standIn(user, `chat:${user}`)
  const log = { warn: () => undefined }
  const channels = () => [channel] as never
  const loop = new RecheckLoop({ db: world.db, authorizer: new Authorizer(world.db), channels, log })
  expect(await loop.run()).toBe(1)
  // On a shared server another database's transactions count too, so a quiet moment may have to be waited for.
  let quiet = false
  for (let round = 0; round < 50 && !quiet; round++) quiet = (await loop.run()) === 0
  expect(quiet).toBe(true)
  await joinClub('club:unrelated', user)
  expect(await loop.run()).toBe(1)
  expect(channel.verdicts.every(Boolean)).toBe(true)
})

test('devices of one caller on one topic share a probe, different callers do not', async () => {
  const [user, other] = twoUsers()
  const topic = `chat:${user}`
  const devices = [standIn(user, topic), standIn(user, topic), standIn(other, topic)]
  const log = { warn: () => undefined }
  const channels = () => devices as never
  const loop = new RecheckLoop({ db: world.db, authorizer: new Authorizer(world.db), channels, log })
  expect(await loop.run()).toBe(2)
  expect(devices.map((device) => device.verdicts)).toEqual([[true], [true], [false]])
})

test('when the database cannot be asked nothing is delivered; the client rejoins by itself once it can', async () => {
  let down = false
  const transaction: Database['transaction'] = (fn) =>
    down ? Promise.reject(new Error('connection lost')) : world.db.transaction(fn)
  const db = new Proxy(world.db, {
    get: (target, name) =>
      name === 'transaction' ? transaction : (target[name as 'query'] as () => unknown).bind(target),
  })
  const gateway = await openGateway({ ...world, db }, { verdictMaxAgeMs: 0, ...NO_ROUNDS })
  const [user] = twoUsers()
  const supabase = await client(gateway, await userToken(world, user))
  const channel = supabase.channel(`chat:${user}`, { config: { private: true } })
  const received = collect(channel)
  const statuses: string[] = []
  await subscribe(channel, (status) => statuses.push(status) > 0)
  down = true
  await send(`chat:${user}`, { n: 1 })
  await until(() => statuses.includes('CHANNEL_ERROR'), 'the channel broken off')
  down = false
  await until(() => statuses.at(-1) === 'SUBSCRIBED' && statuses.length > 2, 'subscribed again', 10_000)
  await send(`chat:${user}`, { n: 2 })
  await until(() => received.length > 0, 'a message after the rejoin')
  expect(received.map(({ payload }) => payload.n)).toEqual([2])
  await supabase.removeAllChannels()
  await gateway.close()
})
