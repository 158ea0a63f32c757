import { createHash, randomUUID } from 'node:crypto'
import { copyFile, link, mkdir, open, readdir, readFile, rename, rm, stat, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createDigests, type Algorithm, type Digests } from './digests.ts'
import { StorageError } from './errors.ts'

/** One version of one object. Every write makes a new version, so the bytes behind a reference never change. */
export type ObjectRef = { bucketId: string; name: string; version: string }

/** Bytes that have arrived and wait in a temporary file for the row that will make them an object. */
export type ReceivedFile = { path: string; sizeBytes: number; digests: Digests }

export type ReceiveOptions = {
  /** More bytes than this end the transfer with `EntityTooLarge`. */
  maxBytes: number
  /** Checksums to compute beside MD5 and SHA-256. */
  algorithms?: Iterable<Algorithm>
}

/** The bytes of a version. */
export interface StoredFile {
  readonly sizeBytes: number
  /**
   * Streams bytes `start` to `end` inclusive. The file is open only from the first read to the end, an error, a cancel
   * or the signal (servers do not always cancel a body whose reader has gone); deleting the object meanwhile does not
   * cut the reader off.
   */
  stream(start: number, end: number, signal?: AbortSignal): ReadableStream<Uint8Array>
}

/** The bytes of all objects, on disk. It knows nothing of rows or rights. */
export interface FileStore {
  readonly root: string
  /** Writes a body to a temporary file as it arrives. @throws StorageError `EntityTooLarge` */
  receive(body: AsyncIterable<Uint8Array>, options: ReceiveOptions): Promise<ReceivedFile>
  /** Forgets a received file that was not placed. */
  discard(received: ReceivedFile): Promise<void>
  /** Makes received bytes the given version, atomically. */
  place(received: ReceivedFile, ref: ObjectRef): Promise<void>
  /** Gives the bytes of one version a second reference. @throws StorageError `NoSuchKey` if they are gone */
  duplicate(from: ObjectRef, to: ObjectRef): Promise<void>
  find(ref: ObjectRef): Promise<StoredFile | null>
  remove(ref: ObjectRef): Promise<void>
  /** Notes versions whose rows are about to change; what a crash leaves behind is found through these notes. */
  writeJournal(refs: ObjectRef[]): Promise<string>
  eraseJournal(id: string): Promise<void>
  readJournals(): Promise<{ id: string; refs: ObjectRef[] }[]>
}

const READ_CHUNK_BYTES = 64 * 1024
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/**
 * Opens the store in a folder (created when absent) and removes half-received files of an earlier run.
 * Only one process may use a folder at a time. Nothing is flushed to the device: the store survives a killed
 * process, not a power cut, like the local database beside it.
 */
