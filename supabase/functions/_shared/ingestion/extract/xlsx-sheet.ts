import { type NumberFormat, showNumber } from './number-formats.ts'
import { localName } from './office-package.ts'
import { readXml, XmlError } from './xml.ts'

/** What cells refer to, and how much more may be read. */
export type Workbook = {
  sharedStrings: string[]
  /** The format of each cell style, by its number. */
  formats: NumberFormat[]
  is1904: boolean
  /** Called for each cell that holds something. @throws ExtractionFailure when there are too many. */
  countCell: () => void
}

/** Cells that share one value, that of the first; all four numbers included. */
export type MergedRange = { top: number; left: number; bottom: number; right: number }

/** The texts of a sheet by row and column, counted from 1; cells without text are not in it. */
export type Sheet = {
  rows: Map<number, Map<number, string>>
  merged: MergedRange[]
  /** Whether a column is hidden, by its number. */
  hiddenColumns: Uint8Array
}

/** The format itself has no more. */
const LAST_ROW = 1_048_576
const LAST_COLUMN = 16_384
/** Ranges beyond these stay as they are: only their first cell has a text. */
const MAX_MERGED = 50_000

/** Text of a cell in one line; `_x000D_` is how a spreadsheet writes a character that XML cannot hold. */
export const cellText = (text: string): string =>
  text
    .replace(/_x([0-9a-f]{4})_/gi, (_, code: string) => String.fromCharCode(parseInt(code, 16)))
    .replace(/\s+/g, ' ')
    .trim()

/** Row and column of a reference such as `B7`. @throws XmlError */
function position(reference: string): { row: number; column: number } {
  const match = /^\$?([A-Z]{1,3})\$?(\d{1,7})$/i.exec(reference)
  if (!match) throw new XmlError('malformed cell reference')
  let column = 0
  for (const letter of (match[1] as string).toUpperCase()) column = column * 26 + letter.charCodeAt(0) - 64
  return { row: Number(match[2]), column }
}

type Cell = {
  row: number
  column: number
  type: string
  style: number
  value: string | null
  inline: string
  formula: string
}

class SheetReader {
  readonly sheet: Sheet = { rows: new Map(), merged: [], hiddenColumns: new Uint8Array(LAST_COLUMN + 1) }
  private readonly workbook: Workbook
  private row = 0
  private column = 0
  private cell: Cell | null = null
  private into: 'value' | 'inline' | 'formula' | null = null
  // Readings of Chinese characters, which stand beside the text they are for.
  private inReading = false

  constructor(workbook: Workbook) {
    this.workbook = workbook
  }

  text(text: string): void {
    if (!this.cell || !this.into || this.inReading) return
    if (this.into === 'value') this.cell.value += text
    else this.cell[this.into] += text
  }

  open(name: string, attributes: Record<string, string>): void {
    switch (name) {
      case 'row':
        this.row = attributes['r'] === undefined ? this.row + 1 : Number(attributes['r'])
        this.column = 0
        break
      case 'c':
        this.openCell(attributes)
        break
      case 'v':
        this.into = 'value'
        if (this.cell) this.cell.value ??= ''
        break
      case 'f':
        this.into = 'formula'
        break
      case 't':
        this.into = 'inline'
        break
      case 'rPh':
        this.inReading = true
        break
      case 'col':
        this.hide(attributes)
        break
      case 'mergeCell':
        this.merge(attributes['ref'] ?? '')
    }
  }

  close(name: string): void {
    if (name === 'v' || name === 'f' || name === 't') this.into = null
    else if (name === 'rPh') this.inReading = false
    else if (name === 'c' && this.cell) {
      this.store(this.cell)
      this.cell = null
    }
  }

  private openCell({ r: reference, t: type = 'n', s: style = '0' }: Record<string, string>): void {
    const { row, column } = reference === undefined ? { row: this.row, column: this.column + 1 } : position(reference)
    if (!(row >= 1 && row <= LAST_ROW && column >= 1 && column <= LAST_COLUMN)) throw new XmlError('no such cell')
    this.column = column
    this.cell = { row, column, type, style: Number(style), value: null, inline: '', formula: '' }
  }

  private store(cell: Cell): void {
    const text = this.textOf(cell)
    if (text === '') return
    this.workbook.countCell()
    const row = this.sheet.rows.get(cell.row)
    if (row) row.set(cell.column, text)
    else this.sheet.rows.set(cell.row, new Map([[cell.column, text]]))
  }

  private textOf({ type, style, value, inline, formula }: Cell): string {
    if (type === 'inlineStr') return cellText(inline)
    // What a formula comes to is kept beside it, unless a program wrote it that does not calculate.
    if (value === null) return formula ? cellText(`=${formula}`) : ''
    if (type === 's') {
      const text = value === '' ? '' : this.workbook.sharedStrings[Number(value)]
      if (text === undefined) throw new XmlError('no such shared string')
      return text
    }
    if (type === 'b') return /^\s*(?:1|true)\s*$/.test(value) ? 'TRUE' : 'FALSE'
    const number = type === 'n' && value.trim() !== '' ? Number(value) : NaN
    if (!Number.isFinite(number)) return cellText(value)
    return showNumber(number, this.workbook.formats[style] ?? 'number', this.workbook.is1904)
  }

  /** A folded group of columns is hidden only for the time being. */
  private hide({ min, max, hidden, outlineLevel = '0' }: Record<string, string>): void {
    if ((hidden !== '1' && hidden !== 'true') || Number(outlineLevel) > 0) return
    this.sheet.hiddenColumns.fill(1, Number(min), Number(max) + 1)
  }

  private merge(reference: string): void {
    if (this.sheet.merged.length >= MAX_MERGED) return
    const [from = '', to = from] = reference.split(':')
    const first = position(from)
    const last = position(to)
    this.sheet.merged.push({ top: first.row, left: first.column, bottom: last.row, right: last.column })
  }
}

/**
 * The cells of a worksheet. The size that the sheet claims to have is not looked at: only cells that are there take memory.
 * @throws XmlError for a damaged sheet; what `countCell` throws.
 */
export function readSheet(xml: string, workbook: Workbook): Sheet {
  const reader = new SheetReader(workbook)
  for (const event of readXml(xml)) {
    if (event.type === 'text') reader.text(event.text)
    else if (event.type === 'open') reader.open(localName(event.name), event.attributes)
    else reader.close(localName(event.name))
  }
  return reader.sheet
}
