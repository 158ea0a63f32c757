import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readEvents } from '../../../client/read-events.ts'
import { createRunReducer } from '../../../client/run-reducer.ts'
import { createSseChannel, formatSse, readSse } from '../../../supabase/functions/_shared/sse.ts'
import { script, startScriptedModel } from '../../support/scripted-model/index.ts'
import type { ScriptedModel } from '../../support/scripted-model/index.ts'
import { useStack } from '../../support/stack.ts'
import { startApi } from '../support/api-app.ts'
import { begin } from '../support/durable-run.ts'
import { userCaller } from '../support/http.ts'
import type { FunctionsCaller, Json } from '../support/http.ts'
import { createRandom } from '../support/random.ts'

// Rows of the attack catalogue about streams, each beside what is allowed.

const userEnv: Record<string, string> = {}
let model: ScriptedModel
beforeAll(async () => {
  model = await startScriptedModel()
  Object.assign(userEnv, model.env)
})
const stack = useStack({ userEnv })
afterAll(() => model.stop())

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

  it('thirty streams at once all get the run, and those that leave leave nothing behind', async () => {
    const { runId, events } = runs[0]!
    const opened = await Promise.all(Array.from({ length: 30 }, () => person.send('GET', streamPath(runId))))
    const texts = await Promise.all(opened.slice(0, 25).map((response) => response.text()))
    for (const text of texts) expect(text.match(/^data: /gm)).toHaveLength(events.length)
    await Promise.all(opened.slice(25).map((response) => response.body!.cancel()))
    await sleep(50)
    expect((await person.send('GET', streamPath(runId))).status).toBe(200)
  })
})
