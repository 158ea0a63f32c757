import { shorten } from '../extract/shorten.ts'

/** A paragraph, heading, table or code listing: `text.slice(start, end)`, without the line end after it. */
export type Block = {
  kind: 'heading' | 'paragraph' | 'table' | 'code'
  start: number
  end: number
  /** For headings: 1 to 6, and the words without marks. */
  level?: number
  title?: string
}

type TextLine = { start: number; end: number; text: string }

/** The lines of a text. Only where they begin is kept: a text can consist of millions of them. */
class Lines {
  readonly count: number
  private readonly text: string
  private readonly starts: number[] = [0]

  constructor(text: string) {
    this.text = text
    for (let found = text.indexOf('\n'); found >= 0; found = text.indexOf('\n', found + 1)) this.starts.push(found + 1)
    this.count = this.starts.length
  }

  at(index: number): TextLine {
    const start = this.starts[index] as number
    const end = (this.starts[index + 1] ?? this.text.length + 1) - 1
    return { start, end, text: this.text.slice(start, end) }
  }

  findLast(test: (line: string) => boolean): number {
    let index = this.count - 1
    while (index >= 0 && !test(this.at(index).text)) index--
    return index
  }
}

// Patterns here are tried on lines of any length that a stranger wrote. Each begins at the begin of the line, and no two
// of its repetitions in a row can match the same characters, so that none takes more than linear time.
const FENCE = /^ {0,3}(```|~~~)/
const ATX_HEADING = /^ {0,3}(#{1,6})[ \t]+((?![ \t]).+)$/
const UNDERLINE = /^ {0,3}(={3,}|-{3,})[ \t]*$/
const HEADING_LENGTH = 200
/** Nobody breaks lines at more characters than this: where a line is longer, each line is a paragraph. */
const WRAPPED_LENGTH = 200

/** A heading's words without the marks that may close it. */
function withoutClosingMarks(heading: string): string {
  let end = heading.length
  while (heading[end - 1] === '#') end--
  while (heading[end - 1] === ' ' || heading[end - 1] === '\t') end--
  return heading.slice(0, end)
}

/**
 * Words and level of a heading as wikis have it: `== Title ==`, in tokenized copies of them `= = Title = =`. Read from both
 * ends, because a pattern would try every pair of them.
 */
function readWikiHeading(line: string): { level: number; title: string } | null {
  const opening = line.length <= HEADING_LENGTH && /^ {0,3}=[= ]*/.exec(line)?.[0]
  if (!opening) return null
  let end = line.length
  while (end > opening.length && /[= \t]/.test(line[end - 1] as string)) end--
  const level = opening.replaceAll(' ', '').length
  const closed = line.slice(end).replace(/[^=]/g, '').length === level
  const title = line.slice(opening.length, end).trim()
  return closed && level <= 6 && /[\p{L}\p{N}]/u.test(title) ? { level, title } : null
}

/**
 * The blocks of a Markdown-like text, in order. Every character that is not white space is in exactly one of them.
 * Plain text consists of paragraphs, and of headings where it is marked as a wiki is.
 */
export function readBlocks(text: string): Block[] {
  const lines = new Lines(text)
  const lastFence = lines.findLast((line) => FENCE.test(line))
  const blocks: Block[] = []
  let open: Block | null = null
  const close = () => {
    if (open) blocks.push(open)
    open = null
  }
  const extend = (kind: Block['kind'], line: TextLine) => {
    if (open?.kind !== kind) close()
    if (open) open.end = line.end
    else open = { kind, start: line.start, end: line.end }
  }

  for (let index = 0; index < lines.count; index++) {
    const line = lines.at(index)
    const heading = ATX_HEADING.exec(line.text)
    const words = heading && withoutClosingMarks(heading[2] as string)
    const wikiHeading = readWikiHeading(line.text)
    if (!line.text.trim()) {
      close()
    } else if (FENCE.test(line.text) && index < lastFence) {
      close()
      const mark = (FENCE.exec(line.text) as RegExpExecArray)[1] as string
      let last = index + 1
      while (last < lastFence && !lines.at(last).text.trimStart().startsWith(mark)) last++
      blocks.push({ kind: 'code', start: line.start, end: lines.at(last).end })
      index = last
    } else if (words) {
      close()
      const title = shorten(words, HEADING_LENGTH)
      blocks.push({ kind: 'heading', start: line.start, end: line.end, level: (heading[1] as string).length, title })
    } else if (wikiHeading) {
      close()
      blocks.push({ kind: 'heading', start: line.start, end: line.end, ...wikiHeading })
    } else if (line.text.trimStart().startsWith('|')) {
      extend('table', line)
    } else {
      const underlined =
        !open &&
        line.text.length <= HEADING_LENGTH &&
        index + 1 < lines.count &&
        UNDERLINE.exec(lines.at(index + 1).text)
      if (underlined) {
        const level = (underlined[1] as string).startsWith('=') ? 1 : 2
        blocks.push({
          kind: 'heading',
          start: line.start,
          end: lines.at(++index).end,
          level,
          title: line.text.trim(),
        })
      } else if (line.text.length > WRAPPED_LENGTH) {
        close()
        blocks.push({ kind: 'paragraph', start: line.start, end: line.end })
      } else extend('paragraph', line)
    }
  }
  close()
  return blocks
}
