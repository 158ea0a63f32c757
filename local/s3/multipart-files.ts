import { createReadStream } from 'node:fs'
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ReceivedFile } from '../storage/files.ts'

const UPLOAD_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
const PART_FILE = /^(\d{5})\.([0-9a-f]{32})$/

/** A part that has arrived; `eTag` is the MD5 of its bytes, unquoted hex. */
export type StoredPart = { partNumber: number; eTag: string; sizeBytes: number; path: string }

/** Unfinished multipart uploads on disk. No row knows of them until they are completed. */
export class MultipartFiles {
  readonly #root: string

  /** @param root folder of the file store */
  constructor(root: string) {
    this.#root = join(root, 'multipart')
  }

  /** Starts an upload; `description` comes back from `describe`. */
  async create(uploadId: string, description: unknown): Promise<void> {
    await mkdir(join(this.#root, uploadId), { recursive: true })
    await writeFile(join(this.#root, uploadId, 'upload.json'), JSON.stringify(description))
  }

  /** What `create` was given; undefined for an unknown, finished or aborted upload. */
  async describe(uploadId: string): Promise<unknown> {
    if (!UPLOAD_ID.test(uploadId)) return undefined
    try {
      return JSON.parse(await readFile(join(this.#root, uploadId, 'upload.json'), 'utf8'))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw error
    }
  }

  /** Keeps a received part; an earlier one of the same number is replaced. */
  async putPart(uploadId: string, partNumber: number, received: ReceivedFile): Promise<string> {
    const eTag = received.digests.md5?.toString('hex') ?? ''
    const earlier = (await this.parts(uploadId)).filter((part) => part.partNumber === partNumber && part.eTag !== eTag)
    const name = `${String(partNumber).padStart(5, '0')}.${eTag}`
    await rename(received.path, join(this.#root, uploadId, name))
    for (const part of earlier) await rm(part.path, { force: true })
    return eTag
  }

  /** The parts of an upload in order. */
  async parts(uploadId: string): Promise<StoredPart[]> {
    const folder = join(this.#root, uploadId)
    const parts: StoredPart[] = []
    for (const file of (await readdir(folder)).sort()) {
      const [, number, eTag] = PART_FILE.exec(file) ?? []
      if (!number || !eTag) continue
      const path = join(folder, file)
      parts.push({ partNumber: Number(number), eTag, sizeBytes: (await stat(path)).size, path })
    }
    return parts
  }

  /** The bytes of the parts, one after the other. */
  async *read(parts: StoredPart[]): AsyncGenerator<Uint8Array> {
    for (const part of parts) yield* createReadStream(part.path) as AsyncIterable<Uint8Array>
  }

  async remove(uploadId: string): Promise<void> {
    if (UPLOAD_ID.test(uploadId)) await rm(join(this.#root, uploadId), { recursive: true, force: true })
  }

  /** Removes uploads begun longer ago than this and returns how many. */
  async removeOlderThan(ageMs: number): Promise<number> {
    let removed = 0
    const uploads = await readdir(this.#root).catch(() => [])
    for (const uploadId of uploads) {
      const { mtimeMs } = await stat(join(this.#root, uploadId))
      if (Date.now() - mtimeMs < ageMs) continue
      await rm(join(this.#root, uploadId), { recursive: true, force: true })
      removed += 1
    }
    return removed
  }
}
