import { headingLevel, readHeadingStyles } from './docx-styles.ts'
import { EQUATION_CLOSE, EQUATION_OPEN } from './equations.ts'
import type { Extraction } from './extraction.ts'
import { corrupt } from './failure.ts'
import type { ExtractLimits } from './limits.ts'
import { markdownTable } from './markdown-table.ts'
import { paginate } from './paginate.ts'
import { OfficePackage, type Relationship } from './office-package.ts'
import { sanitizeText } from './sanitize.ts'
import { readXml, XmlError, type XmlEvent } from './xml.ts'

const WHAT = 'Word document (DOCX)'

/** Where the document is unless the archive says otherwise: some programs number it, `word/document2.xml`. */
const MAIN = 'word/document.xml'
/** What is read beside it, by the kind of thing. */
const BESIDE = ['styles', 'comments', 'footnotes', 'endnotes'] as const

// What Word does not show as part of the document: deletions, what tracked changes say a format was before, field codes,
// the fallback of a drawing (its other form is read), separators of notes.
const UNSEEN = new Set([
  'w:del',
  'w:moveFrom',
  'w:instrText',
  'w:delText',
  'w:rPrChange',
  'w:pPrChange',
  'mc:Fallback',
  'w:separator',
  'w:sdtPr',
  'w:tblPr',
  'w:sectPr',
])

type Table = { rows: string[][]; row: string[]; cell: string[] }

/** Gathers the blocks of one part: paragraphs, headings, list items and tables, as Markdown. */
class BlockReader {
  readonly blocks: string[] = []
  private readonly headings: Map<string, number>
  // A table inside a cell is read as part of that cell.
  private table: Table | null = null
  private tableDepth = 0
  // A text box holds paragraphs inside a run of another paragraph.
  private readonly outer: { text: string; prefix: string }[] = []
  private paragraph: { text: string; prefix: string } | null = null
  private unseen = 0
  private inRunProperties = false
  private runIsHidden = false
  private inText = false

  constructor(headings: Map<string, number>) {
    this.headings = headings
  }

  read(event: XmlEvent): void {
    if (event.type === 'open' && UNSEEN.has(event.name)) this.unseen++
    if (this.unseen === 0) {
      if (event.type === 'open') this.open(event.name, event.attributes)
      else if (event.type === 'close') this.close(event.name)
      else if (this.inText && !this.runIsHidden) this.add(event.text)
    }
    if (event.type === 'close' && UNSEEN.has(event.name)) this.unseen--
  }

  private add(text: string): void {
    if (this.paragraph) this.paragraph.text += text
  }

  private open(name: string, attributes: Record<string, string>): void {
    const value = attributes['w:val']
    switch (name) {
      case 'w:p':
        if (this.paragraph) this.outer.push(this.paragraph)
        this.paragraph = { text: '', prefix: '' }
        break
      case 'w:pStyle': {
        const level = this.headings.get(value ?? '') ?? headingLevel(value ?? '')
        if (level && this.paragraph && !this.table) this.paragraph.prefix = `${'#'.repeat(level)} `
        break
      }
      case 'w:numPr':
        if (this.paragraph && !this.paragraph.prefix) this.paragraph.prefix = '- '
        break
      case 'w:r':
        this.runIsHidden = false
        break
      case 'w:rPr':
        this.inRunProperties = true
        break
      case 'w:vanish':
        if (this.inRunProperties && value !== '0' && value !== 'false') this.runIsHidden = true
        break
      case 'w:t':
      case 'm:t':
        this.inText = true
        break
      case 'w:tab':
        if (!this.inRunProperties) this.add('\t')
        break
      case 'w:br':
      case 'w:cr':
        this.add('\n')
        break
      case 'w:noBreakHyphen':
        this.add('-')
        break
      case 'w:tbl':
        if (this.tableDepth++ === 0) this.table = { rows: [], row: [], cell: [] }
        break
      default:
        this.add(EQUATION_OPEN.get(name) ?? '')
    }
  }

