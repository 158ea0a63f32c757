import { createParser } from 'eventsource-parser'

/**
 * Server-sent events. On the wire one event is one line `data: ` with one-line JSON, then an empty line; the kind is the
 * JSON key `event`. Some clients decode each network read alone, so an event is always written in one piece.
 */

const encoder = new TextEncoder()
const KEEPALIVE = encoder.encode(': keepalive\n\n')

/** Milliseconds of silence after which a comment is sent; the agent API promises at most 30 s. */
export const KEEPALIVE_MS = 15_000

/** Response headers of an event stream. */
export const SSE_HEADERS: Record<string, string> = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no',
}

/** One event as it goes over the wire. JSON escapes line breaks, so text cannot end or forge a frame. */
export function formatSse(event: Record<string, unknown>): string {
  return `data: ${JSON.stringify(event)}\n\n`
}

/** Takes the events of a run, in order. */
export type Emit = (event: string, fields: Record<string, unknown>) => void

/** Every event of a run carries its kind twice, its number in the run, from 1, and its time. */
export function numbered(send: (event: Record<string, unknown>) => void): Emit {
  let seq = 0
  return (event, fields) => send({ event, type: event, ...fields, seq: ++seq, ts: new Date().toISOString() })
}

/** A stream of events whose writer never waits for its reader. */
export type SseChannel = {
  /** The bytes for the response body. */
  stream: ReadableStream<Uint8Array>
  /** Queues one event; does nothing once the reader is gone. */
  send: (event: Record<string, unknown>) => void
  /** Ends the stream after what is queued. */
  close: () => void
  /** Whether somebody reads still. */
  isOpen: () => boolean
}

/** Options of `createSseChannel`. */
export type SseChannelOptions = {
  keepaliveMs?: number
  /** Puts an `id:` line with its number before each event that has one, and tells clients to come back this soon. */
  retryMs?: number
  /** Bytes that may wait for a slow reader before it is cut off; it can re-read the stored run. */
  maxQueuedBytes?: number
  /** Called when the stream has ended: closed, left or cut off; more than once, it may be. */
  onEnd?: () => void
}

/**
 * A channel between work that must go on (a run) and a reader that may be slow or leave.
 * A reader that leaves does not stop the writer: disconnecting is not cancelling.
 */
export function createSseChannel(options: SseChannelOptions = {}): SseChannel {
  const maxQueuedBytes = options.maxQueuedBytes ?? 8 * 1024 * 1024
  let controller: ReadableStreamDefaultController<Uint8Array> | null = null
  let queuedAt = Date.now()
  const keepaliveMs = options.keepaliveMs ?? KEEPALIVE_MS
  const timer = setInterval(
    () => {
      if (controller && Date.now() - queuedAt >= keepaliveMs && (controller.desiredSize ?? 0) > maxQueuedBytes / 2) {
        queuedAt = Date.now()
        controller.enqueue(KEEPALIVE)
      }
    },
    Math.max(10, keepaliveMs / 4),
  )
  const end = () => {
    clearInterval(timer)
    controller = null
    options.onEnd?.()
  }
  const stream = new ReadableStream<Uint8Array>(
    {
      start(given) {
        controller = given
        if (options.retryMs !== undefined) given.enqueue(encoder.encode(`retry: ${options.retryMs}\n\n`))
      },
      cancel: end,
    },
    { highWaterMark: maxQueuedBytes, size: (chunk) => chunk.byteLength },
  )
  return {
    stream,
    send(event) {
      if (!controller) return
      queuedAt = Date.now()
      const id = options.retryMs !== undefined && Number.isInteger(event['seq']) ? `id: ${String(event['seq'])}\n` : ''
      controller.enqueue(encoder.encode(id + formatSse(event)))
      if ((controller.desiredSize ?? 0) <= 0) {
        const slow = controller
        end()
        slow.error(new Error('The reader is too slow.'))
      }
    },
    close() {
      const open = controller
      end()
      open?.close()
    },
    isOpen: () => controller !== null,
  }
}

/** Why reading an event stream ended early. */
export class SseReadError extends Error {
  readonly reason: 'stalled' | 'broken' | 'too_large' | 'aborted'

  constructor(reason: 'stalled' | 'broken' | 'too_large' | 'aborted', message: string, cause?: unknown) {
    super(message, { cause })
    this.name = 'SseReadError'
    this.reason = reason
  }
}

/** Options of `readSse`. */
export type ReadSseOptions = {
  signal?: AbortSignal
  /** Milliseconds without a single byte (comments count) after which the stream is given up. */
  stallMs?: number
  /** Characters one event may have. */
  maxEventChars?: number
}

async function readOrStall<T>(read: Promise<T>, stallMs: number, signal: AbortSignal | undefined): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined
  let onAbort: (() => void) | undefined
  const interrupted = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new SseReadError('stalled', `No data for ${stallMs} ms.`)), stallMs)
    onAbort = () => reject(new SseReadError('aborted', 'Reading was aborted.'))
    if (signal?.aborted) onAbort()
    else signal?.addEventListener('abort', onAbort, { once: true })
  })
  try {
    return await Promise.race([read, interrupted])
  } finally {
    clearTimeout(timer)
    if (onAbort) signal?.removeEventListener('abort', onAbort)
  }
}

/**
 * The `data` of each complete event of a byte stream, however its bytes were cut: inside a frame, a line break or a
 * multi-byte character. An event that the end of the stream cuts off is not yielded.
 * @throws SseReadError when the stream breaks, stalls, is aborted or sends an oversized event.
 */
export async function* readSse(
  stream: ReadableStream<Uint8Array>,
  options: ReadSseOptions = {},
): AsyncGenerator<string, void, undefined> {
  const reader = stream.getReader()
  const decoder = new TextDecoder()
  const ready: string[] = []
  let failure: Error | null = null
  const parser = createParser({
    maxBufferSize: options.maxEventChars ?? 1 << 20,
    onEvent: (event) => ready.push(event.data),
    onError: (error) => {
      // Unknown fields and bad retry values are the sender's business; only an oversized event is ours.
      if (error.type === 'max-buffer-size-exceeded') failure = error
    },
  })
  try {
    for (;;) {
      let result: ReadableStreamReadResult<Uint8Array>
      try {
        result = await readOrStall(reader.read(), options.stallMs ?? 60_000, options.signal)
      } catch (error) {
        if (error instanceof SseReadError) throw error
        throw new SseReadError('broken', 'The stream broke off.', error)
      }
      if (result.done) return
      try {
        parser.feed(decoder.decode(result.value, { stream: true }))
      } catch (error) {
        failure ??= error instanceof Error ? error : new Error('The parser gave up.')
      }
      yield* ready.splice(0)
      if (failure) throw new SseReadError('too_large', 'An event is too large.', failure)
    }
  } finally {
    await reader.cancel().catch(() => {})
  }
}
