// The client against a server that cuts its stream wherever it likes.
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createClient } from '@supabase/supabase-js'
import { afterEach, describe, expect, it } from 'vitest'
import { type ChatEvent, createBulkhead } from '../../client/index.ts'

let server: Server | undefined
afterEach(async () => {
  server?.closeAllConnections()
  await new Promise((resolve) => (server ? server.close(resolve) : resolve(undefined)))
  server = undefined
})

const EVENTS = [
  { event: 'start', run_id: 'run_1', session_id: 's' },
  { event: 'content_delta', delta: 'Grüße, 世界 👋' },
  { event: 'chunk', content: 'Grüße, 世界 👋' },
  { event: 'complete', run_id: 'run_1', session_id: 's', content: 'Grüße, 世界 👋', status: 'completed', error: null },
]
const STREAM = Buffer.from(EVENTS.map((event) => `data: ${JSON.stringify(event)}\n\n`).join(': keepalive\n\n'))

/** Serves `pieces` one by one as the answer to any request, then ends or destroys the connection. */
async function bulkheadOver(pieces: Buffer[], ending: 'end' | 'destroy' = 'end') {
  server = createServer(async (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    for (const piece of pieces) {
      response.write(piece)
      await new Promise((resolve) => setImmediate(resolve))
    }
    if (ending === 'end') response.end()
    else response.destroy()
  })
  await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return createBulkhead(createClient(`http://127.0.0.1:${port}`, 'key', { auth: { persistSession: false } }))
}

async function collect(events: AsyncIterable<ChatEvent>): Promise<ChatEvent[]> {
  const all: ChatEvent[] = []
  for await (const event of events) all.push(event)
  return all
}

/** Serves the events of one run: what is asked for gets `most` of them, then the connection breaks. */
async function bulkheadOverRun(events: object[], most: number, isOwnEnd = false) {
  const asked: string[] = []
  server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`)
    const after = Number(new URL(request.url ?? '', 'http://x').searchParams.get('after') ?? 0)
    const isResumed = request.method === 'GET'
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    const rest = events.slice(after, after + most)
    for (const event of rest) {
      // A stream of the run names the agent's session.
      const told = 'session_id' in event && isResumed ? { ...event, session_id: 'agent-session' } : event
      response.write(`data: ${JSON.stringify(told)}\n\n`)
    }
    if (after + most >= events.length) return response.end()
    if (isOwnEnd)
      return response.end('data: {"event":"stream_end","run_id":"run_1","after":1,"reason":"time_limit"}\n\n')
    response.write('data: {"event":"content_delta","delta":"cut')
    return setTimeout(() => response.destroy(), 20)
  })
  await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const bulkhead = createBulkhead(createClient(`http://127.0.0.1:${port}`, 'key', { auth: { persistSession: false } }))
  return { bulkhead, asked }
}

