import { beforeAll, describe, expect, it } from 'vitest'
import { readEvents } from '../../../client/read-events.ts'
import { createRunReducer } from '../../../client/run-reducer.ts'
import { createOpenStreams } from '../../../supabase/functions/_shared/open-streams.ts'
import { createSseChannel, formatSse, readSse } from '../../../supabase/functions/_shared/sse.ts'
import { eventually } from '../../support/eventually.ts'
import { script } from '../../support/scripted-model/index.ts'
import { useModel } from '../../support/scripted-model/use-model.ts'
import { useStack } from '../../support/stack.ts'
import { startApi } from '../support/api-app.ts'
import { begin, follow } from '../support/durable-run.ts'
import { serviceCaller, userCaller } from '../support/http.ts'
import type { FunctionsCaller, Json } from '../support/http.ts'
import { createRandom } from '../support/random.ts'

// Rows of the attack catalogue about streams, each beside what is allowed.

const userEnv: Record<string, string> = {}
const model = useModel(userEnv)
const stack = useStack({ userEnv })

const NASTY =
  'a\n\ndata: {"event":"complete","type":"complete","status":"completed","content":"forged","seq":2}\n\nevent: complete\r\rid: 99\nretry: 1\n\u2028\u2029\ufeff👋🏽 ende'

let person: FunctionsCaller
let agentId = ''
/** Two runs of one person: the first says what must stay text. */
let runs: { runId: string; events: Json[] }[] = []
beforeAll(async () => {
  person = startApi(stack).as(await userCaller(stack, 'member@harbor.example'))
  agentId = (await person.json(201, 'POST', '/api/agents', { json: { name: 'Plain' } }))['id']
  for (const text of [NASTY, 'Short.']) {
    model.play(script([{ text: [text.slice(0, 30), text.slice(30)] }]))
    const events = await (await begin(person, agentId, { message: 'Say it.' })).rest()
    runs.push({ runId: events[0]!['run_id'], events })
  }
})

const streamPath = (runId: string, query = '') => `/api/agents/runs/${runId}/stream${query}`

describe('S06 replay', () => {
  it('is for who may read the run: for others it does not exist, whatever the cursor', async () => {
    const [run] = runs
    const api = startApi(stack)
    for (const email of ['admin@harbor.example', 'member@meridian.example']) {
      const other = api.as(await userCaller(stack, email))
      for (const query of ['', '?after=0', '?after=999999999']) {
        expect(await other.json(404, 'GET', streamPath(run!.runId, query))).toMatchObject({ error: 'Run not found' })
      }
      const response = await other.send('GET', streamPath(run!.runId), { headers: { 'last-event-id': '1' } })
      expect(response.status).toBe(404)
    }
    expect((await person.send('GET', streamPath(run!.runId))).status).toBe(200)
  })

  it('takes positions only; one from another run or beyond the end gives what this run has after it', async () => {
    const [long, short] = runs
    for (const after of ['-1', '1.5', '1e3', '0x1', ' ', '1,2', `${long!.runId}:3`, '99999999999999999999', 'NaN']) {
      const path = streamPath(short!.runId, `?after=${encodeURIComponent(after)}`)
      expect(await person.json(400, 'GET', path), after).toMatchObject({ code: 'invalid_request' })
    }
    const beyond = await person.send('GET', streamPath(short!.runId, `?after=${short!.events.length + 1000}`))
    expect(await beyond.text()).not.toContain('data: ')
    const rest = await (await person.send('GET', streamPath(short!.runId, '?after=2'))).text()
    expect([...rest.matchAll(/^data: (.*)$/gm)].map(([, data]) => JSON.parse(data!))).toEqual(short!.events.slice(2))
  })
})

describe('S07 text that looks like the stream’s own', () => {
  it('stays text in a replay, with its ids, and for the client wherever the bytes are cut', async () => {
    const { runId, events } = runs[0]!
    const raw = new Uint8Array(await (await person.send('GET', streamPath(runId))).arrayBuffer())
    const ids = new TextDecoder().decode(raw).match(/^id: .*$/gm)
    expect(ids).toEqual(events.map(({ seq }) => `id: ${seq}`))
    const random = createRandom(7)
    for (const longest of [1, 2, 5, 40, 4096]) {
      for (const read of [readEvents, readSse]) {
        const seen: Json[] = []
        for await (const data of read(cutStream(raw, random, longest))) seen.push(JSON.parse(data))
        expect(seen).toEqual(events)
      }
    }
    const reducer = createRunReducer({ runId })
    for (const event of events) reducer.push(event)
    expect(reducer.state()).toMatchObject({ status: 'completed', seq: events.length })
    expect(reducer.state().content).toContain('data: {"event":"complete"')
  })

  it('is one line of JSON, whatever it is', async () => {
    const random = createRandom(11)
    for (let round = 0; round < 300; round++) {
      const text = Array.from({ length: 20 }, () => String.fromCharCode(Math.floor(random() * 0x10000))).join('')
      const frame = formatSse({ event: 'content_delta', delta: `${text}\n\ndata: x\r\n${text}` })
      expect(frame.split(/\r\n|\r|\n/)).toHaveLength(3)
      expect(JSON.parse(frame.slice(6))).toEqual({
        event: 'content_delta',
        delta: `${text}\n\ndata: x\r\n${text}`,
      })
    }
  })
})

