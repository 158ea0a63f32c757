import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { processIdentity } from './process/identity.ts'

/** The process that holds a data folder. `identity` tells it from a later process with the same pid. */
export type LockHolder = { pid: number; identity: string | null; started_at: string; note: string }

/** Another running copy holds the data folder. Two of them would destroy the database files. */
export class DataLockedError extends Error {
  readonly holder: LockHolder
  constructor(folder: string, holder: LockHolder) {
    super(`Another copy (process ${holder.pid}, since ${holder.started_at}) is using the data in ${folder}.`)
    this.name = 'DataLockedError'
    this.holder = holder
  }
}

export interface DataLock {
  readonly file: string
  /** Says where the holder can be reached, for the message that another copy will print. */
  announce(note: string): void
  /** Gives the folder free; harmless when repeated, and when somebody else has taken it in the meantime. */
  release(): void
}

const FILE = 'lock.json'

/**
 * Takes the data folder for this process, creating it if need be. A lock left behind by a process that is gone (killed,
 * power lost) is replaced.
 *
 * @throws DataLockedError while another process that lives holds the folder
 */
export function acquireDataLock(folder: string): DataLock {
  mkdirSync(folder, { recursive: true })
  const file = join(folder, FILE)
  const holder: LockHolder = {
    pid: process.pid,
    identity: processIdentity(process.pid),
    started_at: new Date().toISOString(),
    note: '',
  }
  let own = JSON.stringify(holder)
  // Written beside and linked into place: nobody ever reads half a lock.
  const draft = `${file}.${process.pid}`
  writeFileSync(draft, own)
  try {
    while (!linkExclusively(draft, file)) {
      const found = read(file)
      const other = found === null ? null : parseHolder(found)
      if (other && lives(other)) throw new DataLockedError(folder, other)
      removeStale(file, found, `${draft}.stale`)
    }
  } finally {
    rmSync(draft, { force: true })
  }
  return {
    file,
    announce(note) {
      if (read(file) !== own) return
      own = JSON.stringify({ ...holder, note })
      writeFileSync(draft, own)
      renameSync(draft, file)
    },
    release() {
      if (read(file) === own) rmSync(file, { force: true })
    },
  }
}

/** Removes the lock that was judged stale; if a third process has put its own in place since, that one goes back. */
function removeStale(file: string, judged: string | null, aside: string): void {
  try {
    renameSync(file, aside)
  } catch {
    return // already gone
  }
  if (read(aside) !== judged) linkExclusively(aside, file)
  rmSync(aside, { force: true })
}

function linkExclusively(from: string, to: string): boolean {
  try {
    linkSync(from, to)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

function read(file: string): string | null {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return null
  }
}

function parseHolder(text: string): LockHolder | null {
  try {
    const value = JSON.parse(text) as Partial<LockHolder> | null
    if (!value || typeof value.pid !== 'number') return null
    const { pid, identity = null, started_at = 'an unknown time', note = '' } = value
    return { pid, identity, started_at, note }
  } catch {
    return null // a torn or foreign file holds nothing
  }
}

function lives(holder: LockHolder): boolean {
  const identity = processIdentity(holder.pid)
  return identity !== null && identity === holder.identity
}