describe('a chat whose run is in a log', () => {
  const numbered = EVENTS.map((event, at) => ({ ...event, seq: at + 1 }))

  it.each([
    ['breaks', false],
    ['ends because its time is over', true],
  ])('goes on where its stream %s, each event once', async (_name, isOwnEnd) => {
    const { bulkhead, asked } = await bulkheadOverRun(numbered, 2, isOwnEnd)
    expect(await collect(bulkhead.chat({ message: 'hi' }))).toEqual(numbered)
    expect(asked).toEqual(['POST /functions/v1/chat', 'GET /functions/v1/api/agents/runs/run_1/stream?after=2'])
  })

  it('waits with a run that brings nothing for many streams', async () => {
    const idle = 8
    let asked = 0
    server = createServer((_request, response) => {
      const events = asked === 0 ? numbered.slice(0, 1) : asked > idle ? numbered.slice(1) : []
      asked++
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      const end = { event: 'stream_end', run_id: 'run_1', after: 1, reason: 'time_limit' }
      response.end([...events, end].map((event) => `data: ${JSON.stringify(event)}\n\n`).join(''))
    })
    await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const bulkhead = createBulkhead(
      createClient(`http://127.0.0.1:${port}`, 'key', { auth: { persistSession: false } }),
    )
    expect(await collect(bulkhead.chat({ message: 'hi' }))).toEqual(numbered)
    expect(asked).toBe(idle + 2)
  })

  it('waits with a run that has not begun', async () => {
    let asked = 0
    server = createServer((_request, response) => {
      const session = { event: 'session', session_id: 's' }
      const waiting = { event: 'stream_end', run_id: 'run_1', after: 0, reason: 'time_limit' }
      const [start, ...others] = numbered
      const events = asked === 0 ? [session, waiting] : [{ ...start, session_id: 'agent-session' }, ...others]
      asked++
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.end(events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join(''))
    })
    await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const bulkhead = createBulkhead(
      createClient(`http://127.0.0.1:${port}`, 'key', { auth: { persistSession: false } }),
    )
    const [session, ...seen] = await collect(bulkhead.chat({ message: 'hi' }))
    expect(session).toMatchObject({ event: 'session' })
    expect(seen).toEqual(numbered)
    expect(asked).toBe(2)
  })

  it('counts events of later kinds: none comes twice', async () => {
    const later = [
      numbered[0]!,
      { event: 'tool_call', tool_name: 'x', seq: 2 },
      ...numbered.slice(1).map((event) => ({ ...event, seq: event.seq + 1 })),
    ]
    const { bulkhead, asked } = await bulkheadOverRun(later, 2)
    const seen = await collect(bulkhead.chat({ message: 'hi' }))
    expect(seen.map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5])
    expect(asked.slice(1)).toEqual(
      [2, 4].map((after) => `GET /functions/v1/api/agents/runs/run_1/stream?after=${after}`),
    )
  })

  it('goes on in the middle of pieces that were folded meanwhile: no text comes twice', async () => {
    const piece = (seq: number, event: string, delta: string, off?: number, from_seq?: number) => ({
      ...{ event, delta, seq },
      ...(off === undefined ? {} : { off }),
      ...(from_seq === undefined ? {} : { from_seq }),
    })
    const [start, , chunk, complete] = numbered
    const live = [
      ...[start, piece(2, 'reasoning_delta', 'Let me '), piece(3, 'reasoning_delta', 'think.')],
      ...[piece(4, 'content_delta', 'Hel', 0), piece(5, 'content_delta', 'lo ', 3)],
    ]
    const folded = [
      ...[start, piece(3, 'reasoning_delta', 'Let me think.', undefined, 2)],
      ...[piece(7, 'content_delta', 'Hello world', 0, 4), { ...chunk, seq: 8 }, { ...complete, seq: 9 }],
    ]
    // The device sleeps after each of these, and wakes up when the run is long over.
    for (const seen of [2, 3, 4, 5]) {
      server = createServer((request, response) => {
        const after = Number(new URL(request.url ?? '', 'http://x').searchParams.get('after') ?? 0)
        const rest =
          request.method === 'POST' ? live.slice(0, seen) : folded.filter((event) => (event?.seq ?? 0) > after)
        response.writeHead(200, { 'content-type': 'text/event-stream' })
        response.end(rest.map((event) => `data: ${JSON.stringify(event)}\n\n`).join(''))
      })
      await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve))
      const { port } = server.address() as AddressInfo
      const supabase = createClient(`http://127.0.0.1:${port}`, 'key', { auth: { persistSession: false } })
      const told = await collect(createBulkhead(supabase).chat({ message: 'hi' }))
      const text = (kind: string) =>
        told.map((event) => (event.event === kind && 'delta' in event ? event.delta : '')).join('')
      expect([text('reasoning_delta'), text('content_delta')], `after ${seen}`).toEqual([
        'Let me think.',
        'Hello world',
      ])
      const offsets = told.flatMap((event) => (event.event === 'content_delta' ? [event.off] : []))
      expect(offsets).toEqual({ 2: [0], 3: [0], 4: [0, 3], 5: [0, 3, 6] }[seen])
      server.closeAllConnections()
      await new Promise((resolve) => server?.close(resolve))
    }
    server = undefined
  })

  it.each([
    ['goes on where a stream has failed itself', 'internal'],
    ['ends with the stream when the run cannot be read any more', 'not_found'],
  ])('%s', async (_name, code) => {
    const ids = { run_id: 'run_1', session_id: 's' }
    const failure = { error: 'Something went wrong.', code }
    const failed = [
      { event: 'error', ...ids, ...failure },
      { event: 'complete', ...ids, content: '', status: 'failed', ...failure },
    ]
    let asked = 0
    server = createServer((_request, response) => {
      // The first breaks off, the second fails, and the third has the rest.
      const events = [numbered.slice(0, 2), failed, numbered.slice(2)][asked++] ?? []
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.end(events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join(''))
    })
    await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const bulkhead = createBulkhead(
      createClient(`http://127.0.0.1:${port}`, 'key', { auth: { persistSession: false } }),
    )
    const seen = await collect(bulkhead.chat({ message: 'hi' }))
    const isReadable = code === 'internal'
    expect(seen).toEqual(isReadable ? numbered : [...numbered.slice(0, 2), ...failed])
    expect(asked).toBe(isReadable ? 3 : 2)
  })

  it('gives up when the run cannot be had again', async () => {
    const { bulkhead, asked } = await bulkheadOverRun(numbered, 0)
    await expect(collect(bulkhead.chat({ message: 'hi' }))).rejects.toMatchObject({ code: 'stream_cut' })
    expect(asked).toHaveLength(1)
  })

  it('is streamed again from any position', async () => {
    const { bulkhead } = await bulkheadOverRun(numbered, 10)
    const seen = []
    for await (const event of bulkhead.streamRun('run_1', { after: 2 })) seen.push(event['seq'])
    expect(seen).toEqual([3, 4])
  })
})

describe('chat', () => {
  it('yields the same events however the bytes are cut, also inside a character', async () => {
    for (const size of [1, 2, 3, 7, 64, STREAM.length]) {
      const pieces: Buffer[] = []
      for (let at = 0; at < STREAM.length; at += size) pieces.push(STREAM.subarray(at, at + size))
      const bulkhead = await bulkheadOver(pieces)
      expect(await collect(bulkhead.chat({ message: 'hi' }))).toEqual(EVENTS)
      await new Promise((resolve) => server?.close(resolve))
    }
  })

  it('says so when the stream ends before complete, in the middle of a character too', async () => {
    const cut = STREAM.indexOf(Buffer.from('世')) + 1
    const bulkhead = await bulkheadOver([STREAM.subarray(0, cut)])
    await expect(collect(bulkhead.chat({ message: 'hi' }))).rejects.toMatchObject({ code: 'stream_cut' })
  })

  it('throws when the connection breaks', async () => {
    const bulkhead = await bulkheadOver([STREAM.subarray(0, 60)], 'destroy')
    await expect(collect(bulkhead.chat({ message: 'hi' }))).rejects.toThrow()
  })

  it('stops when its signal is aborted', async () => {
    const controller = new AbortController()
    const endless = Array.from({ length: 10_000 }, () => Buffer.from('data: {"event":"content_delta","delta":"x"}\n\n'))
    const bulkhead = await bulkheadOver(endless)
    const events = bulkhead.chat({ message: 'hi', signal: controller.signal })
    expect((await events.next()).value).toMatchObject({ event: 'content_delta' })
    controller.abort()
    await expect(collect(events)).rejects.toThrow(/abort/i)
  })
})
