import { createClient, type SupabaseClient } from '@supabase/supabase-js'
import pg from 'pg'
import type { ScriptedModel } from '../../tests/support/scripted-model/index.ts'
import { signIn } from '../support/target.ts'
import { headersOf, type World } from '../agent/world.ts'
import { api, eventsIn, streamed, until, whenOver, type Asker, type Json } from './tools.ts'

const SECONDS = 60
/** Runs of each person at once, and how often the model says a word: each word becomes an event, written at most every 50 ms. */
const RUNS = 6
const GAP_MS = 55
const EMAILS = ['member@harbor.example', 'member@meridian.example']
const DEVICES = 2

/** What one device got of runs over one transport: the numbers of events in the order of their arrival. */
type Seen = Map<string, number[]>

export type FloodResult = {
  events: number
  perSecond: number
  /** Events that should have arrived: of each run, at each device of its person, over both transports. */
  expected: number
  lost: number
  twice: number
  outOfOrder: number
  /** Events of another person. */
  foreign: number
}

const note = (seen: Seen, event: Json) => {
  const runId = String(event['run_id'])
  seen.set(runId, [...(seen.get(runId) ?? []), Number(event['seq'])])
}

/** A device that follows everything of its person by Realtime. */
async function listen(client: SupabaseClient, userId: string, seen: Seen): Promise<void> {
  const channel = client.channel(`chat:${userId}`, { config: { private: true } })
  channel.on('broadcast', { event: 'run_event' }, ({ payload }: Json & { payload: Json }) => note(seen, payload))
  await new Promise<void>((resolve, reject) => {
    channel.subscribe((status, error) => {
      if (status === 'SUBSCRIBED') resolve()
      else if (status === 'CHANNEL_ERROR' || status === 'TIMED_OUT') reject(error ?? new Error(status))
    })
  })
}

/** A device that follows one run by its event stream, and goes on where the stream ends itself. */
async function follow(world: World, asker: Asker, runId: string, seen: Seen): Promise<void> {
  const numbers: number[] = []
  seen.set(runId, numbers)
  for (let isOver = false; !isOver; ) {
    const path = `/functions/v1/api/agents/runs/${runId}/stream?after=${numbers.at(-1) ?? 0}`
    const response = await fetch(world.url + path, { headers: asker.headers })
    for await (const event of eventsIn(response)) {
      if (event['seq'] === undefined) continue
      numbers.push(Number(event['seq']))
      isOver ||= event['event'] === 'complete'
    }
  }
}

/** Two people with two devices each, which follow many runs at once by Realtime and by streams. */
export async function measureFlood(world: World, model: ScriptedModel, db: pg.Pool): Promise<FloodResult> {
  const words = Array.from({ length: Math.ceil((SECONDS * 1000) / GAP_MS) }, (_, i) => ` word${i}`)
  model.play(() => ({ text: words, between: () => new Promise((resolve) => setTimeout(resolve, GAP_MS)) }))
  const clients: SupabaseClient[] = []
  const startedAt = performance.now()
  try {
    const people = await Promise.all(
      EMAILS.map(async (email) => {
        const signedIn = await signIn(world, email)
        const { session } = (await signedIn.auth.getSession()).data
        if (!session) throw new Error('The person is not signed in.')
        const headers = headersOf(world, { ...world.caller, token: session.access_token })
        // Which tenant it is, the person's only membership says.
        delete headers['x-tenant-id']
        const agent = await api(world, { headers, agentId: '' }, 'POST', '/agents', { name: 'Flood' })
        const asker: Asker = { headers, agentId: String(agent['id']) }
        const devices = await Promise.all(
          Array.from({ length: DEVICES }, async () => {
            const client = createClient(world.url, world.publishableKey, {
              accessToken: () => Promise.resolve(session.access_token),
              auth: { persistSession: false, autoRefreshToken: false },
            })
            clients.push(client)
            await client.realtime.setAuth(session.access_token)
            const device = { realtime: new Map() as Seen, streams: new Map() as Seen }
            await listen(client, session.user.id, device.realtime)
            return device
          }),
        )
        const runIds = await Promise.all(
          Array.from({ length: RUNS }, async () => {
            const following: Promise<void>[] = []
            return streamed(world, asker, 'Tell me.', (event) => {
              if (event['event'] !== 'start') return undefined
              for (const device of devices) {
                following.push(follow(world, asker, String(event['run_id']), device.streams))
              }
              return Promise.all(following)
            })
          }),
        )
        return { runIds, devices }
      }),
    )
    const seconds = (performance.now() - startedAt) / 1000
    const result: FloodResult = { events: 0, perSecond: 0, expected: 0, lost: 0, twice: 0, outOfOrder: 0, foreign: 0 }
    for (const { runIds, devices } of people) {
      for (const runId of runIds) {
        const { id } = await whenOver(db, runId)
        const { rows } = await db.query<{ count: number }>(
          'select count(*)::int as count from ai.run_events where run_id = $1',
          [id],
        )
        const count = rows[0]?.count ?? 0
        result.events += count
        for (const seen of devices.flatMap(({ realtime, streams }) => [realtime, streams])) {
          // What was sent last may be under way still.
          await until(() => Promise.resolve((seen.get(runId)?.length ?? 0) >= count ? true : null), 'An event').catch(
            () => null,
          )
          const numbers = seen.get(runId) ?? []
          result.expected += count
          result.lost += count - new Set(numbers).size
          result.twice += numbers.length - new Set(numbers).size
          result.outOfOrder += numbers.filter((seq, at) => at > 0 && seq < (numbers[at - 1] ?? 0)).length
        }
      }
      for (const { realtime } of devices) {
        result.foreign += [...realtime.keys()].filter((runId) => !runIds.includes(runId)).length
      }
    }
    return { ...result, perSecond: result.events / seconds }
  } finally {
    for (const client of clients) {
      await client.removeAllChannels()
      client.realtime.disconnect()
    }
  }
}
