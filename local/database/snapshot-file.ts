import { readFileSync } from 'node:fs'
import { MemoryFS } from '@electric-sql/pglite'

// The data folder of a database as one tar file, and the quick way to start PGlite on a copy of it in memory: PGlite
// itself unpacks the file anew for each database, which takes as long as the rest of its start.

/** Where PGlite has its data folder. */
const DATA_FOLDER = '/pglite/data'

type Entry = { path: string; start: number; end: number; isFolder: boolean }

/** What is in a tar file, in its order: folders before their files. */
const entriesOf = (tar: Uint8Array): Entry[] => {
  const text = (at: number, length: number): string => {
    const bytes = tar.subarray(at, at + length)
    const end = bytes.indexOf(0)
    return Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString('latin1')
  }
  const entries: Entry[] = []
  for (let at = 0; at + 512 <= tar.length && tar[at] !== 0; ) {
    const prefix = text(at + 345, 155)
    const start = at + 512
    const end = start + (Number.parseInt(text(at + 124, 12), 8) || 0)
    entries.push({ path: (prefix && `${prefix}/`) + text(at, 100), start, end, isFolder: text(at + 156, 1) === '5' })
    at = start + Math.ceil((end - start) / 512) * 512
  }
  return entries
}

/** A prepared database that any number of databases can be started from. */
export class Snapshot {
  readonly #tar: Uint8Array
  readonly #entries: Entry[]
  /** What has been read from the catalogues of databases that began as this one, as JSON. */
  readonly introspections = new Map<string, string>()

  /** @param file a tar file made with `dumpDataDir('none')` */
  constructor(file: string) {
    this.#tar = readFileSync(file)
    this.#entries = entriesOf(this.#tar)
  }

  /** For `loadDataDir`, where the database is kept in a folder. */
  blob(): Blob {
    return new Blob([this.#tar as Uint8Array<ArrayBuffer>])
  }

  /** For `fs`: a copy in memory. One for each database. */
  fileSystem(): MemoryFS {
    const tar = this.#tar
    const entries = this.#entries
    return new (class extends MemoryFS {
      override async initialSyncFs(): Promise<void> {
        const FS = (this.pg as unknown as { Module: { FS: MemoryFiles } }).Module.FS
        // The one copy: each file is a part of it until it grows. (A Buffer's own `slice` would copy nothing.)
        const copy = new Uint8Array(tar)
        if (!FS.analyzePath(DATA_FOLDER).exists) FS.mkdir(DATA_FOLDER)
        for (const { path, start, end, isFolder } of entries) {
          if (isFolder) FS.mkdir(DATA_FOLDER + path)
          else FS.writeFile(DATA_FOLDER + path, copy.subarray(start, end), { canOwn: true })
        }
      }
    })()
  }
}

/** The part of Emscripten's file system that is used here; its types do not know `canOwn` (take the bytes, do not copy). */
type MemoryFiles = {
  analyzePath(path: string): { exists: boolean }
  mkdir(path: string): void
  writeFile(path: string, data: Uint8Array, options: { canOwn: boolean }): void
}
