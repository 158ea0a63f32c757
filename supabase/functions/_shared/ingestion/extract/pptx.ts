import type { Extraction } from './extraction.ts'
import { corrupt, limitExceeded, tooMuchText } from './failure.ts'
import type { ExtractLimits } from './limits.ts'
import { OfficePackage, relationshipId, type Relationship } from './office-package.ts'
import { readChart, readDiagram } from './pptx-graphics.ts'
import { readSlide } from './pptx-slide.ts'
import { sanitizeText } from './sanitize.ts'
import { readXml, XmlError } from './xml.ts'

const WHAT = 'presentation (PPTX)'
const MAIN = 'ppt/presentation.xml'
const NOTES = 'Speaker notes:'

/** What is read of the things a slide points at, by their kind. */
const GRAPHICS: ReadonlyMap<string | undefined, (xml: string) => string> = new Map([
  ['chart', readChart],
  ['diagramData', readDiagram],
])

/** The ids of the slides, in the order in which they are shown. */
function readOrder(xml: string): string[] {
  const ids: string[] = []
  for (const event of readXml(xml)) {
    if (event.type === 'open' && event.name === 'p:sldId') ids.push(relationshipId(event.attributes) ?? '')
  }
  return ids
}

/** The text of one slide; null when it is hidden, empty when there is nothing on it. */
function slideText(book: OfficePackage, path: string, related: Map<string, Relationship>, number: number) {
  const xml = book.take(path)
  if (xml === undefined) throw corrupt(WHAT)
  const { title, blocks, isHidden } = readSlide(xml, (id) => {
    const target = related.get(id)
    const readGraphic = GRAPHICS.get(target?.kind)
    return target && readGraphic ? readGraphic(book.take(target.path) ?? '') : ''
  })
  if (isHidden) return null
  const notes = [...related.values()].find(({ kind }) => kind === 'notesSlide')
  const said = notes ? readSlide(book.take(notes.path) ?? '', () => '').body : []
  const text = [...blocks, ...(said.length > 0 ? [NOTES, ...said] : [])].join('\n\n')
  if (title === '' && text === '') return ''
  return sanitizeText(`# ${title || `Slide ${number}`}\n\n${text}`)
}

function read(bytes: Uint8Array, limits: ExtractLimits): Extraction {
  const book = new OfficePackage(bytes, limits, WHAT)
  book.load(new Set([MAIN]))
  const main = book.take(MAIN)
  if (!main) throw corrupt(WHAT)
  const order = readOrder(main)
  if (order.length > limits.maxPages) {
    throw limitExceeded(`This document has ${order.length} slides; at most ${limits.maxPages} are read.`)
  }
  const parts = book.related(MAIN)
  const slides = order.map((id) => {
    const path = parts.get(id)?.path
    if (path === undefined) throw corrupt(WHAT)
    return { path, related: book.related(path) }
  })
  const wanted = (kind: string) => kind === 'notesSlide' || GRAPHICS.has(kind)
  const beside = slides.flatMap(({ related }) => [...related.values()].filter(({ kind }) => wanted(kind)))
  book.load(new Set([...slides, ...beside].map(({ path }) => path)))

  let characters = 0
  let hidden = 0
  const pages = slides.map(({ path, related }, index) => {
    const text = slideText(book, path, related, index + 1)
    if (text === null) hidden++
    characters += text?.length ?? 0
    if (characters > limits.maxCharacters) throw tooMuchText(limits.maxCharacters)
    // An empty page, so that the number of a page is that of its slide.
    return text ?? ''
  })
  const title = book.title()
  return { pages, metadata: { ...(title ? { title } : {}), ...(hidden > 0 ? { hidden_slide_count: hidden } : {}) } }
}

/**
 * A presentation as Markdown, each slide on a page: its title, texts, lists, tables, the values of its charts, then the notes
 * of the speaker. Hidden slides are empty pages; headers and footers, comments and animations are left out.
 * @throws ExtractionFailure `corrupt_document`, `limit_exceeded`.
 */
export function extractPptx(bytes: Uint8Array, limits: ExtractLimits): Extraction {
  try {
    return read(bytes, limits)
  } catch (error) {
    if (error instanceof XmlError) throw corrupt(WHAT, error)
    throw error
  }
}
