import type { FileHandle } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { ExtractMessage } from './extract-child.ts'
import type { ExtractEvent } from '../../supabase/functions/_shared/ingestion/extract/extract.ts'
import { ExtractionFailure, limitExceeded } from '../../supabase/functions/_shared/ingestion/extract/failure.ts'
import type { ExtractLimits } from '../../supabase/functions/_shared/ingestion/extract/limits.ts'
import { linesOfChild } from './child-process.ts'
import { sanitizeText } from '../../supabase/functions/_shared/ingestion/extract/sanitize.ts'

const CHILD = fileURLToPath(new URL('./extract-child.ts', import.meta.url))
/** Longest line the child may write: one page as JSON, where a character takes up to six. */
const ESCAPED = 6

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
  let ended = false
  let characters = 0
  const child = {
    file,
    program: CHILD,
    task: { fileType, limits },
    limits,
    maxLineBytes: limits.maxCharacters * ESCAPED,
    tooLong: () => tooMuchText(limits),
    hasEnded: () => ended,
  }
  for await (const line of linesOfChild(child, signal)) {
    const message = JSON.parse(line) as ExtractMessage
    if (message.type === 'failed') throw new ExtractionFailure(message.reason, message.message)
    if (message.type === 'end') {
      ended = true
      yield message
      continue
    }
    // The parser is not trusted, so neither is what its process says.
    const text = sanitizeText(message.text)
    characters += text.length
    if (characters > limits.maxCharacters || message.page_number > limits.maxPages) throw tooMuchText(limits)
    yield { type: 'page', page_number: message.page_number, text }
  }
}

const tooMuchText = (limits: ExtractLimits) =>
  limitExceeded(`This document holds more than ${limits.maxCharacters.toLocaleString('en')} characters of text.`)
