/** A run of glyphs as pdf.js reports it. */
export type TextItem = {
  str: string
  hasEOL: boolean
  height: number
  /** Affine matrix; the last two are the position of the baseline, in points from the lower left corner. */
  transform: number[]
}

/** One printed line. */
export type Line = {
  text: string
  /** Size of most of its glyphs, in points; 0 when the line is not upright. */
  size: number
  /** Height of its baseline on the page, in points. */
  y: number
}

/** Gathers runs into lines, in the order in which the page draws them. */
export function readLines(items: TextItem[]): Line[] {
  const lines: Line[] = []
  let text = ''
  let sizes = new Map<number, number>()
  let y = 0
  const end = () => {
    const size = [...sizes].sort((a, b) => b[1] - a[1])[0]?.[0] ?? 0
    if (text.trim()) lines.push({ text: text.replace(/\s+/g, ' ').trim(), size, y })
    text = ''
    sizes = new Map()
  }
  for (const item of items) {
    text += item.str
    const upright = Math.abs(item.transform[1] ?? 0) < 0.01 && Math.abs(item.transform[2] ?? 0) < 0.01
    if (item.str.trim()) {
      const size = upright ? Math.round(item.height * 2) / 2 : 0
      sizes.set(size, (sizes.get(size) ?? 0) + item.str.length)
      y = item.transform[5] ?? 0
    }
    if (item.hasEOL) end()
  }
  end()
  return lines
}

/** Size of the running text: the one most characters have, in points. 0 when there is too little text to tell. */
export function bodySize(pages: Line[][]): number {
  const counts = new Map<number, number>()
  let total = 0
  for (const { size, text } of pages.flat()) {
    counts.set(size, (counts.get(size) ?? 0) + text.length)
    total += text.length
  }
  return total < 400 ? 0 : ([...counts].sort((a, b) => b[1] - a[1])[0]?.[0] ?? 0)
}

const HEADING_LENGTH = 150

/** Heading level of a line by its size, or 0. Three levels are enough to tell a title from a section. */
function levelOf(line: Line, body: number): number {
  const letters = line.text.match(/\p{L}/gu)?.length ?? 0
  if (!body || line.size < body * 1.15 || line.text.length > HEADING_LENGTH) return 0
  if (letters < 3 || letters < line.text.length * 0.5) return 0
  if (line.size >= body * 1.7) return 1
  return line.size >= body * 1.35 ? 2 : 3
}

/**
 * Text of a page: lines as printed, an empty line where the gap shows a new paragraph, large short lines as Markdown
 * headings, words divided at a line end put together again.
 */
export function pageText(lines: Line[], body: number): string {
  const parts: string[] = []
  let previous: Line | null = null
  let previousLevel = 0
  for (const line of lines) {
    const level = levelOf(line, body)
    if (!previous) {
      parts.push(level ? `${'#'.repeat(level)} ${line.text}` : line.text)
    } else if (level && level === previousLevel && line.size === previous.size) {
      parts.push(` ${line.text}`)
    } else if (level || previousLevel) {
      parts.push(`\n\n${level ? `${'#'.repeat(level)} ` : ''}${line.text}`)
    } else {
      const gap = previous.y - line.y
      const apart = previous.size > 0 && line.size > 0 && gap > previous.size * 1.75
      if (!apart && /\p{Ll}[-\u00AD]$/u.test(previous.text) && /^\p{Ll}{2}/u.test(line.text)) {
        parts.push((parts.pop() as string).slice(0, -1), line.text)
      } else parts.push((apart ? '\n\n' : '\n') + line.text)
    }
    previous = line
    previousLevel = level
  }
  return parts.join('')
}
