import { randomUUID } from 'node:crypto'
import type { SupabaseClient } from '@supabase/supabase-js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { listenTo } from '../../client/run-channel.ts'
import { createRunFollower } from '../../client/run-follower.ts'
import type { RunEvent } from '../../client/run-reducer.ts'
import {
  client,
  collect,
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

// The events of runs on the devices of their people, through the project's own trigger and policies.

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

type Run = { id: string; runId: string; lease: string; tenant: string; user: string; seq: number }

const queryOne = async (sql: string, params: unknown[] = []): Promise<Record<string, any>> =>
  (await world.db.query<Record<string, any>>(sql, params))[0]!

/** A person in a tenant of their own, with a run that is going on. */
async function beginRun(user: string): Promise<Run> {
  await world.db.query(`insert into auth.users (id, email) values ($1::uuid, $1::text || '@example.test')`, [user])
  const { id: tenant } = await queryOne(`insert into public.tenants (name) values ('Test') returning id::text as id`)
  await world.db.query(
    `insert into public.memberships (tenant_id, user_id, role) values ($1::uuid, $2::uuid, 'owner')`,
    [tenant, user],
  )
  const { id: agent } = await queryOne(
    `insert into ai.agents (tenant_id, name) values ($1::uuid, 'A') returning id::text as id`,
    [tenant],
  )
  const { id: session } = await queryOne(
    `insert into ai.agent_sessions (tenant_id, session_id, agent_id, user_id)
     values ($1::uuid, $2, $3::uuid, $4::uuid) returning id::text as id`,
    [tenant, `sess_${randomUUID()}`, agent, user],
  )
  const run = await queryOne(
    `insert into ai.agent_runs (tenant_id, session_id, agent_id, user_id, principal_id, status, lease_token, lease_expires_at)
     values ($1::uuid, $2::uuid, $3::uuid, $4::uuid, $4::uuid, 'running', gen_random_uuid(), now() + interval '1 hour')
     returning id::text as id, run_id, lease_token::text as lease`,
    [tenant, session, agent, user],
  )
  return { id: run['id'], runId: run['run_id'], lease: run['lease'], tenant, user, seq: 0 }
}

/** Writes events as the holder of the lease does. */
async function append(run: Run, events: RunEvent[]): Promise<void> {
  await world.db.query(`select ai.append_run_events($1::uuid, $2::uuid, $3::int, $4::jsonb)`, [
    run.id,
    run.lease,
    run.seq + 1,
    JSON.stringify(events.map((event) => ({ type: event.event, ...event }))),
  ])
  run.seq += events.length
}

const delta = (text: string, off: number): RunEvent => ({ event: 'content_delta', delta: text, off })

async function onDevice(user: string, topic: string) {
  const supabase = await client(gateway, await userToken(world, user))
  const channel = supabase.channel(topic, { config: { private: true } })
  const received = collect(channel, 'run_event')
  const statuses: string[] = []
  await subscribe(channel, (status) => statuses.push(status) > 0)
  return { supabase, channel, received, statuses }
}

/** A follower over Realtime, with the log read past the Data API. */
async function followOnDevice(run: Run, topic: string, supabase?: SupabaseClient) {
  const given = supabase ?? (await client(gateway, await userToken(world, run.user)))
  let reads = 0
  let isUp = (): void => undefined
  const up = new Promise<void>((resolve) => (isUp = resolve))
  const follower = createRunFollower(
    {
      listen: (_runId, listener) => listenTo(given, topic, { ...listener, up: () => (listener.up(), isUp()) }),
      async readLog(runId, after) {
        reads++
        const { status, last_seq } = await queryOne('select status, last_seq from ai.agent_runs where id = $1::uuid', [
          run.id,
        ])
        const rows = await world.db.query<{ seq: number; payload: RunEvent }>(
          'select seq, payload from ai.run_events where run_id = $1::uuid and seq > $2 order by seq',
          [run.id, after],
        )
        return {
          summary: { status, lastSeq: last_seq, content: null, error: null, errorCode: null },
          events: rows.map((row) => ({ ...row.payload, run_id: runId, seq: row.seq })),
          isWhole: true,
        }
      },
    },
    run.runId,
  )
  const stop = follower.subscribe(() => undefined)
  await up
  return { follower, stop, supabase: given, reads: () => reads }
}

test('two people with two devices each: every device gets every event of its person once and in order', async () => {
  const runs = await Promise.all(twoUsers().map(beginRun))
  const devices = await Promise.all(
    runs.flatMap((run) => [onDevice(run.user, `chat:${run.user}`), onDevice(run.user, `run:${run.runId}`)]),
  )
  const count = 90
  await Promise.all(
    runs.map(async (run) => {
      await append(run, [{ event: 'start', run_id: run.runId }])
      for (let at = 1; at < count; at += 3) {
        await append(run, [delta('a', at - 1), delta('b', at), delta('c', at + 1)].slice(0, count - at))
      }
    }),
  )
  await until(() => devices.every(({ received }) => received.length >= count), 'every event', 20_000)
  await settle()
  for (const [index, { received }] of devices.entries()) {
    const run = runs[Math.floor(index / 2)]!
    expect(received.map(({ payload }) => payload.seq)).toEqual(Array.from({ length: count }, (_, place) => place + 1))
    expect(new Set(received.map(({ payload }) => payload.run_id))).toEqual(new Set([run.runId]))
    expect(received[1]?.['payload']).toMatchObject({
      event: 'content_delta',
      type: 'content_delta',
      delta: 'a',
      off: 0,
    })
    expect(received[1]?.['payload'].ts).toMatch(/^20\d\d-/)
  }
  for (const { supabase } of devices) await supabase.removeAllChannels()
})

test('S01 nobody else joins the topics of a person or run, by no spelling of them, and a public twin is silent', async () => {
  const [run, other] = await Promise.all(twoUsers().map(beginRun))
  for (const topic of [`chat:${run!.user}`, `run:${run!.runId}`, 'run:*', 'chat:*', 'run:', 'run:run_%']) {
    expect((await onDevice(other!.user, topic)).statuses, topic).toEqual(['CHANNEL_ERROR'])
  }
  const twins = [
    `RUN:${run!.runId}`,
    `run:${run!.runId.toUpperCase()}`,
    `run:${run!.runId} `,
    `run:${run!.id}`,
    `run:${encodeURIComponent(`${run!.runId}\u0000`)}`,
    `chat:${run!.user.toUpperCase()}`,
  ]
  for (const topic of twins) expect((await onDevice(run!.user, topic)).statuses, topic).toEqual(['CHANNEL_ERROR'])
  const supabase = await client(gateway, await userToken(world, other!.user))
  const twin = supabase.channel(`run:${run!.runId}`)
  const overheard = collect(twin)
  expect((await subscribe(twin)).status).toBe('SUBSCRIBED')
  const own = await onDevice(run!.user, `run:${run!.runId}`)
  await append(run!, [{ event: 'start' }])
  await until(() => own.received.length === 1, 'the event for its person')
  await settle()
  expect(overheard).toEqual([])
  for (const open of [supabase, own.supabase]) await open.removeAllChannels()
})

test('S02 a forged event of a client reaches nobody, neither by socket nor over HTTP', async () => {
  const run = await beginRun(randomUUID())
  for (const topic of [`chat:${run.user}`, `run:${run.runId}`]) {
    const [victim, forger] = [await onDevice(run.user, topic), await onDevice(run.user, topic)]
    const forged = { run_id: run.runId, seq: 1, event: 'complete', type: 'complete', status: 'completed' }
    await forger.channel.send({ type: 'broadcast', event: 'run_event', payload: forged })
    await expect(forger.channel.httpSend('run_event', forged)).rejects.toThrow('Unauthorized')
    await world.db.query(`select realtime.send('{"real": true}', 'run_event', $1, true)`, [topic])
    await until(() => victim.received.length > 0, 'the real one')
    await settle()
    expect(victim.received.map(({ payload }) => payload.real)).toEqual([true])
    for (const { supabase } of [victim, forger]) await supabase.removeAllChannels()
  }
})

test('S03 who listens is nobody’s business: presence is neither told nor seen', async () => {
  const run = await beginRun(randomUUID())
  for (const topic of [`chat:${run.user}`, `run:${run.runId}`]) {
    const token = await userToken(world, run.user)
    const [seen, watcher] = [await RawSocket.open(gateway), await RawSocket.open(gateway)]
    const config = { private: true, presence: { key: 'k', enabled: true } }
    expect((await seen.join(topic, config, token)).status).toBe('ok')
    expect((await watcher.join(topic, config, token)).status).toBe('ok')
    seen.push('1', '2', `realtime:${topic}`, 'presence', { type: 'presence', event: 'track', payload: { here: true } })
    await settle()
    expect(watcher.frames.filter((frame) => JSON.stringify(frame).includes('here'))).toEqual([])
    await Promise.all([seen.close(), watcher.close()])
  }
})

test('S04 a member who is removed gets nothing more on a channel that is open', async () => {
  const run = await beginRun(randomUUID())
  const devices = [await onDevice(run.user, `chat:${run.user}`), await onDevice(run.user, `run:${run.runId}`)]
  await append(run, [{ event: 'start' }])
  await until(() => devices.every(({ received }) => received.length === 1), 'the first event')
  // A tenant keeps an owner: somebody else has to be one.
  const stays = await beginRun(randomUUID())
  await world.db.query(
    `insert into public.memberships (tenant_id, user_id, role) values ($1::uuid, $2::uuid, 'owner')`,
    [run.tenant, stays.user],
  )
  await world.db.query('delete from public.memberships where tenant_id = $1::uuid and user_id = $2::uuid', [
    run.tenant,
    run.user,
  ])
  await settle(1_100)
  await append(run, [delta('secret', 0)])
  await until(() => devices.every(({ statuses }) => statuses.includes('CLOSED')), 'both channels closed')
  expect(devices.map(({ received }) => received.length)).toEqual([1, 1])
  for (const { supabase } of devices) await supabase.removeAllChannels()
})

describe('a follower', () => {
  test('S05 repairs a broadcast that is lost, and reads what is too large for one', async () => {
    const run = await beginRun(randomUUID())
    const { follower, stop, supabase, reads } = await followOnDevice(run, `chat:${run.user}`)
    await append(run, [{ event: 'start' }, delta('Hello', 0)])
    await until(() => follower.state().seq === 2, 'the beginning')
    const before = reads()
    // What a missing partition does: realtime.send() swallows it, and the log goes on.
    await world.db.exec('alter table realtime.messages add constraint no_more check (false) not valid')
    await append(run, [delta(' you', 5)])
    await world.db.exec('alter table realtime.messages drop constraint no_more')
    await append(run, [delta('!', 9)])
    await until(() => follower.state().hasGap, 'the gap')
    await until(() => follower.state().content === 'Hello you!', 'the repaired text')
    expect(reads()).toBe(before + 1)
    const result = 'x'.repeat(100_000)
    await append(run, [{ event: 'tool_result', call_id: 'c', tool_name: 't', result }])
    await until(() => follower.state().seq === 5, 'the large one')
    expect(follower.state().toolCalls[0]).toMatchObject({ callId: 'c', result })
    expect(follower.state().hasGap).toBe(false)
    stop()
    await supabase.removeAllChannels()
  })

  test('goes on after its token has expired', async () => {
    const run = await beginRun(randomUUID())
    const tokens = [
      await userToken(world, run.user, { exp: Math.floor(Date.now() / 1000) + 2 }),
      await userToken(world, run.user),
    ]
    let issued = 0
    const supabase = await client(gateway, () => tokens[Math.min(issued, 1)]!)
    const { follower, stop } = await followOnDevice(run, `run:${run.runId}`, supabase)
    await append(run, [{ event: 'start' }])
    await until(() => follower.state().seq === 1, 'the first event')
    await settle(2_500)
    issued = 1
    await append(run, [delta('on', 0)])
    await until(() => follower.state().content === 'on', 'what comes after', 8_000)
    stop()
    await supabase.removeAllChannels()
  })
})

describe('recipe 4 of the cookbook', () => {
  test('4a a backend mirrors a stream with the secret key: the devices get each event under its own name', async () => {
    const run = await beginRun(randomUUID())
    const supabase = await client(gateway, await userToken(world, run.user))
    const device = supabase.channel(`chat:${run.user}`, { config: { private: true } })
    const received = collect(device)
    await subscribe(device)
    const backend = await client(gateway, null, SECRET_KEY)
    const topic = backend.channel(`chat:${run.user}`, { config: { private: true } })
    const events = [
      { event: 'content_delta', delta: 'Hel' },
      { event: 'complete', content: 'Hello', status: 'completed' },
    ]
    for (const event of events) expect(await topic.httpSend(event.event, event)).toEqual({ success: true })
    await until(() => received.length === 2, 'both events')
    expect(received.map(({ event, payload }) => ({ event, payload }))).toEqual(
      events.map((payload) => ({ event: payload.event, payload })),
    )
    for (const open of [supabase, backend]) await open.removeAllChannels()
  })

  test('4b a backend stores events as rows: the trigger tells the devices', async () => {
    const run = await beginRun(randomUUID())
    const supabase = await client(gateway, await userToken(world, run.user))
    const device = supabase.channel(`chat:${run.user}`, { config: { private: true } })
    const received = collect(device, 'chat_event')
    await subscribe(device)
    const payload = { event: 'chunk', content: 'Hello' }
    const row = await queryOne(
      `insert into public.chat_messages (user_id, payload) values ($1::uuid, $2::jsonb) returning id::text as id`,
      [run.user, JSON.stringify(payload)],
    )
    await until(() => received.length === 1, 'the event')
    expect(received[0]?.['payload']).toMatchObject({ message_id: row['id'], event: payload })
    await supabase.removeAllChannels()
  })
})