  private close(name: string): void {
    const table = this.tableDepth === 1 ? this.table : null
    switch (name) {
      case 'w:p':
        this.endParagraph()
        break
      case 'w:rPr':
        this.inRunProperties = false
        break
      case 'w:r':
        this.runIsHidden = false
        break
      case 'w:t':
      case 'm:t':
        this.inText = false
        break
      case 'w:tc':
        table?.row.push(table.cell.join(' '))
        if (table) table.cell = []
        break
      case 'w:tr':
        table?.rows.push(table.row)
        if (table) table.row = []
        break
      case 'w:tbl':
        this.tableDepth--
        if (!table) break
        this.table = null
        this.emit(markdownTable(table.rows))
        break
      default:
        this.add(EQUATION_CLOSE.get(name) ?? '')
    }
  }

  private endParagraph(): void {
    const { text, prefix } = this.paragraph ?? { text: '', prefix: '' }
    this.paragraph = this.outer.pop() ?? null
    const shown = prefix.startsWith('#') ? text.replace(/\s+/g, ' ').trim() : text.trim()
    if (shown) this.emit(prefix + shown)
  }

  private emit(block: string): void {
    if (!block) return
    const blocks = this.table ? this.table.cell : this.blocks
    blocks.push(block)
  }
}

function readBlocks(xml: string | undefined, headings: Map<string, number>): string[] {
  if (!xml) return []
  const reader = new BlockReader(headings)
  for (const event of readXml(xml)) reader.read(event)
  return reader.blocks
}

/** List items stay together; everything else is a paragraph of its own. */
function joinBlocks(blocks: string[]): string {
  const endsWithItem = (block: string) => block.startsWith('- ', block.lastIndexOf('\n') + 1)
  return blocks
    .flatMap((block, index) => {
      const before = blocks[index - 1]
      if (before === undefined) return [block]
      return [block.startsWith('- ') && endsWithItem(before) ? '\n' : '\n\n', block]
    })
    .join('')
}

/** Where a part points; nowhere if what says so is damaged, for the parts have names that are usual. */
function relatedOf(book: OfficePackage, part: string): Relationship[] {
  try {
    return [...book.related(part).values()]
  } catch (error) {
    if (error instanceof XmlError) return []
    throw error
  }
}

/** Loads the main part and what is beside it: that which the archive names, the usual one, or the only one with a number. */
function loadMain(book: OfficePackage): { document: string; pathOf: (part: string) => string } {
  const named = relatedOf(book, '').find(({ kind }) => kind === 'officeDocument')?.path
  const load = (main: string) => {
    const related = relatedOf(book, main)
    const pathOf = (part: string) => related.find(({ kind }) => kind === part)?.path ?? `word/${part}.xml`
    book.load(new Set([main, ...BESIDE.map(pathOf)]))
    const document = book.take(main)
    return document ? { document, pathOf } : null
  }
  const found = (named && load(named)) || (named !== MAIN && load(MAIN))
  if (found) return found
  const [only, ...others] = book.find(/^word\/document\d+\.xml$/)
  const numbered = only && others.length === 0 && load(only)
  if (!numbered) throw corrupt(WHAT)
  return numbered
}

/**
 * A Word document as Markdown: headings, paragraphs, lists and tables in reading order, equations in a linear form, then
 * its footnotes and comments. Deleted and hidden text, headers and footers are left out.
 * @throws ExtractionFailure `corrupt_document`, `limit_exceeded`.
 */
export function extractDocx(bytes: Uint8Array, limits: ExtractLimits): Extraction {
  try {
    const book = new OfficePackage(bytes, limits, WHAT)
    const { document, pathOf } = loadMain(book)
    const headings = readHeadingStyles(book.take(pathOf('styles')) ?? '')
    const blocksOf = (part: (typeof BESIDE)[number]) => readBlocks(book.take(pathOf(part)), headings)
    const notes = [...blocksOf('footnotes'), ...blocksOf('endnotes')]
    const comments = blocksOf('comments')
    const whole = [
      joinBlocks(readBlocks(document, headings)),
      ...(notes.length > 0 ? ['# Notes', notes.join('\n\n')] : []),
      ...(comments.length > 0 ? ['# Comments', comments.join('\n\n')] : []),
    ].join('\n\n')
    const title = book.title()
    return { pages: paginate(sanitizeText(whole)), metadata: title ? { title } : {} }
  } catch (error) {
    if (error instanceof XmlError) throw corrupt(WHAT, error)
    throw error
  }
}
