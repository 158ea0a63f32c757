/** Rows of cell texts as a Markdown table whose first row is the header. */
export function markdownTable(rows: string[][]): string {
  const filled = rows.filter((row) => row.some((cell) => cell.trim()))
  const [header, ...body] = filled
  if (!header) return ''
  const line = (row: string[]) =>
    `| ${row.map((cell) => cell.trim().replace(/\s+/g, ' ').replace(/\|/g, '\\|')).join(' | ')} |`
  return [line(header), `|${' --- |'.repeat(header.length)}`, ...body.map(line)].join('\n')
}
