import { getDocumentProxy } from 'unpdf'
import { corrupt, encrypted, ExtractionFailure, limitExceeded } from './failure.ts'
import type { ExtractLimits } from './limits.ts'
import { bodySize, pageText, readLines, type Line, type TextItem } from './pdf-lines.ts'
import { sanitizeText, sanitizeTitle } from './sanitize.ts'

/** What a PDF yields: its pages one after the other, then facts about it. */
export type PdfEvent = { type: 'page'; text: string } | { type: 'end'; metadata: Record<string, unknown> }

type PdfDocument = Awaited<ReturnType<typeof getDocumentProxy>>

/** Pages read first to learn the size of the running text. */
const SAMPLE_PAGES = 10

async function open(bytes: Uint8Array, characterMaps: string | undefined): Promise<PdfDocument> {
  try {
    return await getDocumentProxy(bytes, {
      verbosity: 0,
      ...(characterMaps === undefined ? {} : { cMapUrl: characterMaps, cMapPacked: true }),
    })
  } catch (error) {
    if (error instanceof Error && error.name === 'PasswordException') throw encrypted('PDF')
    throw corrupt('PDF', error)
  }
}

/** Values of form fields and the words of notes: a reader sees them, but the page's own drawing does not contain them. */
async function annotationTexts(page: Awaited<ReturnType<PdfDocument['getPage']>>): Promise<string[]> {
  const annotations: Record<string, unknown>[] = await page.getAnnotations()
  return annotations.flatMap(({ subtype, fieldType, fieldValue, contentsObj, hidden }) => {
    if (hidden) return []
    if (subtype === 'Widget' && (fieldType === 'Tx' || fieldType === 'Ch')) {
      return [fieldValue].flat().filter((value): value is string => typeof value === 'string' && value.trim() !== '')
    }
    const text = (contentsObj as { str?: unknown } | undefined)?.str
    return !/^(Link|Popup|Widget)$/.test(String(subtype)) && typeof text === 'string' && text.trim() ? [text] : []
  })
}

async function readPage(pdf: PdfDocument, pageNumber: number): Promise<{ lines: Line[]; notes: string[] }> {
  const page = await pdf.getPage(pageNumber)
  try {
    const { items } = await page.getTextContent()
    const lines = readLines(items.filter((item) => 'str' in item) as TextItem[])
    return { lines, notes: await annotationTexts(page) }
  } finally {
    page.cleanup()
  }
}

/**
 * Reads a PDF page by page. A page that cannot be read is empty and listed in `unreadable_pages`.
 * @throws ExtractionFailure `encrypted_document`, `corrupt_document`, `no_text_layer` (after the last page), `limit_exceeded`.
 */
export async function* extractPdf(bytes: Uint8Array, limits: ExtractLimits): AsyncGenerator<PdfEvent> {
  const pdf = await open(bytes, limits.characterMaps)
  if (pdf.numPages > limits.maxPages) {
    throw limitExceeded(`This PDF has ${pdf.numPages} pages; at most ${limits.maxPages} are read.`)
  }
  const unreadable: number[] = []
  const read = async (pageNumber: number) => {
    try {
      return await readPage(pdf, pageNumber)
    } catch {
      unreadable.push(pageNumber)
      return { lines: [], notes: [] }
    }
  }

  const sample: Awaited<ReturnType<typeof read>>[] = []
  for (let number = 1; number <= Math.min(SAMPLE_PAGES, pdf.numPages); number++) sample.push(await read(number))
  const body = bodySize(sample.map(({ lines }) => lines))

  let pagesWithText = 0
  for (let number = 1; number <= pdf.numPages; number++) {
    const { lines, notes } = sample[number - 1] ?? (await read(number))
    const text = sanitizeText([pageText(lines, body), ...notes].filter(Boolean).join('\n\n'))
    if (text) pagesWithText++
    yield { type: 'page', text }
  }

  if (pagesWithText === 0 && (unreadable.length > 0 || pdf.numPages === 0)) throw corrupt('PDF')
  if (pagesWithText === 0) {
    throw new ExtractionFailure(
      'no_text_layer',
      'This PDF holds no text: its pages are empty or scanned images. Run it through text recognition (OCR) and upload the result.',
    )
  }
  yield { type: 'end', metadata: { ...(await titleOf(pdf)), ...gaps(pdf.numPages - pagesWithText, unreadable) } }
}

async function titleOf(pdf: PdfDocument): Promise<{ title?: string }> {
  const info = await pdf.getMetadata().then(
    ({ info }) => info as Record<string, unknown>,
    () => null,
  )
  const title = typeof info?.Title === 'string' ? sanitizeTitle(info.Title) : ''
  return title ? { title } : {}
}

const gaps = (withoutText: number, unreadable: number[]): Record<string, unknown> => ({
  ...(withoutText > 0 ? { pages_without_text: withoutText } : {}),
  ...(unreadable.length > 0 ? { unreadable_pages: unreadable.slice(0, 100) } : {}),
})
