import { writeSync } from 'node:fs'

/** Writes a message as one JSON line to standard output, all of it before it returns. */
export function writeLine(message: unknown): void {
  const bytes = Buffer.from(`${JSON.stringify(message)}\n`)
  for (let written = 0; written < bytes.length; ) {
    try {
      written += writeSync(1, bytes, written)
    } catch (error) {
      // The parent is slower than we are; it is a pipe, so there is nothing to wait on but time.
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5)
    }
  }
}
