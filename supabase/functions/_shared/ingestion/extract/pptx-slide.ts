import { EQUATION_CLOSE, EQUATION_OPEN } from './equations.ts'
import { markdownTable } from './markdown-table.ts'
import { relationshipId } from './office-package.ts'
import { readXml, type XmlEvent } from './xml.ts'

/** What a slide, or a page of notes, says. */
export type Slide = {
  /** In one line; empty when it has none. */
  title: string
  /** Everything else, as Markdown, in the order in which screen readers take it. */
  blocks: string[]
  /** Those of them that are running text of the page: on a page of notes, the notes. */
  body: string[]
  isHidden: boolean
}

type Paragraph = { text: string; level: number; hasBullet: boolean | null }
type Cell = { text: string[]; isMerged: 'left' | 'above' | null }
type Frame = { name: string; placeholder: string | null; isHidden: boolean; paragraphs: Paragraph[] }

const FRAMES = new Set(['p:sp', 'p:pic', 'p:graphicFrame', 'p:grpSp', 'p:cxnSp'])
// Placeholders that repeat on every slide, and on a page of notes the picture of its slide.
const RUNNING = new Set(['dt', 'ftr', 'hdr', 'sldNum', 'sldImg'])
const TITLES = new Set(['title', 'ctrTitle'])
/** A merged text up to this length is a label of the cells it spans. */
const MAX_LABEL_LENGTH = 100
const MAX_LEVEL = 8

/**
 * The paragraphs of one shape as Markdown. Bullets that a slide takes from its layout are not written on the slide: where
 * several paragraphs stand in the place for content, they are a list.
 */
function blocksOf(paragraphs: Paragraph[], isContent: boolean): string[] {
  const filled = paragraphs.filter(({ text }) => text !== '')
  const blocks: string[] = []
  let inList = false
  for (const { text, level, hasBullet } of filled) {
    const isItem = hasBullet ?? (level > 0 || (isContent && filled.length > 1))
    const shown = isItem ? `${'  '.repeat(Math.min(level, MAX_LEVEL))}- ${text.replace(/\s+/g, ' ')}` : text
    if (isItem && inList) blocks.push(`${blocks.pop()}\n${shown}`)
    else blocks.push(shown)
    inList = isItem
  }
  return blocks
}

/** Rows of a table; a short text that spans cells stands in each of them. */
function tableOf(rows: Cell[][]): string {
  const texts: string[][] = []
  for (const [index, row] of rows.entries()) {
    const line: string[] = []
    for (const [column, cell] of row.entries()) {
      const spanned = { left: line[column - 1], above: texts[index - 1]?.[column] }[cell.isMerged ?? 'left'] ?? ''
      const isLabel = cell.isMerged !== null && spanned.length <= MAX_LABEL_LENGTH
      line.push(isLabel ? spanned : cell.text.join(' '))
    }
    texts.push(line)
  }
  return markdownTable(texts)
}

class SlideReader {
  readonly slide: Slide = { title: '', blocks: [], body: [], isHidden: false }
  private readonly embedded: (id: string) => string
  private readonly frames: Frame[] = []
  private paragraph: Paragraph | null = null
  private inProperties = false
  private inText = false
  private rows: Cell[][] | null = null
  // The other form of a drawing is read.
  private inFallback = 0

  constructor(embedded: (id: string) => string) {
    this.embedded = embedded
  }

  read(event: XmlEvent): void {
    if (event.type === 'open' && event.name === 'mc:Fallback') this.inFallback++
    if (this.inFallback === 0) {
      if (event.type === 'open') this.open(event.name, event.attributes)
      else if (event.type === 'close') this.close(event.name)
      else if (this.inText && this.paragraph) this.paragraph.text += event.text
    }
    if (event.type === 'close' && event.name === 'mc:Fallback') this.inFallback--
  }

  private get frame(): Frame | undefined {
    return this.frames.at(-1)
  }

  private emit(...blocks: string[]): void {
    const { placeholder, isHidden } = this.frame ?? { placeholder: null, isHidden: false }
    if (isHidden || RUNNING.has(placeholder ?? '')) return
    const filled = blocks.filter((block) => block !== '')
    this.slide.blocks.push(...filled)
    if (placeholder === 'body') this.slide.body.push(...filled)
  }

