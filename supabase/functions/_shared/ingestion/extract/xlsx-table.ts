import { limitExceeded } from './failure.ts'
import { tableLine, tablePages, tableRule } from './markdown-table.ts'
import type { MergedRange, Sheet } from './xlsx-sheet.ts'

/** Most columns of a sheet that hold something. */
const MAX_COLUMNS = 1_000
/** A merged text up to this length is a label of the cells it spans; a longer one is a text that was given room. */
const MAX_LABEL_LENGTH = 100
/** Rows of one text above a table that are taken for its title and what else is said of it. */
const MAX_CAPTIONS = 5

type Label = MergedRange & { text: string }

/** The first index whose number is at least `wanted`. */
function lowerBound(numbers: number[], wanted: number): number {
  let low = 0
  let high = numbers.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((numbers[middle] as number) < wanted) low = middle + 1
    else high = middle
  }
  return low
}

/** The merged ranges that label rows or columns, from top to bottom. */
const labelsOf = ({ rows, merged }: Sheet): Label[] =>
  merged
    .flatMap((range) => {
      const text = rows.get(range.top)?.get(range.left)
      return text === undefined || text.length > MAX_LABEL_LENGTH ? [] : [{ ...range, text }]
    })
    .sort((one, other) => one.top - other.top)

/**
 * The texts of each row that holds something, one per column. A label that spans several cells stands in each of them, in rows
 * that hold something else as well, so that a row can be understood alone.
 */
function* filledRows(sheet: Sheet, columns: number[]): Generator<{ texts: string[]; own: number }> {
  const labels = labelsOf(sheet)
  let next = 0
  let open: Label[] = []
  for (const number of [...sheet.rows.keys()].sort((one, other) => one - other)) {
    const row = sheet.rows.get(number) as Map<number, string>
    while (next < labels.length && (labels[next] as Label).top <= number) open.push(labels[next++] as Label)
    // Ranges do not overlap, so no more are open than there are columns; where they do, the rest is not worth its time.
    open = open.filter(({ bottom }) => bottom >= number).slice(0, MAX_COLUMNS)
    const texts = columns.map((column) => row.get(column) ?? '')
    const own = texts.filter((text) => text !== '').length
    if (own === 0) continue
    let missing = texts.length - own
    for (const { top, left, right, text } of open) {
      if (missing === 0) break
      if (top === number && own === 1) continue
      for (let index = lowerBound(columns, left); index < columns.length; index++) {
        if ((columns[index] as number) > right) break
        if (texts[index] !== '') continue
        texts[index] = text
        missing--
      }
    }
    yield { texts, own }
  }
}

/**
 * A sheet as Markdown: its name as a heading, and its cells as a table under the first row. Rows and columns without any text
 * and hidden columns are left out. A long sheet becomes several pages, each with the name and the header.
 * @param count called with the length of each row. @throws what it throws; ExtractionFailure `limit_exceeded`.
 */
export function sheetPages(name: string, sheet: Sheet, count: (characters: number) => void): string[] {
  const used = new Set<number>()
  for (const row of sheet.rows.values()) for (const column of row.keys()) used.add(column)
  const columns = [...used].filter((column) => !sheet.hiddenColumns[column]).sort((one, other) => one - other)
  if (columns.length > MAX_COLUMNS) {
    throw limitExceeded(`A sheet of this document has more than ${MAX_COLUMNS.toLocaleString('en')} columns.`)
  }
  const rows: string[][] = []
  let captions = 0
  for (const { texts, own } of filledRows(sheet, columns)) {
    if (captions === rows.length && own === 1) captions++
    // Counted here, because few cells can make a table of many: one in each row, each in another column.
    count(texts.reduce((sum, text) => sum + text.length + 3, 1))
    rows.push(texts)
  }
  if (rows.length === 0) return []
  // Above nothing but more rows of one text there is no table, and the first of them is as good a header as any.
  if (captions > MAX_CAPTIONS || captions === rows.length) captions = 0
  const [header = [], ...body] = rows.slice(captions)
  const heading = `# ${name}\n\n`
  const said = rows.slice(0, captions).map((texts) => `${texts.join(' ').trim()}\n\n`)
  const top = `${tableLine(header)}\n${tableRule(columns.length)}`
  return tablePages(heading + top, body.map(tableLine), heading + said.join('') + top)
}
