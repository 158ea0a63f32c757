import { mkdtemp, open, rm, type FileHandle } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ExpectedObject } from '../supabase/functions/_shared/ingestion/context.ts'
import { receiveObject } from '../supabase/functions/_shared/ingestion/receive-object.ts'
import type { ObjectStore } from '../supabase/functions/_shared/object-store.ts'

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
 * Downloads an object into a file and checks that it is the one that was registered. The caller closes the file.
 * @throws as `receiveObject`.
 */
export async function fetchObject(
  store: Pick<ObjectStore, 'get'>,
  object: ExpectedObject,
  maxBytes: number,
  signal: AbortSignal,
): Promise<FileHandle> {
  const { reader, writer } = await openNameless()
  try {
    await receiveObject(store, object, maxBytes, signal, (bytes) => writer.write(bytes))
    return reader
  } catch (error) {
    await reader.close()
    throw error
  } finally {
    await writer.close()
  }
}
