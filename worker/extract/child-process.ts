import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import type { FileHandle } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { constants, setPriority } from 'node:os'
import { fileURLToPath } from 'node:url'
import {
  corrupt,
  type ExtractionFailure,
  limitExceeded,
} from '../../supabase/functions/_shared/ingestion/extract/failure.ts'
import { residentMemory } from './memory.ts'
import { READER_UNAVAILABLE, READY } from './serve-parent.ts'

const PACKAGE_ROOT = fileURLToPath(new URL('../../', import.meta.url))
const READABLE = ['package.json', 'worker/extract', 'supabase/functions/_shared/ingestion', 'node_modules']
/** Characters of what a process that cannot start says of it. */
const MAX_CAUSE_CHARS = 2_000
/** How often time and memory are checked. A process that unpacks a bomb grows by less than 100 MiB in between. */
const POLL_MS = 50

/** A process that works on one document. */
export type DocumentChild = {
  /** The document, open for reading at its begin: its standard input. */
  file: FileHandle
  /** Its program, and what that is told, as JSON on the command line. */
  program: string
  task: unknown
  /** Wall time in milliseconds, without what the caller spends; resident memory in MiB, three quarters of it for JavaScript. */
  limits: { timeoutMs: number; memoryMb: number }
  /** Longest line it may write, in bytes, and what is said of a longer one. */
  maxLineBytes: number
  tooLong: () => ExtractionFailure
  /** Whether it has said that it is through: one that goes without has crashed. */
  hasEnded: () => boolean
  /** Whether others go before it where processors are scarce. */
  isInBackground?: boolean
}

function start({ file, program, task, limits }: DocumentChild): ChildProcess {
  return spawn(
    process.execPath,
    [
      '--permission',
      '--allow-worker',
      ...READABLE.map((path) => `--allow-fs-read=${PACKAGE_ROOT}${path}`),
      `--max-old-space-size=${Math.floor(limits.memoryMb * 0.75)}`,
      '--disable-warning=ExperimentalWarning',
      program,
      JSON.stringify(task),
    ],
    { stdio: [file.fd, 'pipe', 'pipe'], env: {} },
  )
}

/**
 * Works on a document in a process of its own and yields the lines it writes. The process has neither environment nor the right
 * to read any file but its own code, and is killed when the caller stops reading, when `signal` aborts, and when it exceeds its
 * time or its memory.
 * @throws ExtractionFailure with the verdict; the reason of `signal` when that aborts; an Error that says nothing of the document
 * when the process cannot start, or not load what it reads it with.
 */
export async function* linesOfChild(work: DocumentChild, signal?: AbortSignal): AsyncGenerator<string> {
  const { limits } = work
  signal?.throwIfAborted()
  const child = start(work)
  if (work.isInBackground) yieldToOthers(child)
  const complaint = complaintOf(child)
  let isReady = false
  const exited = once(child, 'exit').then(([code, killedBy]) => ({
    code: code as number | null,
    killedBy: killedBy as string | null,
  }))

  let stopped: ExtractionFailure | null = null
  const stop = (failure: ExtractionFailure | null) => {
    stopped ??= failure
    child.kill('SIGKILL')
  }
  const onAbort = () => stop(null)
  signal?.addEventListener('abort', onAbort, { once: true })
  // Time that the caller spends with a line is not the document's.
  let waitingSince = performance.now()
  let spentMs = 0
  let withCaller = false
  const watch = setInterval(async () => {
    if (!withCaller && spentMs + performance.now() - waitingSince > limits.timeoutMs) stop(tooSlow(limits))
    if (child.pid && (await residentMemory(child.pid)) > limits.memoryMb) stop(outOfMemory(limits))
  }, POLL_MS)

  try {
    for await (const line of boundedLines(child, work.maxLineBytes, () => stop(work.tooLong()))) {
      if (!isReady && line === READY) {
        isReady = true
        complaint.forget()
        continue
      }
      spentMs += performance.now() - waitingSince
      withCaller = true
      yield line
      waitingSince = performance.now()
      withCaller = false
    }
    const { code, killedBy } = await exited
    signal?.throwIfAborted()
    if (stopped) throw stopped
    if (!isReady) {
      const cause = new Error(await complaint.whole())
      throw new Error(`The process that reads documents cannot start: it ended with ${killedBy ?? code}.`, { cause })
    }
    if (code === READER_UNAVAILABLE) {
      const cause = new Error((await complaint.whole()).split('\n').at(-1))
      throw new Error('The process that reads documents cannot load a part of its program.', { cause })
    }
    if (!work.hasEnded()) throw crashed(code, killedBy, limits)
  } finally {
    clearInterval(watch)
    signal?.removeEventListener('abort', onAbort)
    child.kill('SIGKILL')
    await exited
  }
}

/**
 * What a process writes to standard error: the begin of it, or the end of what came since it was forgotten. Once the process
 * has begun with a document that may be of the document, which no error may say: only its last line is asked for, and only
 * when the process ended because it cannot load its reader.
 */
function complaintOf({ stderr }: ChildProcess): { whole: () => Promise<string>; forget: () => void } {
  let text = ''
  let kept: [from: number, to?: number] = [0, MAX_CAUSE_CHARS]
  // Read to its end in any case: a full pipe would stop the process.
  stderr?.on('data', (data: Buffer) => (text = (text + data.toString()).slice(...kept)))
  const closed = new Promise((resolve) => (stderr ? stderr.once('close', resolve) : resolve(null)))
  return {
    whole: () => closed.then(() => text.trim()),
    forget() {
      text = ''
      kept = [-MAX_CAUSE_CHARS]
    },
  }
}

function yieldToOthers({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) setPriority(pid, constants.priority.PRIORITY_BELOW_NORMAL)
  } catch {
    // A matter of politeness; some systems do not allow it.
  }
}

/** Lines of the child's output; one that is too long stops the child. */
async function* boundedLines(child: ChildProcess, maxLineBytes: number, onTooLong: () => void): AsyncGenerator<string> {
  if (!child.stdout) return
  let sinceLine = 0
  child.stdout.on('data', (data: Buffer) => {
    sinceLine = data.includes(10) ? 0 : sinceLine + data.length
    if (sinceLine > maxLineBytes) onTooLong()
  })
  for await (const line of createInterface({ input: child.stdout, crlfDelay: Infinity })) if (line) yield line
}

const tooSlow = ({ timeoutMs }: DocumentChild['limits']) =>
  limitExceeded(`This document takes longer than ${Math.round(timeoutMs / 1000)} seconds to read.`)

const outOfMemory = ({ memoryMb }: DocumentChild['limits']) =>
  limitExceeded(`This document needs more than ${memoryMb} MB of memory to be read.`)

/** The process ended without a verdict: SIGABRT (or code 134) is V8 out of memory, SIGKILL the system's; else the parser broke. */
function crashed(code: number | null, killedBy: string | null, limits: DocumentChild['limits']): ExtractionFailure {
  if (killedBy === 'SIGABRT' || killedBy === 'SIGKILL' || code === 134) return outOfMemory(limits)
  return corrupt('document of its type', new Error(`its process ended with ${killedBy ?? code}`))
}
