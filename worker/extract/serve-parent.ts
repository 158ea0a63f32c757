import { readFileSync, writeSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import {
  type ExtractionReason,
  ReaderUnavailable,
  verdictOf,
} from '../../supabase/functions/_shared/ingestion/extract/failure.ts'

/** The first line of a process: its program is loaded, and it begins with the document. */
export const READY = 'ready'

/** The exit code of a process that cannot load what it reads the document with. */
export const READER_UNAVAILABLE = 70

/** The last message of a process that could not do its work. */
export type FailedMessage = { type: 'failed'; reason: ExtractionReason; message: string }

/** Writes a line to standard output or another file, all of it before it returns. */
function writeLine(line: string, file = 1): void {
  const bytes = Buffer.from(`${line}\n`)
  for (let written = 0; written < bytes.length; ) {
    try {
      written += writeSync(file, bytes, written)
    } catch (error) {
      // The parent is slower than we are; it is a pipe, so there is nothing to wait on but time.
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5)
    }
  }
}

/**
 * All that a process of `child-process.ts` does: it says that it is ready, works on the bytes of standard input by the task on its
 * command line, writes what comes as one JSON line each, or `failed` and why, and exits; why it cannot load its reader, the last line of standard error says. Whatever happens to it happens to one source.
 */
export async function serveParent<Task, Message>(
  work: (bytes: Uint8Array, task: Task) => AsyncIterable<Message>,
): Promise<never> {
  new Worker(new URL('./watchdog.ts', import.meta.url)).unref()
  const task = JSON.parse(process.argv[2] ?? '{}') as Task
  writeLine(READY)
  try {
    // Left open: the watchdog, which is starting, would be given its number, and Node aborts when that is closed.
    const bytes = new Uint8Array(readFileSync(0))
    for await (const message of work(bytes, task)) writeLine(JSON.stringify(message))
  } catch (error) {
    if (error instanceof ReaderUnavailable) {
      const { message, cause } = error
      writeLine((cause instanceof Error ? `${message} ${cause.message}` : message).replace(/\s+/g, ' '), 2)
      process.exit(READER_UNAVAILABLE)
    }
    const { reason, message } = verdictOf(error)
    writeLine(JSON.stringify({ type: 'failed', reason, message } satisfies FailedMessage))
  }
  // A parser may have left timers or promises behind; the document is read, nothing else matters.
  process.exit(0)
}
