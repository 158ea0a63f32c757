/** A bar of one figure. It falls short when `measured`, as it is printed, is less than `atLeast`. */
export type Bar = { name: string; measured: number; atLeast: number }

/** What one part of the evaluation found, ready to be printed. */
export type Section = {
  title: string
  /** Heading of each column; the first one names the row and is set flush left, all others flush right. */
  columns: string[]
  rows: string[][]
  bars: Bar[]
  /** Sentences to print below the table: what is approximate, what was left out and why. */
  notes: string[]
}

/** One entry of the list `npm run eval` works through. It is run with those of its names that are wanted (`--only`). */
export type Evaluation = { names: string[]; run: (names: string[]) => Promise<Section> }

const DECIMALS = 3

/** A figure as it is printed and compared: three decimals, as the reference figures have. */
export function figure(value: number): string {
  return value.toFixed(DECIMALS)
}

/** Compared as printed, so that a table never shows .695 beside "falls short of .695". */
export function fallsShort({ measured, atLeast }: Bar): boolean {
  return Number.isNaN(measured) || Number(figure(measured)) < Number(figure(atLeast))
}

/** The section as text: its title, the table, the bars with their outcome, and the notes. */
export function formatSection(section: Section): string {
  const table = [section.columns, ...section.rows]
  const widths = section.columns.map((_, column) => Math.max(...table.map((row) => (row[column] ?? '').length)))
  const lines = table.map((row) =>
    widths
      .map((width, column) => (column === 0 ? (row[0] ?? '').padEnd(width) : (row[column] ?? '').padStart(width)))
      .join('  ')
      .trimEnd(),
  )
  const bars = section.bars.map(
    (bar) => `${fallsShort(bar) ? 'short' : 'met  '}  ${bar.name}: ${figure(bar.measured)}, bar ${figure(bar.atLeast)}`,
  )
  return [section.title, '', ...lines, '', ...bars, ...section.notes].join('\n').trimEnd()
}
