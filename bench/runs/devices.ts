import { createClient } from '@supabase/supabase-js'
import pg from 'pg'
import { WebSocket, WebSocketServer } from 'ws'
import type { AddressInfo } from 'node:net'
import type { ScriptedModel } from '../../tests/support/scripted-model/index.ts'
import type { World } from '../agent/world.ts'
import { askerOf, inBackground, timesOf, whenOver, type Json, type Times } from './tools.ts'

const RUNS = 4
const WORDS = 60
const GAP_MS = 60

export type DevicesResult = { device: Times; socket: Times; insert: Times; missed: number }

/** From the insert of an event to a device that follows by Realtime; a bare WebSocket and a bare insert beside it. */
export async function measureDevices(world: World, model: ScriptedModel, db: pg.Pool): Promise<DevicesResult> {
  const words = Array.from({ length: WORDS }, (_, i) => ` word${i}`)
  model.play(() => ({ text: words, between: () => new Promise((resolve) => setTimeout(resolve, GAP_MS)) }))
  const client = createClient(world.url, world.publishableKey, {
    accessToken: () => Promise.resolve(world.caller.token),
    auth: { persistSession: false, autoRefreshToken: false },
  })
  await client.realtime.setAuth(world.caller.token)
  const arrivals = new Map<string, number>()
  const channel = client.channel(`chat:${world.caller.userId}`, { config: { private: true } })
  channel.on('broadcast', { event: 'run_event' }, ({ payload }: Json & { payload: Json }) => {
    arrivals.set(`${String(payload['run_id'])} ${String(payload['seq'])}`, Date.now())
  })
  await new Promise<void>((resolve, reject) => {
    channel.subscribe((status, error) => {
      if (status === 'SUBSCRIBED') resolve()
      else if (status === 'CHANNEL_ERROR' || status === 'TIMED_OUT') reject(error ?? new Error(status))
    })
  })
  const device: number[] = []
  let missed = 0
  try {
    for (let i = 0; i < RUNS; i++) {
      const runId = await inBackground(world, askerOf(world), 'Tell me.')
      const { id } = await whenOver(db, runId)
      await new Promise((resolve) => setTimeout(resolve, 300))
      const { rows } = await db.query<{ seq: number; created_at: Date }>(
        'select seq, created_at from ai.run_events where run_id = $1 order by seq',
        [id],
      )
      for (const { seq, created_at } of rows) {
        const arrivedAt = arrivals.get(`${runId} ${seq}`)
        if (arrivedAt === undefined) missed += 1
        else device.push(Math.max(arrivedAt - created_at.getTime(), 0))
      }
    }
  } finally {
    await client.removeAllChannels()
    client.realtime.disconnect()
  }
  return { device: timesOf(device), socket: await bareSocket(), insert: await bareInsert(db), missed }
}

/** The same text over a WebSocket of this process, there only. */
async function bareSocket(): Promise<Times> {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  await new Promise((resolve) => server.once('listening', resolve))
  const accepted = new Promise<WebSocket>((resolve) => server.once('connection', resolve))
  const socket = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`)
  await new Promise((resolve) => socket.once('open', resolve))
  const peer = await accepted
  const times: number[] = []
  for (let i = 0; i < 200; i++) {
    const came = new Promise<void>((resolve) => socket.once('message', () => resolve()))
    const sentAt = performance.now()
    peer.send(JSON.stringify({ event: 'content_delta', delta: ` word${i}`, seq: i }))
    await came
    times.push(performance.now() - sentAt)
  }
  socket.terminate()
  server.close()
  return timesOf(times)
}

/** A row of the same size into a table without triggers and policies. */
async function bareInsert(db: pg.Pool): Promise<Times> {
  const times: number[] = []
  const connection = await db.connect()
  try {
    await connection.query('create temp table bench_rows (run_id uuid, seq int, payload jsonb)')
    for (let i = 0; i < 200; i++) {
      const sentAt = performance.now()
      await connection.query('insert into bench_rows values (gen_random_uuid(), $1, $2)', [
        i,
        JSON.stringify({ event: 'content_delta', delta: ` word${i}` }),
      ])
      times.push(performance.now() - sentAt)
    }
    await connection.query('drop table bench_rows')
  } finally {
    connection.release()
  }
  return timesOf(times)
}
