import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  client,
  openGateway,
  openWorld,
  RawSocket,
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

const config = (key: string) => ({ presence: { enabled: true, key } })
const track = (raw: RawSocket, topic: string, payload: unknown, ref = 't', event = 'track'): void =>
  raw.push('1', ref, `realtime:${topic}`, 'presence', { type: 'presence', event, payload })

test('state on join, diff on track, update and untrack', async () => {
  const topic = randomUUID()
  const [ada, bob] = [await RawSocket.open(gateway), await RawSocket.open(gateway)]
  await ada.join(topic, config('ada'))
  expect(await ada.next((frame) => frame.event === 'presence_state')).toMatchObject({
    joinRef: '1',
    ref: null,
    payload: {},
  })
  track(ada, topic, { name: 'A' })
  const joined = await ada.next((frame) => frame.event === 'presence_diff')
  const { phx_ref: first } = joined.payload.joins.ada.metas[0]
  expect(joined).toMatchObject({ joinRef: null, ref: null, payload: { leaves: {} } })
  expect(joined.payload.joins).toEqual({ ada: { metas: [{ name: 'A', phx_ref: first }] } })
  expect(await ada.next((frame) => frame.ref === 't')).toMatchObject({ payload: { status: 'ok', response: {} } })

  await bob.join(topic, config('bob'))
  expect((await bob.next((frame) => frame.event === 'presence_state')).payload).toEqual(joined.payload.joins)
  track(ada, topic, { name: 'A2' }, 'u', 'TRACK')
  const updated = await bob.next((frame) => frame.event === 'presence_diff')
  expect(updated.payload.leaves).toEqual({ ada: { metas: [{ name: 'A', phx_ref: first }] } })
  expect(updated.payload.joins.ada.metas).toMatchObject([{ name: 'A2' }])
  track(ada, topic, undefined, 'x', 'untrack')
  expect((await bob.next((frame) => frame.event === 'presence_diff')).payload).toMatchObject({
    joins: {},
    leaves: { ada: { metas: [{ name: 'A2' }] } },
  })
  await Promise.all([ada.close(), bob.close()])
})

test('a dropped socket and a left channel leave', async () => {
  const topic = randomUUID()
  const [ada, bob, eve] = [await RawSocket.open(gateway), await RawSocket.open(gateway), await RawSocket.open(gateway)]
  for (const [raw, key] of [
    [eve, 'eve'],
    [ada, 'ada'],
    [bob, 'bob'],
  ] as const) {
    await raw.join(topic, config(key))
    track(raw, topic, {})
    await raw.next((frame) => frame.ref === 't')
  }
  eve.frames.splice(0)
  ada.ws.terminate()
  expect((await eve.next((frame) => frame.event === 'presence_diff')).payload.leaves).toHaveProperty('ada')
  bob.push('1', 'l', `realtime:${topic}`, 'phx_leave', {})
  expect((await eve.next((frame) => frame.event === 'presence_diff')).payload.leaves).toHaveProperty('bob')
  await Promise.all([eve.close(), bob.close()])
})

test('a payload that is not a map is refused; two channels may share a key; `__proto__` is a key like any other', async () => {
  const topic = randomUUID()
  const [one, two] = [await RawSocket.open(gateway), await RawSocket.open(gateway)]
  await one.join(topic, config('__proto__'))
  await two.join(topic, config('__proto__'))
  track(one, topic, 'text')
  expect(await one.next((frame) => frame.ref === 't')).toMatchObject({
    payload: { status: 'error', response: { reason: 'Presence track payload must be a map' } },
  })
  for (const raw of [one, two]) {
    track(raw, topic, {}, 'ok')
    await raw.next((frame) => frame.ref === 'ok')
  }
  const late = await RawSocket.open(gateway)
  await late.join(topic, config('late'))
  const state = await late.next((frame) => frame.event === 'presence_state')
  expect(Object.getOwnPropertyDescriptor(state.payload, '__proto__')?.value.metas).toHaveLength(2)
  await Promise.all([one.close(), two.close(), late.close()])
})

test('who did not ask for presence hears none of it', async () => {
  const topic = randomUUID()
  const [plain, tracker] = [await RawSocket.open(gateway), await RawSocket.open(gateway)]
  await plain.join(topic)
  await tracker.join(topic, config('x'))
  track(tracker, topic, {})
  await tracker.next((frame) => frame.event === 'presence_diff')
  await settle()
  expect(plain.frames).toEqual([])
  await Promise.all([plain.close(), tracker.close()])
})

test('on a private room presence follows the policies: members track, a topic without them refuses', async () => {
  const [member, other] = [randomUUID(), randomUUID()]
  const club = `club:${randomUUID()}`
  await world.db.query('insert into public.club_members values ($1, $2::uuid), ($1, $3::uuid)', [club, member, other])
  const [one, two] = [await RawSocket.open(gateway), await RawSocket.open(gateway)]
  await one.join(club, { private: true, ...config('one') }, await userToken(world, member))
  await two.join(club, { private: true, ...config('two') }, await userToken(world, other))
  track(one, club, { here: true })
  expect(await one.next((frame) => frame.ref === 't')).toMatchObject({ payload: { status: 'ok' } })
  expect((await two.next((frame) => frame.event === 'presence_diff')).payload.joins).toHaveProperty('one')

  // chat:{user} lets its user read broadcasts only.
  const chat = `chat:${member}`
  await one.join(chat, { private: true, ...config('one') }, await userToken(world, member), '2')
  one.push('2', 'p', `realtime:${chat}`, 'presence', { type: 'presence', event: 'track', payload: {} })
  expect(await one.next((frame) => frame.ref === 'p')).toMatchObject({ payload: { status: 'error' } })
  await settle()
  expect(one.frames.filter((frame) => frame.topic === `realtime:${chat}`)).toEqual([])
  await Promise.all([one.close(), two.close()])
})

test('calls over the limit close the channel', async () => {
  const strict = await openGateway(world, { presenceCallsPer30s: 2 })
  const raw = await RawSocket.open(strict)
  await raw.join('limited', config('k'))
  for (const ref of ['1', '2', '3']) track(raw, 'limited', { ref }, ref)
  expect((await raw.next((frame) => frame.event === 'system')).payload.message).toBe(
    'Client presence rate limit exceeded',
  )
  await raw.next((frame) => frame.event === 'phx_close')
  await strict.close()
})

test('supabase-js: two clients see each other come and go', async () => {
  const topic = randomUUID()
  const [ada, bob] = [await client(gateway, null), await client(gateway, null)]
  const here = ada.channel(topic, { config: { presence: { key: 'ada' } } })
  const there = bob.channel(topic, { config: { presence: { key: 'bob' } } })
  for (const channel of [here, there]) channel.on('presence', { event: 'sync' }, () => undefined)
  await Promise.all([subscribe(here), subscribe(there)])
  expect(await here.track({ mood: 'calm' })).toBe('ok')
  expect(await there.track({ mood: 'glad' })).toBe('ok')
  await until(() => Object.keys(here.presenceState()).length === 2, 'both present')
  expect(there.presenceState()).toMatchObject({ ada: [{ mood: 'calm' }], bob: [{ mood: 'glad' }] })
  await bob.removeAllChannels()
  await until(() => Object.keys(here.presenceState()).join() === 'ada', 'bob gone')
  await ada.removeAllChannels()
})
