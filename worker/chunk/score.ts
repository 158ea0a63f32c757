import type { Page } from './pages.ts'

// "Introduction ........ 7": the leaders of a table of contents or an index.
const LEADERS = /(?:\.[ \t]?){4,}[ \t]*\d*$|[ \t]\.{2,}[ \t]*\d+$/
// An entry of a linked table of contents.
const PAGE_LINK = /^(?:[-*+]|\d+[.)])?\s*\[[^\]]*\]\(#[^)]*\)$/
const NO_WORDS = /^[^\p{L}]*$/u
/** Lines at the top and bottom of each page that may be running headers or footers. */
const EDGE_LINES = 2
const MIN_REPEATS = 4

const shape = (line: string): string => line.trim().replace(/\d+/g, '#')

/** Shapes of the lines that stand at the edge of at least half of the pages: running headers and footers. */
export function findBoilerplate(pages: Page[]): Set<string> {
  const counts = new Map<string, number>()
  for (const { text } of pages) {
    const lines = text.split('\n').filter((line) => line.trim())
    const edges = new Set([...lines.slice(0, EDGE_LINES), ...lines.slice(-EDGE_LINES)].map(shape))
    for (const line of edges) counts.set(line, (counts.get(line) ?? 0) + 1)
  }
  const enough = Math.max(MIN_REPEATS, pages.length / 2)
  return new Set([...counts].filter(([, count]) => count >= enough).map(([line]) => line))
}

/**
 * How much of a chunk is text to read rather than tables of contents, page numbers and running headers: 0 to 1, rounded to
 * thousandths. Independent of any question.
 */
export function scoreOf(body: string, boilerplate: Set<string>): number {
  let running = 0
  let total = 0
  for (const line of body.split('\n')) {
    const trimmed = line.trim()
    total += trimmed.length
    const isTable = trimmed.startsWith('|')
    const isNoise =
      LEADERS.test(trimmed) ||
      PAGE_LINK.test(trimmed) ||
      (!isTable && NO_WORDS.test(trimmed)) ||
      boilerplate.has(shape(trimmed))
    if (!isNoise) running += trimmed.length
  }
  return total === 0 ? 0 : Math.round((running / total) * 1000) / 1000
}