export async function openFileStore(root: string): Promise<FileStore> {
  const folders = { objects: join(root, 'objects'), temporary: join(root, 'tmp'), journal: join(root, 'journal') }
  await rm(folders.temporary, { recursive: true, force: true })
  for (const folder of Object.values(folders)) await mkdir(folder, { recursive: true })

  // The name on disk is a hash of bucket and key: no key, however odd, can name a path, and a row that claims
  // another object's version still does not reach that object's bytes.
  const pathOf = ({ bucketId, name, version }: ObjectRef): string | null => {
    if (!UUID.test(version)) return null
    const hash = createHash('sha256').update(`${bucketId}\0${name}`).digest('hex')
    return join(folders.objects, hash.slice(0, 2), `${hash}.${version}`)
  }
  const pathFor = async (ref: ObjectRef): Promise<string> => {
    const path = pathOf(ref)
    if (!path) throw new TypeError('An object version must be a UUID')
    await mkdir(join(path, '..'), { recursive: true })
    return path
  }

  return {
    root,

    async receive(body, { maxBytes, algorithms = [] }) {
      const path = join(folders.temporary, randomUUID())
      const digests = createDigests(['md5', 'sha256', ...algorithms])
      const file = await open(path, 'wx')
      let sizeBytes = 0
      try {
        for await (const chunk of body) {
          sizeBytes += chunk.byteLength
          if (sizeBytes > maxBytes) throw new StorageError('EntityTooLarge')
          digests.update(chunk)
          await writeAll(file, chunk)
        }
      } catch (error) {
        await file.close()
        await unlink(path)
        throw error
      }
      await file.close()
      return { path, sizeBytes, digests: digests.finish() }
    },

    async discard(received) {
      await rm(received.path, { force: true })
    },

    async place(received, ref) {
      await rename(received.path, await pathFor(ref))
    },

    async duplicate(from, to) {
      const source = pathOf(from)
      const target = await pathFor(to)
      if (!source) throw new StorageError('NoSuchKey')
      try {
        // Versions are immutable, so two references may share one file.
        await link(source, target).catch((error) => {
          if (isMissing(error)) throw error
          return copyFile(source, target)
        })
      } catch (error) {
        throw isMissing(error) ? new StorageError('NoSuchKey') : error
      }
    },

    async find(ref) {
      const path = pathOf(ref)
      if (!path) return null
      try {
        const { size } = await stat(path)
        return { sizeBytes: size, stream: (...range) => streamFile(path, ...range) }
      } catch (error) {
        if (isMissing(error)) return null
        throw error
      }
    },

    async remove(ref) {
      const path = pathOf(ref)
      if (path) await rm(path, { force: true })
    },

    async writeJournal(refs) {
      const id = randomUUID()
      const path = join(folders.journal, id)
      await writeFile(`${path}.tmp`, JSON.stringify(refs))
      await rename(`${path}.tmp`, path)
      return id
    },

    async eraseJournal(id) {
      await rm(join(folders.journal, id), { force: true })
    },

    async readJournals() {
      const journals: { id: string; refs: ObjectRef[] }[] = []
      for (const id of await readdir(folders.journal)) {
        // A note that was still being written belongs to a change that had not begun.
        if (!UUID.test(id)) await rm(join(folders.journal, id), { force: true })
        else journals.push({ id, refs: JSON.parse(await readFile(join(folders.journal, id), 'utf8')) as ObjectRef[] })
      }
      return journals
    },
  }
}

/**
 * Call at the start of a request that may end in `stream`: @hono/node-server makes the signal on first use, and one
 * made after the client has gone never fires.
 */
export function watchForAbort(request: Request): AbortSignal {
  return request.signal
}

type FileHandle = Awaited<ReturnType<typeof open>>

function streamFile(path: string, start: number, end: number, signal?: AbortSignal): ReadableStream<Uint8Array> {
  let file: FileHandle | undefined
  let position = start
  const close = async () => {
    signal?.removeEventListener('abort', onAbort)
    const closing = file
    file = undefined
    await closing?.close()
  }
  const onAbort = () => void close()
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const wanted = Math.min(READ_CHUNK_BYTES, end - position + 1)
          if (wanted <= 0) {
            await close()
            controller.close()
            return
          }
          if (!file) {
            file = await open(path, 'r')
            signal?.addEventListener('abort', onAbort)
          }
          // Nobody is left to tell that the body is incomplete.
          if (signal?.aborted) {
            await close()
            controller.close()
            return
          }
          const { bytesRead, buffer } = await file.read(new Uint8Array(wanted), 0, wanted, position)
          if (bytesRead === 0) throw new Error('The stored file is shorter than its size')
          position += bytesRead
          controller.enqueue(buffer.subarray(0, bytesRead))
        } catch (error) {
          await close()
          controller.error(error)
        }
      },
      cancel: close,
    },
    { highWaterMark: 0 },
  )
}

async function writeAll(file: FileHandle, chunk: Uint8Array): Promise<void> {
  let written = 0
  while (written < chunk.byteLength) {
    const { bytesWritten } = await file.write(chunk, written, chunk.byteLength - written)
    written += bytesWritten
  }
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException)?.code === 'ENOENT'
}
