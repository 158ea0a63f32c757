import { LOGICAL_PAGE_CHARACTERS } from './paginate.ts'

/** Cell texts as a row of a Markdown table. */
export const tableLine = (row: string[]): string =>
  `| ${row.map((cell) => cell.trim().replace(/\s+/g, ' ').replace(/\|/g, '\\|')).join(' | ')} |`

/** What stands below the header of a Markdown table. */
export const tableRule = (columns: number): string => `|${' --- |'.repeat(columns)}`

/** Rows of cell texts as a Markdown table whose first row is the header. */
export function markdownTable(rows: string[][]): string {
  const filled = rows.filter((row) => row.some((cell) => cell.trim()))
  const [header, ...body] = filled
  if (!header) return ''
  return [tableLine(header), tableRule(header.length), ...body.map(tableLine)].join('\n')
}

/**
 * A long table as logical pages, each of which can be understood alone: `head`, a text that ends with the header of the
 * table, is repeated on all of them. At most a quarter of the text is repetition, however long the head.
 */
export function tablePages(head: string, lines: Iterable<string>, firstHead = head): string[] {
  const size = Math.max(LOGICAL_PAGE_CHARACTERS, head.length * 3)
  const pages: string[] = []
  let page = [firstHead]
  let length = 0
  for (const line of lines) {
    if (length > 0 && length + line.length > size) {
      pages.push(page.join('\n'))
      page = [head]
      length = 0
    }
    page.push(line)
    length += line.length + 1
  }
  pages.push(page.join('\n'))
  return pages
}
