import { afterEach, describe, expect, it } from 'vitest'
import { SseReadError, createSseChannel, formatSse, numbered, readSse } from '../../supabase/functions/_shared/sse.ts'
import { createRandom } from './support/random.ts'

const encoder = new TextEncoder()

function byteStream(
  chunks: Uint8Array[],
  options: { fail?: boolean; hang?: boolean } = {},
): ReadableStream<Uint8Array> {
  let at = 0
  return new ReadableStream({
    pull(controller) {
      const chunk = chunks[at++]
      if (chunk) controller.enqueue(chunk)
      else if (options.fail) controller.error(new TypeError('terminated'))
      else if (!options.hang) controller.close()
    },
  })
}

function cutBytes(text: string, random: () => number): Uint8Array[] {
  const bytes = encoder.encode(text)
  const chunks: Uint8Array[] = []
  for (let at = 0; at < bytes.length; ) {
    const length = 1 + Math.floor(random() * 4)
    chunks.push(bytes.slice(at, at + length))
    at += length
  }
  return chunks
}

async function collect(stream: AsyncIterable<string>): Promise<string[]> {
  const found: string[] = []
  for await (const data of stream) found.push(data)
  return found
}

describe('formatSse', () => {
  it('writes one data line and one empty line, whatever the text holds', () => {
    const evil = 'a\ndata: {"event":"complete"}\n\nevent: x\r\n\u2028\u0000\ud800'
    const frame = formatSse({ event: 'content_delta', delta: evil })
    expect(frame.startsWith('data: {')).toBe(true)
    expect(frame.slice(0, -2)).not.toMatch(/[\r\n]/)
    expect(frame.endsWith('}\n\n')).toBe(true)
    expect(JSON.parse(frame.slice(6))).toEqual({ event: 'content_delta', delta: evil })
  })
})

describe('numbered', () => {
  it('gives every event its kind twice, a gapless number from 1 and a time', () => {
    const events: Record<string, unknown>[] = []
    const emit = numbered((event) => events.push(event))
    emit('start', { run_id: 'run_1' })
    emit('chunk', { content: '' })
    expect(events.map((event) => [event['event'], event['type'], event['seq']])).toEqual([
      ['start', 'start', 1],
      ['chunk', 'chunk', 2],
    ])
    expect(Date.parse(String(events[0]?.['ts']))).not.toBeNaN()
  })
})

describe('readSse', () => {
  it('yields every event however the bytes are cut, also inside characters and line breaks', async () => {
    const random = createRandom(7)
    const payloads = ['größe 🦆', '漢字かな', 'a\\nb', '']
    for (let round = 0; round < 200; round++) {
      const lineBreak = ['\n', '\r\n', '\r'][round % 3] ?? '\n'
      const text = payloads.map((data) => `: hb${lineBreak}${lineBreak}data: ${data}${lineBreak}${lineBreak}`).join('')
      expect(await collect(readSse(byteStream(cutBytes(text, random))))).toEqual(payloads)
    }
  })

  it('does not yield an event that the end of the stream cuts off, not even inside a character', async () => {
    const bytes = encoder.encode('data: {"a":1}\n\ndata: {"delta":"🦆"}\n\n')
    for (let end = 15; end < bytes.length - 1; end++) {
      expect(await collect(readSse(byteStream([bytes.slice(0, end)])))).toEqual(['{"a":1}'])
    }
  })

  it('reports a stream that breaks', async () => {
    const reading = collect(readSse(byteStream([encoder.encode('data: 1\n\ndata: "\xc3')], { fail: true })))
    await expect(reading).rejects.toMatchObject({ name: 'SseReadError', reason: 'broken' })
  })

  it('gives up on a stream that stalls and closes it', async () => {
    let cancelled = false
    const stream = new ReadableStream<Uint8Array>({ cancel: () => void (cancelled = true) })
    await expect(collect(readSse(stream, { stallMs: 20 }))).rejects.toMatchObject({ reason: 'stalled' })
    expect(cancelled).toBe(true)
  })

  it('stops when it is aborted', async () => {
    const abort = new AbortController()
    const reading = collect(readSse(byteStream([], { hang: true }), { signal: abort.signal }))
    abort.abort()
    await expect(reading).rejects.toBeInstanceOf(SseReadError)
  })

  it('refuses an event without end', async () => {
    const chunk = encoder.encode('x'.repeat(1000))
    const stream = byteStream([encoder.encode('data: '), ...Array.from({ length: 50 }, () => chunk)])
    await expect(collect(readSse(stream, { maxEventChars: 5000 }))).rejects.toMatchObject({ reason: 'too_large' })
  })
})

describe('createSseChannel', () => {
  const channels: ReturnType<typeof createSseChannel>[] = []
  const open = (options?: Parameters<typeof createSseChannel>[0]) => {
    const channel = createSseChannel(options)
    channels.push(channel)
    return channel
  }
  afterEach(() => channels.splice(0).forEach((channel) => channel.close()))

  it('gives each event as one piece', async () => {
    const channel = open()
    channel.send({ event: 'a' })
    channel.send({ event: 'b' })
    channel.close()
    const pieces: string[] = []
    for await (const piece of channel.stream) pieces.push(new TextDecoder().decode(piece))
    expect(pieces).toEqual(['data: {"event":"a"}\n\n', 'data: {"event":"b"}\n\n'])
  })

  it('keeps a silent stream alive with comments', async () => {
    const channel = open({ keepaliveMs: 20 })
    const reader = channel.stream.getReader()
    const { value } = await reader.read()
    expect(new TextDecoder().decode(value)).toBe(': keepalive\n\n')
  })

  it('lets the writer go on when the reader leaves', async () => {
    const channel = open()
    await channel.stream.cancel()
    channel.send({ event: 'late' })
    channel.close()
    expect(channel.stream.locked).toBe(false)
  })

  it('cuts off a reader that is too slow instead of queueing without end', async () => {
    const channel = open({ maxQueuedBytes: 1000 })
    for (let i = 0; i < 100; i++) channel.send({ event: 'content_delta', delta: 'x'.repeat(50) })
    await expect(new Response(channel.stream).text()).rejects.toThrow()
  })
})
