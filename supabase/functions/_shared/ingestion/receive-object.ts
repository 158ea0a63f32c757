import { createHash } from 'node:crypto'
import { ObjectMissingError, type ObjectStore } from '../object-store.ts'
import type { ExpectedObject } from './context.ts'
import { ExtractionFailure } from './extract/failure.ts'
import { PermanentError } from './failures.ts'

const megabytes = (bytes: number) => `${Math.ceil(bytes / 1024 / 1024)} MB`

/**
 * Downloads an object piece by piece, and checks that it is the one that was registered. More than was announced is never
 * written.
 * @throws ExtractionFailure `too_large`; PermanentError `object_missing`, `hash_mismatch`; the reason of `signal`.
 */
export async function receiveObject(
  store: Pick<ObjectStore, 'get'>,
  { key, sizeBytes, sha256 }: ExpectedObject,
  maxBytes: number,
  signal: AbortSignal,
  write: (bytes: Uint8Array) => unknown,
): Promise<void> {
  if (sizeBytes > maxBytes) {
    throw new ExtractionFailure(
      'too_large',
      `This file has ${megabytes(sizeBytes)}; at most ${megabytes(maxBytes)} are read.`,
    )
  }
  const { stream } = await store.get(key, signal).catch((error: unknown) => {
    if (error instanceof ObjectMissingError) {
      throw new PermanentError('object_missing', 'The stored file is gone. Upload it again.', { cause: error })
    }
    throw error
  })
  const hash = createHash('sha256')
  let received = 0
  for await (const bytes of stream) {
    signal.throwIfAborted()
    received += bytes.length
    if (received > sizeBytes) break
    hash.update(bytes)
    await write(bytes)
  }
  if (received !== sizeBytes || hash.digest('hex') !== sha256.toLowerCase()) {
    throw new PermanentError('hash_mismatch', 'The stored file is not the one that was announced. Upload it again.')
  }
}
