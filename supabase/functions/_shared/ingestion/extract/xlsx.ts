import type { Extraction } from './extraction.ts'
import { corrupt, limitExceeded, tooMuchText } from './failure.ts'
import type { ExtractLimits } from './limits.ts'
import { builtInFormat, formatOf, type NumberFormat } from './number-formats.ts'
import { localName, OfficePackage, relationshipId } from './office-package.ts'
import { sanitizeText, sanitizeTitle } from './sanitize.ts'
import { readXml, XmlError } from './xml.ts'
import { cellText, readSheet } from './xlsx-sheet.ts'
import { sheetPages } from './xlsx-table.ts'

const WHAT = 'spreadsheet (XLSX)'
const MAIN = 'xl/workbook.xml'
/** Most sheets that are read. */
const MAX_SHEETS = 500

type SheetEntry = { name: string; id: string; isHidden: boolean }

const isOn = (value: string | undefined): boolean => value === '1' || value === 'true'

function readWorkbook(xml: string): { sheets: SheetEntry[]; is1904: boolean } {
  const sheets: SheetEntry[] = []
  let is1904 = false
  for (const event of readXml(xml)) {
    if (event.type !== 'open') continue
    const { attributes } = event
    const name = localName(event.name)
    if (name === 'workbookPr') is1904 ||= isOn(attributes['date1904'])
    if (name !== 'sheet') continue
    const isHidden = attributes['state'] !== undefined && attributes['state'] !== 'visible'
    const id = relationshipId(attributes) ?? ''
    sheets.push({ name: sanitizeTitle(cellText(attributes['name'] ?? '')), id, isHidden })
  }
  return { sheets, is1904 }
}

/** The texts that cells refer to by their number, without the readings of Chinese characters beside them. */
function readSharedStrings(xml: string): string[] {
  const strings: string[] = []
  let text = ''
  let inText = false
  let inReading = false
  for (const event of readXml(xml)) {
    if (event.type === 'text') {
      if (inText && !inReading) text += event.text
      continue
    }
    const isOpen = event.type === 'open'
    const name = localName(event.name)
    if (name === 't') inText = isOpen
    else if (name === 'rPh') inReading = isOpen
    else if (name === 'si') {
      if (!isOpen) strings.push(cellText(text))
      text = ''
    }
  }
  return strings
}

/** What the numbers in cells of each style stand for. */
function readFormats(xml: string): NumberFormat[] {
  const own = new Map<string, NumberFormat>()
  const formats: NumberFormat[] = []
  let inCellStyles = false
  for (const event of readXml(xml)) {
    if (event.type === 'text') continue
    const name = localName(event.name)
    if (name === 'cellXfs') inCellStyles = event.type === 'open'
    if (event.type !== 'open') continue
    const { numFmtId: id = '0', formatCode: code } = event.attributes
    if (name === 'numFmt' && code !== undefined) own.set(id, formatOf(code))
    else if (name === 'xf' && inCellStyles) formats.push(own.get(id) ?? builtInFormat(Number(id)))
  }
  return formats
}

function read(bytes: Uint8Array, limits: ExtractLimits): Extraction {
  const book = new OfficePackage(bytes, limits, WHAT)
  book.load(new Set([MAIN]))
  const main = book.take(MAIN)
  if (!main) throw corrupt(WHAT)
  const { sheets, is1904 } = readWorkbook(main)
  const related = book.related(MAIN)
  const pathOf = (kind: string) => [...related.values()].find((each) => each.kind === kind)?.path ?? ''
  // Sheets of other kinds hold a chart or a dialog and no cells.
  const shown = sheets.flatMap(({ name, id, isHidden }) => {
    const { kind, path } = related.get(id) ?? {}
    return !isHidden && kind === 'worksheet' && path ? [{ name, path }] : []
  })
  if (shown.length > MAX_SHEETS) throw limitExceeded(`This document has more than ${MAX_SHEETS} sheets.`)
  const [strings, styles] = [pathOf('sharedStrings'), pathOf('styles')]
  book.load(new Set([strings, styles, ...shown.map((sheet) => sheet.path)]))

  let cells = 0
  let characters = 0
  const workbook = {
    sharedStrings: readSharedStrings(book.take(strings) ?? ''),
    formats: readFormats(book.take(styles) ?? ''),
    is1904,
    countCell: () => {
      if (++cells > limits.maxCells) {
        throw limitExceeded(`This document has more than ${limits.maxCells.toLocaleString('en')} cells with a value.`)
      }
    },
  }
  const count = (length: number) => {
    characters += length
    if (characters > limits.maxCharacters) throw tooMuchText(limits.maxCharacters)
  }
  const pages = shown.flatMap(({ name, path }) => {
    const xml = book.take(path)
    if (xml === undefined) throw corrupt(WHAT)
    return sheetPages(name, readSheet(xml, workbook), count).map(sanitizeText)
  })
  const title = book.title()
  const hidden = sheets.filter((sheet) => sheet.isHidden).length
  return {
    pages,
    metadata: {
      ...(title ? { title } : {}),
      sheet_count: sheets.length,
      ...(hidden > 0 ? { hidden_sheet_count: hidden } : {}),
    },
  }
}

/**
 * A spreadsheet as Markdown, each sheet on pages of its own: what its cells show, results of formulas included. Hidden sheets
 * and columns, comments, charts and drawings are left out.
 * @throws ExtractionFailure `corrupt_document`, `limit_exceeded`.
 */
export function extractXlsx(bytes: Uint8Array, limits: ExtractLimits): Extraction {
  try {
    return read(bytes, limits)
  } catch (error) {
    if (error instanceof XmlError) throw corrupt(WHAT, error)
    throw error
  }
}
