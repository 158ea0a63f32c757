import { existsSync, readFileSync } from 'node:fs'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { DEFAULT_LIMITS, type ExtractLimits } from '../../supabase/functions/_shared/ingestion/extract/limits.ts'
import { extract, type ExtractEvent } from '../../supabase/functions/_shared/ingestion/extract/extract.ts'
import { ExtractionFailure } from '../../supabase/functions/_shared/ingestion/extract/failure.ts'

/** What `expected.json` says about a document. */
export type ExpectedDocument = {
  file: string
  expect: 'text' | 'no_text' | 'password' | 'corrupt' | 'unsupported'
  must_include?: string[]
  must_include_markdown?: string[]
  must_not_include?: string[]
  poppler?: { pages: number | null }
}

/** A folder of documents with their expected outcomes. */
export type DocumentSet = {
  documents: ExpectedDocument[]
  read(file: string): Uint8Array
  /** Text of a PDF as pdftotext sees it, where there is any. */
  expectedText(file: string): string | null
}

export function openDocuments(folder: string): DocumentSet | null {
  if (!existsSync(`${folder}/expected.json`)) return null
  return {
    documents: JSON.parse(readFileSync(`${folder}/expected.json`, 'utf8')) as ExpectedDocument[],
    read: (file) => new Uint8Array(readFileSync(`${folder}/${file}`)),
    expectedText: (file) => {
      const path = `${folder}/expected_text/${file.replace('/', '__')}.txt`
      return existsSync(path) ? readFileSync(path, 'utf8') : null
    },
  }
}

/** The documents that ship with the repository. */
export const FIXTURES = fileURLToPath(new URL('../fixtures/documents', import.meta.url))

export type Outcome = { outcome: string; pages: string[]; metadata: Record<string, unknown> }

/** Gathers the pages of an extraction, or the reason why there are none. */
export async function gather(events: AsyncIterable<ExtractEvent>): Promise<Outcome> {
  const pages: string[] = []
  try {
    for await (const event of events) {
      if (event.type === 'end') return { outcome: 'text', pages, metadata: event.metadata }
      pages.push(event.text)
    }
    return { outcome: 'nothing', pages, metadata: {} }
  } catch (error) {
    if (error instanceof ExtractionFailure)
      return { outcome: error.reason, pages, metadata: { message: error.message } }
    throw error
  }
}

export const extractFile = (bytes: Uint8Array, name: string, limits: Partial<ExtractLimits> = {}): Promise<Outcome> =>
  gather(extract(bytes, extname(name), { ...DEFAULT_LIMITS, ...limits }))

/** Characters that count: compatibility forms folded, white space and marks of our Markdown dropped. */
export const fold = (text: string): string => text.normalize('NFKC').replace(/[\s#\u200b-\u200f\u202a-\u202e]/g, '')

/** Dice coefficient of the three-character sequences of two texts, 0 to 1. */
export function similarity(a: string, b: string): number {
  const grams = (text: string) => {
    const counts = new Map<string, number>()
    const padded = `^${fold(text)}$`
    for (let index = 0; index + 3 <= padded.length; index++) {
      const gram = padded.slice(index, index + 3)
      counts.set(gram, (counts.get(gram) ?? 0) + 1)
    }
    return counts
  }
  const left = grams(a)
  const right = grams(b)
  const sum = (counts: Map<string, number>) => [...counts.values()].reduce((total, count) => total + count, 0)
  let shared = 0
  for (const [gram, count] of left) shared += Math.min(count, right.get(gram) ?? 0)
  return (2 * shared) / (sum(left) + sum(right))
}

const words = (text: string): string[] => text.normalize('NFKC').match(/[\p{L}\p{N}\p{M}]{2,}/gu) ?? []

/** Share of the words of `expected` that `actual` contains, 0 to 1. */
export function wordRecall(expected: string, actual: string): number {
  const wanted = words(expected)
  const text = fold(actual)
  return wanted.length === 0 ? 1 : wanted.filter((word) => text.includes(fold(word))).length / wanted.length
}
