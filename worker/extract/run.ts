import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import type { FileHandle } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { ChildMessage } from './child.ts'
import type { ExtractEvent } from '../../supabase/functions/_shared/ingestion/extract/extract.ts'
import {
  corrupt,
  ExtractionFailure,
  limitExceeded,
} from '../../supabase/functions/_shared/ingestion/extract/failure.ts'
import type { ExtractLimits } from '../../supabase/functions/_shared/ingestion/extract/limits.ts'
import { residentMemory } from './memory.ts'
import { sanitizeText } from '../../supabase/functions/_shared/ingestion/extract/sanitize.ts'

const CHILD = fileURLToPath(new URL('./child.ts', import.meta.url))
const PACKAGE_ROOT = fileURLToPath(new URL('../../', import.meta.url))
/** How often time and memory are checked. A process that unpacks a bomb grows by less than 100 MiB in between. */
const POLL_MS = 50
/** Longest line the child may write: one page as JSON, where a character takes up to six. */
const ESCAPED = 6

function start(file: number, fileType: string, limits: ExtractLimits): ChildProcess {
  const readable = ['package.json', 'worker/extract', 'supabase/functions/_shared/ingestion', 'node_modules'].map(
    (path) => `--allow-fs-read=${PACKAGE_ROOT}${path}`,
  )
  const heap = `--max-old-space-size=${Math.floor(limits.memoryMb * 0.75)}`
  return spawn(
    process.execPath,
    [
      '--permission',
      '--allow-worker',
      ...readable,
      heap,
      '--disable-warning=ExperimentalWarning',
      CHILD,
      JSON.stringify({ fileType, limits }),
    ],
    { stdio: [file, 'pipe', 'ignore'], env: {} },
  )
}

/**
 * Reads a document in a process of its own and yields its pages as they come. The process is killed when the caller stops
 * reading, when `signal` aborts, and when it exceeds its time, its memory or the amount of text.
 *
 * @param file The document, open for reading at its begin; the caller closes it.
 * @param fileType Extension with the dot.
 * @throws ExtractionFailure with the verdict; the reason of `signal` when that aborts.
 */
export async function* extractInChild(
  file: FileHandle,
  fileType: string,
  limits: ExtractLimits,
  signal?: AbortSignal,
): AsyncGenerator<ExtractEvent> {
  signal?.throwIfAborted()
  const child = start(file.fd, fileType, limits)
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
  // Time that the caller spends with a page is not the document's.
  let waitingSince = performance.now()
  let spentMs = 0
  let withCaller = false
  const handOver = () => {
    spentMs += performance.now() - waitingSince
    withCaller = true
  }
  const takeBack = () => {
    waitingSince = performance.now()
    withCaller = false
  }
  const watch = setInterval(async () => {
    if (!withCaller && spentMs + performance.now() - waitingSince > limits.timeoutMs) stop(tooSlow(limits))
    if (child.pid && (await residentMemory(child.pid)) > limits.memoryMb) stop(outOfMemory(limits))
  }, POLL_MS)

  let ended = false
  let characters = 0
  try {
    for await (const line of boundedLines(child, limits, () => stop(tooMuchText(limits)))) {
      const message = JSON.parse(line) as ChildMessage
      if (message.type === 'failed') throw new ExtractionFailure(message.reason, message.message)
      if (message.type === 'end') {
        ended = true
        handOver()
        yield message
        takeBack()
        continue
      }
      // The parser is not trusted, so neither is what its process says.
      const text = sanitizeText(message.text)
      characters += text.length
      if (characters > limits.maxCharacters || message.page_number > limits.maxPages) throw tooMuchText(limits)
      handOver()
      yield { type: 'page', page_number: message.page_number, text }
      takeBack()
    }
    const { code, killedBy } = await exited
    signal?.throwIfAborted()
    if (stopped) throw stopped
    if (!ended) throw crashed(code, killedBy, limits)
  } finally {
    clearInterval(watch)
    signal?.removeEventListener('abort', onAbort)
    child.kill('SIGKILL')
    await exited
  }
}

/** Lines of the child's output; one that exceeds all the text a document may have stops the child. */
async function* boundedLines(
  child: ChildProcess,
  limits: ExtractLimits,
  onTooLong: () => void,
): AsyncGenerator<string> {
  if (!child.stdout) return
  let sinceLine = 0
  child.stdout.on('data', (data: Buffer) => {
    sinceLine = data.includes(10) ? 0 : sinceLine + data.length
    if (sinceLine > limits.maxCharacters * ESCAPED) onTooLong()
  })
  for await (const line of createInterface({ input: child.stdout, crlfDelay: Infinity })) if (line) yield line
}

const tooMuchText = (limits: ExtractLimits) =>
  limitExceeded(`This document holds more than ${limits.maxCharacters.toLocaleString('en')} characters of text.`)

const tooSlow = (limits: ExtractLimits) =>
  limitExceeded(`This document takes longer than ${Math.round(limits.timeoutMs / 1000)} seconds to read.`)

const outOfMemory = (limits: ExtractLimits) =>
  limitExceeded(`This document needs more than ${limits.memoryMb} MB of memory to be read.`)

/** The process ended without a verdict: SIGABRT (or code 134) is V8 out of memory, SIGKILL the system's; else the parser broke. */
function crashed(code: number | null, killedBy: string | null, limits: ExtractLimits): ExtractionFailure {
  if (killedBy === 'SIGABRT' || killedBy === 'SIGKILL' || code === 134) return outOfMemory(limits)
  return corrupt('document of its type', new Error(`extraction ended with ${killedBy ?? code}`))
}