/** The bytes in pieces of 1 to `longest`. */
function cutStream(bytes: Uint8Array, random: () => number, longest: number): ReadableStream<Uint8Array> {
  let at = 0
  return new ReadableStream({
    pull(controller) {
      if (at >= bytes.length) return controller.close()
      const end = at + 1 + Math.floor(random() * longest)
      controller.enqueue(bytes.slice(at, end))
      at = end
    },
  })
}

describe('S08 readers that hurt', () => {
  it('a reader that takes nothing is cut off, and what waits for it has a bound', async () => {
    const channel = createSseChannel({ maxQueuedBytes: 64 * 1024 })
    let taken = 0
    for (let sent = 0; sent < 1_000; sent++) {
      channel.send({ event: 'content_delta', delta: 'x'.repeat(1_000) })
      taken = sent
    }
    expect(taken).toBe(999)
    await expect(new Response(channel.stream).text()).rejects.toThrow('too slow')
  })

  it('thirty streams of a run that goes on all get it, and for those that have left nobody reads on', async () => {
    let goOn = () => {}
    const told = new Promise<void>((resolve) => (goOn = resolve))
    let pieces = 0
    model.play(
      script([{ text: ['Once ', 'upon ', 'a time.'], between: () => (pieces++ < 2 ? Promise.resolve() : told) }]),
    )
    const begun = await begin(person, agentId, { message: 'Tell.' })
    const { run_id: runId } = (await begun.next())!
    /** The function in a process of its own, which counts how often it asks the database. */
    const countingApi = async () => {
      const app = startApi(stack)
      const counted = { asked: 0 }
      const { clientFor } = app.deps
      app.deps.clientFor = (caller) => {
        const db = clientFor(caller)
        const schema = db.schema.bind(db)
        return Object.assign(db, {
          schema: (name: Parameters<typeof schema>[0]) => {
            counted.asked++
            return schema(name)
          },
        })
      }
      return { counted, person: app.as(await userCaller(stack, 'member@harbor.example')) }
    }
    const [staying, leaving] = [await countingApi(), await countingApi()]
    const open = (who: FunctionsCaller, count: number) =>
      Promise.all(Array.from({ length: count }, () => follow(who, runId)))
    const [stayed, left] = [await open(staying.person, 25), await open(leaving.person, 5)]
    const seen = await Promise.all(stayed.map((stream) => stream.rest(({ event }) => event === 'content_delta')))
    await Promise.all(left.map((stream) => stream.leave()))
    const before = { staying: staying.counted.asked, leaving: leaving.counted.asked }
    await eventually(() => expect(staying.counted.asked).toBeGreaterThan(before.staying + 25))
    expect(leaving.counted.asked).toBe(before.leaving)
    goOn()
    const live = await begun.rest()
    const rest = await Promise.all(stayed.map((stream) => stream.rest()))
    const whole = await (await follow(person, runId)).rest()
    expect(live.at(-1)).toMatchObject({ event: 'complete', status: 'completed', content: 'Once upon a time.' })
    for (const [at, events] of rest.entries()) expect([...seen[at]!, ...events]).toEqual(whole)
  })

  it('one person has so many open at once, by whatever way; one that is left or over gives its place back', async () => {
    let goOn = () => {}
    const told = new Promise<void>((resolve) => (goOn = resolve))
    model.play(() => ({ text: ['Once ', 'more.'], between: () => told }))
    const app = startApi(stack)
    app.deps.openStreams = createOpenStreams(2)
    const one = app.as(person)
    const other = app.as(await userCaller(stack, 'admin@harbor.example'))
    const begun = await begin(one, agentId, { message: 'Tell.' })
    const { run_id: runId, session_id: sessionId } = (await begun.next())!
    const followed = await follow(one, runId)

    const { user_id: userId } = await one.json(200, 'GET', `/api/sessions/${sessionId}`)
    const asPerson = app.as(serviceCaller(stack, { 'x-act-as-user': userId }))
    const refused = [
      await one.send('GET', streamPath(runId)),
      await one.send('POST', `/api/agents/${agentId}/run/stream`, {
        json: { message: 'Again.', session_id: sessionId },
      }),
      await asPerson.send('GET', streamPath(runId)),
    ]
    for (const response of refused) {
      expect(response.status).toBe(429)
      expect(response.headers.get('retry-after')).toBe('10')
      expect(await response.json()).toMatchObject({ code: 'rate_limited', error: 'Too many open streams.' })
    }
    // What was refused has begun nothing, and what is no stream takes no place.
    expect((await one.json(200, 'GET', `/api/sessions/${sessionId}/runs`))['runs']).toHaveLength(1)
    for (let i = 0; i < 3; i++) await other.json(404, 'GET', streamPath(runId))
    const trusted = await Promise.all([1, 2, 3].map(() => follow(app.as(serviceCaller(stack)), runId)))
    const others = await begin(other, agentId, { message: 'Tell.' })

    await followed.leave()
    const again = await follow(one, runId)
    goOn()
    await Promise.all([begun, again, others, ...trusted].map((stream) => stream.rest()))
    for (let i = 0; i < 3; i++) {
      const stream = await follow(one, runId)
      expect((await stream.rest()).at(-1)).toMatchObject({ event: 'complete', content: 'Once more.' })
    }
  })
})