  private open(name: string, attributes: Record<string, string>): void {
    if (FRAMES.has(name)) {
      // What is in a hidden group is hidden with it.
      this.frames.push({ name, placeholder: null, isHidden: this.frame?.isHidden ?? false, paragraphs: [] })
      return
    }
    switch (name) {
      case 'p:sld':
        this.slide.isHidden = attributes['show'] === '0' || attributes['show'] === 'false'
        break
      case 'p:cNvPr':
        if (this.frame && (attributes['hidden'] === '1' || attributes['hidden'] === 'true')) this.frame.isHidden = true
        break
      case 'p:ph':
        if (this.frame) this.frame.placeholder = attributes['type'] ?? 'obj'
        break
      case 'a:p':
        this.paragraph = { text: '', level: 0, hasBullet: null }
        break
      case 'a:pPr':
        this.inProperties = true
        if (this.paragraph) this.paragraph.level = Math.max(0, Number(attributes['lvl']) || 0)
        break
      case 'a:buNone':
      case 'a:buChar':
      case 'a:buAutoNum':
      case 'a:buBlip':
        if (this.paragraph && this.inProperties) this.paragraph.hasBullet = name !== 'a:buNone'
        break
      case 'a:t':
      case 'm:t':
        this.inText = true
        break
      case 'a:br':
        if (this.paragraph) this.paragraph.text += '\n'
        break
      case 'a:tbl':
        this.rows = []
        break
      case 'a:tr':
        this.rows?.push([])
        break
      case 'a:tc': {
        const isSpanned = (value: string | undefined) => value === '1' || value === 'true'
        const isMerged = isSpanned(attributes['hMerge']) ? 'left' : isSpanned(attributes['vMerge']) ? 'above' : null
        this.rows?.at(-1)?.push({ text: [], isMerged })
        break
      }
      case 'c:chart':
        this.emit(this.embedded(relationshipId(attributes) ?? ''))
        break
      case 'dgm:relIds':
        this.emit(this.embedded(attributes['r:dm'] ?? ''))
        break
      default:
        if (this.paragraph) this.paragraph.text += EQUATION_OPEN.get(name) ?? ''
    }
    const description = name === 'p:cNvPr' ? (attributes['descr'] ?? '').replace(/\s+/g, ' ').trim() : ''
    if (description !== '') this.emit(`${this.frame?.name === 'p:pic' ? 'Picture' : 'Description'}: ${description}`)
  }

  private close(name: string): void {
    if (FRAMES.has(name)) {
      this.endFrame()
      return
    }
    switch (name) {
      case 'a:p':
        this.endParagraph()
        break
      case 'a:pPr':
        this.inProperties = false
        break
      case 'a:t':
      case 'm:t':
        this.inText = false
        break
      case 'a:tbl':
        this.emit(tableOf(this.rows ?? []))
        this.rows = null
        break
      default:
        if (this.paragraph) this.paragraph.text += EQUATION_CLOSE.get(name) ?? ''
    }
  }

  private endParagraph(): void {
    const { paragraph } = this
    this.paragraph = null
    if (!paragraph) return
    paragraph.text = paragraph.text.trim()
    const cell = this.rows?.at(-1)?.at(-1)
    if (cell) {
      if (paragraph.text) cell.text.push(paragraph.text)
    } else this.frame?.paragraphs.push(paragraph)
  }

  private endFrame(): void {
    const { placeholder, isHidden, paragraphs } = this.frame as Frame
    if (TITLES.has(placeholder ?? '') && this.slide.title === '' && !isHidden) {
      this.slide.title = paragraphs
        .map(({ text }) => text)
        .join(' ')
        .replace(/\s+/g, ' ')
        .trim()
    } else {
      this.emit(...blocksOf(paragraphs, placeholder === 'obj'))
    }
    this.frames.pop()
  }
}

/**
 * Reads the part of a slide, or of a page of notes.
 * @param embedded the text of what a part of this kind points at by a relationship's id, a chart or a diagram.
 * @throws XmlError
 */
export function readSlide(xml: string, embedded: (id: string) => string): Slide {
  const reader = new SlideReader(embedded)
  for (const event of readXml(xml)) reader.read(event)
  return reader.slide
}
