import { detectType, type DocumentType } from './detect-type.ts'
import type { Extraction } from './extraction.ts'
import { empty, limitExceeded, ReaderUnavailable, tooMuchText } from './failure.ts'
import type { ExtractLimits } from './limits.ts'

/** A page as it is read, and at the end the number of pages and facts about the document. */
export type ExtractEvent =
  | { type: 'page'; page_number: number; text: string }
  | { type: 'end'; page_count: number; metadata: Record<string, unknown> }

type Reader = (bytes: Uint8Array, limits: ExtractLimits) => Extraction

// Loaded on first use: a process reads one document, and the libraries take longer to load than most documents to read.
const READERS: Record<Exclude<DocumentType, 'pdf'>, () => Promise<Reader>> = {
  docx: async () => (await import('./docx.ts')).extractDocx,
  xlsx: async () => (await import('./xlsx.ts')).extractXlsx,
  pptx: async () => (await import('./pptx.ts')).extractPptx,
  html: async () => (await import('./html.ts')).extractHtml,
  markdown: async () => (await import('./markdown.ts')).extractMarkdown,
  csv: async () => (await import('./csv.ts')).extractCsv,
  text: async () => (await import('./text.ts')).extractText,
}

async function loaded<Module>(module: Promise<Module>, type: DocumentType): Promise<Module> {
  try {
    return await module
  } catch (cause) {
    throw new ReaderUnavailable(`What reads documents of the type ${type} cannot be loaded.`, { cause })
  }
}

async function* readPages(bytes: Uint8Array, type: DocumentType, limits: ExtractLimits) {
  if (type === 'pdf') {
    const { extractPdf } = await loaded(import('./pdf.ts'), type)
    yield* extractPdf(bytes, limits)
    return
  }
  const read = await loaded(READERS[type](), type)
  const { pages, metadata } = read(bytes, limits)
  if (pages.length > limits.maxPages)
    throw limitExceeded(`This document would have more than ${limits.maxPages} pages.`)
  for (const text of pages) yield { type: 'page' as const, text }
  yield { type: 'end' as const, metadata }
}

/**
 * Turns the bytes of a document into the text of its pages.
 * @param fileType Extension with the dot; decides only where the content does not.
 * @throws ExtractionFailure with the verdict on a document that yields no text; ReaderUnavailable.
 */
export async function* extract(
  bytes: Uint8Array,
  fileType: string,
  limits: ExtractLimits,
): AsyncGenerator<ExtractEvent> {
  if (bytes.length === 0) throw empty()
  const type = detectType(bytes, fileType)
  let pageNumber = 0
  let characters = 0
  let hasText = false
  for await (const event of readPages(bytes, type, limits)) {
    if (event.type === 'end') {
      if (!hasText) throw empty()
      yield {
        type: 'end',
        page_count: pageNumber,
        metadata: { document_type: type, character_count: characters, ...event.metadata },
      }
      return
    }
    characters += event.text.length
    if (characters > limits.maxCharacters) {
      throw tooMuchText(limits.maxCharacters)
    }
    hasText ||= event.text !== ''
    yield { type: 'page', page_number: ++pageNumber, text: event.text }
  }
}
