import { createHash } from 'node:crypto'
import { mkdtemp, open, rm, type FileHandle } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ObjectMissingError, type ObjectStore } from '../supabase/functions/_shared/object-store.ts'
import { ExtractionFailure } from './extract/failure.ts'
import { PermanentError } from './failures.ts'

/** What the row says about the object. */
export type ExpectedObject = { key: string; sizeBytes: number; sha256: string }

/** A readable and a writable descriptor of a file that has no name: nothing is left of it when its last reader is gone. */
async function openNameless(): Promise<{ reader: FileHandle; writer: FileHandle }> {
  const folder = await mkdtemp(join(tmpdir(), 'bulkhead-'))
  try {
    const path = join(folder, 'source')
    const writer = await open(path, 'wx', 0o600)
    return { writer, reader: await open(path, 'r') }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/**
 * Downloads an object and checks that it is the one that was registered. The caller closes the file.
 * @throws ExtractionFailure `too_large`; PermanentError `object_missing`, `hash_mismatch`.
 */
export async function fetchObject(
  store: Pick<ObjectStore, 'get'>,
  { key, sizeBytes, sha256 }: ExpectedObject,
  maxBytes: number,
  signal: AbortSignal,
): Promise<FileHandle> {
  if (sizeBytes > maxBytes) {
    const megabytes = (bytes: number) => `${Math.ceil(bytes / 1024 / 1024)} MB`
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

  const { reader, writer } = await openNameless()
  try {
    const hash = createHash('sha256')
    let received = 0
    for await (const bytes of stream) {
      signal.throwIfAborted()
      received += bytes.length
      if (received > sizeBytes) break
      hash.update(bytes)
      await writer.write(bytes)
    }
    if (received !== sizeBytes || hash.digest('hex') !== sha256.toLowerCase()) {
      throw new PermanentError('hash_mismatch', 'The stored file is not the one that was announced. Upload it again.')
    }
    return reader
  } catch (error) {
    await reader.close()
    throw error
  } finally {
    await writer.close()
  }
}
