import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  client,
  collect,
  openGateway,
  openWorld,
  settle,
  subscribe,
  twoUsers,
  until,
  userToken,
  type Gateway,
  type World,
} from './realtime-support.ts'

// The project's own policy and trigger, seen from two devices.

let world: World
let gateway: Gateway
beforeAll(async () => {
  world = await openWorld('product')
  gateway = await openGateway(world)
})
afterAll(async () => {
  await gateway.close()
  await world.close()
})

/** A tenant with one member. */
const newMember = async (user: string): Promise<string> => {
  await world.db.query(`insert into auth.users (id, email) values ($1::uuid, $1::text || '@example.test')`, [user])
  const [tenant] = await world.db.query<{ id: string }>(
    `insert into public.tenants (name) values ('Test') returning id::text as id`,
  )
  await world.db.query(
    `insert into public.memberships (tenant_id, user_id, role) values ($1::uuid, $2::uuid, 'owner')`,
    [tenant!.id, user],
  )
  return tenant!.id
}
const onDevice = async (user: string) => {
  const supabase = await client(gateway, await userToken(world, user))
  const channel = supabase.channel(`chat:${user}`, { config: { private: true } })
  const received = collect(channel, 'chat_event')
  const statuses: string[] = []
  await subscribe(channel, (status) => statuses.push(status) > 0)
  return { supabase, received, statuses }
}
const storeEvent = (user: string, content: string) =>
  world.db.query(
    `insert into public.chat_messages (user_id, role, content, payload) values ($1::uuid, 'event', $2, '{"type":"chunk"}')`,
    [user, content],
  )

test('a stored chat message reaches every device of its person and nobody else', async () => {
  const [ada, bob] = twoUsers()
  await newMember(ada)
  await newMember(bob)
  const [phone, laptop, foreign] = [await onDevice(ada), await onDevice(ada), await onDevice(bob)]
  expect([phone, laptop, foreign].map(({ statuses }) => statuses)).toEqual([
    ['SUBSCRIBED'],
    ['SUBSCRIBED'],
    ['SUBSCRIBED'],
  ])
  await storeEvent(ada, 'for ada')
  await until(() => phone.received.length === 1 && laptop.received.length === 1, 'the event on both devices')
  expect(phone.received[0]).toMatchObject({ event: 'chat_event', payload: { role: 'event', event: { type: 'chunk' } } })
  await settle()
  expect(foreign.received).toEqual([])
  await storeEvent(bob, 'for bob')
  await until(() => foreign.received.length === 1, 'the event of the other person')
  for (const { supabase } of [phone, laptop, foreign]) await supabase.removeAllChannels()
})

test('a person without a tenant is refused; one who loses the last tenant is closed within five seconds', async () => {
  const [member, outsider] = twoUsers()
  const tenant = await newMember(member)
  const stranger = await onDevice(outsider)
  expect(stranger.statuses).toEqual(['CHANNEL_ERROR'])
  const device = await onDevice(member)
  expect(device.statuses).toEqual(['SUBSCRIBED'])
  await world.db.query('delete from public.tenants where id = $1::uuid', [tenant])
  await until(() => device.statuses.includes('CLOSED'), 'the channel closed', 5_000)
  for (const { supabase } of [stranger, device]) await supabase.removeAllChannels()
})
