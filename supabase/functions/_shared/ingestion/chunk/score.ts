import type { Page } from './pages.ts'

// An entry of a linked table of contents.
const PAGE_LINK = /^(?:[-*+]|\d+[.)])?\s*\[[^\]]*\]\(#[^)]*\)$/
const NO_WORDS = /^[^\p{L}]*$/u
const FOUR_DOTS = /\.(?:[ \t]?\.){3}$/
const TWO_DOTS = /[ \t]\.{2,}$/
/** Four dots with a blank between each two. */
const LONGEST_LEADER = 7
/** Lines at the top and bottom of each page that may be running headers or footers. */
const EDGE_LINES = 2
const MIN_REPEATS = 4
/** Characters of a line that may be a running header. Digits by the million would overflow the pattern that looks for them. */
const LONGEST_HEADER = 500

/** A line without the numbers that change from page to page; one that is no header is left as it is. */
function shape(line: string): string {
  const trimmed = line.trim()
  return trimmed.length > LONGEST_HEADER ? trimmed : trimmed.replace(/\d+/g, '#')
}

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
 * Whether a line ends like "Introduction ........ 7", with the leaders of a table of contents or an index. Read from its
 * end, because a pattern that looks for the first dot takes quadratic time on a line of dots.
 */
function endsInLeaders(line: string): boolean {
  let end = line.length
  while (/\d/.test(line[end - 1] ?? '')) end--
  const hasNumber = end < line.length
  while (line[end - 1] === ' ' || line[end - 1] === '\t') end--
  const tail = line.slice(Math.max(0, end - LONGEST_LEADER), end)
  return FOUR_DOTS.test(tail) || (hasNumber && TWO_DOTS.test(tail))
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
      endsInLeaders(trimmed) ||
      PAGE_LINK.test(trimmed) ||
      (!isTable && NO_WORDS.test(trimmed)) ||
      boilerplate.has(shape(trimmed))
    if (!isNoise) running += trimmed.length
  }
  return total === 0 ? 0 : Math.round((running / total) * 1000) / 1000
}
