import { decodeText } from './decode-text.ts'
import type { Extraction } from './extraction.ts'
import { corrupt, tooMuchText } from './failure.ts'
import type { ExtractLimits } from './limits.ts'
import { tablePages, tableRule } from './markdown-table.ts'
import { paginate } from './paginate.ts'
import { sanitizeText } from './sanitize.ts'

const DELIMITERS = [',', ';', '\t', '|']

/** The delimiter that gives the first lines the most equal columns; null when the file has a single column. */
function findDelimiter(text: string): string | null {
  const lines = text.split('\n', 20).filter((line) => line.trim())
  let best: { delimiter: string; score: number } | null = null
  for (const delimiter of DELIMITERS) {
    const counts = lines.map((line) => line.replace(/"[^"]*"/g, '').split(delimiter).length - 1)
    const first = counts[0] ?? 0
    const score = first * counts.filter((count) => count === first).length
    if (first > 0 && (!best || score > best.score)) best = { delimiter, score }
  }
  return best?.delimiter ?? null
}

/** Rows of a CSV file as RFC 4180 has it; a quote inside an unquoted field is an ordinary character. */
export function parseCsv(text: string, delimiter: string): string[][] {
  const rows: string[][] = []
  let row: string[] = []
  let field = ''
  let quoted = false
  const endRow = () => {
    row.push(field)
    field = ''
    if (row.length > 1 || row[0] !== '') rows.push(row)
    row = []
  }
  for (let index = 0; index < text.length; index++) {
    const character = text[index] as string
    if (quoted) {
      if (character !== '"') field += character
      else if (text[index + 1] === '"') {
        field += '"'
        index++
      } else quoted = false
    } else if (character === '"' && field === '') quoted = true
    else if (character === delimiter) {
      row.push(field)
      field = ''
    } else if (character === '\n') endRow()
    else field += character
  }
  if (field !== '' || row.length > 0) endRow()
  return rows
}

const cell = (value: string): string =>
  value
    .trim()
    .replace(/\s+/g, (blanks) => (blanks.includes('\n') ? ' ' : blanks))
    .replace(/\|/g, '\\|')
const line = (cells: string[]): string => `| ${cells.map(cell).join(' | ')} |`
/** What an empty cell adds to a line. */
const EMPTY_CELL = '  |'

/**
 * A CSV or TSV file as Markdown tables. The first row is taken as the header and repeated on every logical page, so that
 * each page can be understood alone.
 * @throws ExtractionFailure `corrupt_document`, `limit_exceeded`.
 */
export function extractCsv(bytes: Uint8Array, { maxCharacters }: Pick<ExtractLimits, 'maxCharacters'>): Extraction {
  const decoded = decodeText(bytes)
  if (!decoded) throw corrupt('CSV file')
  const text = sanitizeText(decoded.text)
  const delimiter = findDelimiter(text)
  const metadata: Extraction['metadata'] = { encoding: decoded.encoding }
  if (!delimiter) return { pages: paginate(text), metadata }

  const [header, ...rows] = parseCsv(text, delimiter)
  if (!header) return { pages: [], metadata }
  const width = header.length
  const top = `${line(header)}\n${tableRule(width)}`
  let characters = top.length
  function* lines(): Generator<string> {
    for (const row of rows) {
      const filled = line(row)
      const missing = Math.max(0, width - row.length)
      // Counted here, because under a header of many columns a short row is a long line.
      characters += filled.length + missing * EMPTY_CELL.length
      if (characters > maxCharacters) throw tooMuchText(maxCharacters)
      yield filled + EMPTY_CELL.repeat(missing)
    }
  }
  const pages = tablePages(top, lines())
  return { pages, metadata: { ...metadata, row_count: rows.length, column_count: width } }
}
