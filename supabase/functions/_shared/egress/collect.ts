import { joinBytes } from '../join-bytes.ts'
import { EgressError } from './errors.ts'
import type { EgressStream } from './types.ts'

const tooLarge = (maxBytes: number) => new EgressError('too_large', `The answer is larger than ${maxBytes} bytes.`)

/** A body that ends with `too_large` after `maxBytes`, and closes its connection however it is left. */
export async function* limited(answer: EgressStream, maxBytes: number): AsyncGenerator<Uint8Array> {
  let size = 0
  try {
    for await (const piece of answer.body) {
      size += piece.byteLength
      if (size > maxBytes) throw tooLarge(maxBytes)
      yield piece
    }
  } finally {
    answer.close()
  }
}

/** The first `maxBytes` of a body; closes its connection. @throws EgressError `too_large` when there is more and `refuse` is asked for. */
export async function collect(
  answer: EgressStream,
  maxBytes: number,
  overflow: 'truncate' | 'refuse',
): Promise<{ body: Uint8Array; truncated: boolean }> {
  const pieces: Uint8Array[] = []
  let size = 0
  let truncated = false
  try {
    for await (const piece of answer.body) {
      const kept = piece.subarray(0, maxBytes - size)
      pieces.push(kept)
      size += kept.byteLength
      truncated = kept.byteLength < piece.byteLength
      if (truncated) break
    }
  } finally {
    answer.close()
  }
  if (truncated && overflow === 'refuse') throw tooLarge(maxBytes)
  return { body: joinBytes(pieces), truncated }
}
