import type { Bytes } from '../body.ts'
import { EgressError } from './errors.ts'

/** Encodings that are asked for and understood. Brotli is not: Deno 2.1 cannot undo it piece by piece, so not within a limit. */
export const ACCEPT_ENCODING = 'gzip, deflate'

/** A decompressed body may be this many times as long as what was sent for it; ordinary text stays below 50. */
const MAX_RATIO = 100
/** Up to this length the ratio does not matter: a short page of one repeated line is no bomb. */
const RATIO_FREE_BYTES = 1024 * 1024
/** Compressed bytes handed over at a time: deflate makes at most 1032 of one, so a step yields about a megabyte. */
const STEP_BYTES = 1024
/** Compressed bytes beyond the limit that are still taken: what is read ahead must not end a body that is cut in time. */
const READ_AHEAD_BYTES = 128 * 1024

function formatOf(encoding: string, first: number): 'gzip' | 'deflate' | 'deflate-raw' {
  if (encoding === 'gzip' || encoding === 'x-gzip') return 'gzip'
  // "deflate" means the zlib format, but some servers send it without that wrapping.
  if (encoding === 'deflate') return (first & 0x0f) === 8 ? 'deflate' : 'deflate-raw'
  throw new EgressError('bad_response', 'The answer is compressed in a way that was not asked for.')
}

/**
 * Undoes a Content-Encoding, piece by piece. @param maxEncodedBytes compressed bytes that are looked at: a stream may go on
 * for ever and yield nothing.
 * @throws EgressError `bad_response`, `too_large` for a decompression bomb.
 */
export async function* decodeBody(
  source: AsyncIterable<Uint8Array>,
  header: string,
  maxEncodedBytes: number,
): AsyncGenerator<Uint8Array> {
  const encoding = header.trim().toLowerCase()
  if (encoding === '' || encoding === 'identity') {
    yield* source
    return
  }
  const input = source[Symbol.asyncIterator]()
  let taken = 0
  let given = 0
  let inputFailure: { error: unknown } | null = null
  const next = async (): Promise<Uint8Array | null> => {
    try {
      for (;;) {
        const { done, value } = await input.next()
        if (done) return null
        if (taken > maxEncodedBytes + READ_AHEAD_BYTES) throw new EgressError('too_large', 'The answer is too large.')
        if (value.byteLength > 0) return value
      }
    } catch (error) {
      inputFailure = { error }
      throw error
    }
  }
  let output: ReadableStreamDefaultReader<Uint8Array> | undefined
  const feed = async (writer: WritableStreamDefaultWriter<Bytes>, first: Uint8Array) => {
    try {
      for (let chunk: Uint8Array | null = first; chunk !== null; chunk = await next()) {
        for (let at = 0; at < chunk.byteLength; at += STEP_BYTES) {
          const step: Bytes = chunk.slice(at, at + STEP_BYTES)
          taken += step.byteLength
          await writer.write(step)
        }
      }
      await writer.close()
    } catch (error) {
      // What stopped the input must stop the output too, or its reader would wait for ever.
      await writer.abort(error).catch(() => {})
    }
  }
  try {
    const first = await next()
    if (first === null) return
    const { readable, writable } = new DecompressionStream(formatOf(encoding, first[0] as number))
    output = readable.getReader() as ReadableStreamDefaultReader<Uint8Array>
    void feed(writable.getWriter() as WritableStreamDefaultWriter<Bytes>, first)
    for (;;) {
      const { done, value } = await output.read()
      if (done) break
      given += value.byteLength
      if (given > RATIO_FREE_BYTES && given > taken * MAX_RATIO) {
        throw new EgressError('too_large', 'The answer is compressed so far that it was not unpacked.')
      }
      yield value
    }
  } catch (error) {
    // The failure of the input says more than what the decompressor made of it.
    if (inputFailure !== null) throw (inputFailure as { error: unknown }).error
    if (error instanceof EgressError) throw error
    throw new EgressError('bad_response', 'The answer could not be decompressed.', error)
  } finally {
    // Not waited for: an input that hangs is ended by whoever closes the connection.
    output?.cancel().catch(() => {})
    input.return?.(undefined)?.catch(() => {})
  }
}
