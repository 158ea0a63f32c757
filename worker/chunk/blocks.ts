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

function* linesOf(text: string): Generator<TextLine> {
  let start = 0
  while (start <= text.length) {
    const found = text.indexOf('\n', start)
    const end = found < 0 ? text.length : found
    yield { start, end, text: text.slice(start, end) }
    start = end + 1
  }
}

const FENCE = /^ {0,3}(```|~~~)/
const ATX_HEADING = /^ {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*$/
const UNDERLINE = /^ {0,3}(={3,}|-{3,})[ \t]*$/
const HEADING_LENGTH = 200

/**
 * The blocks of a Markdown-like text, in order. Every character that is not white space is in exactly one of them.
 * Plain text consists of paragraphs only.
 */
export function readBlocks(text: string): Block[] {
  const lines = [...linesOf(text)]
  const lastFence = lines.findLastIndex((line) => FENCE.test(line.text))
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

  for (let index = 0; index < lines.length; index++) {
    const line = lines[index] as TextLine
    const heading = ATX_HEADING.exec(line.text)
    if (!line.text.trim()) {
      close()
    } else if (FENCE.test(line.text) && index < lastFence) {
      close()
      const mark = (FENCE.exec(line.text) as RegExpExecArray)[1] as string
      let last = index + 1
      while (last < lastFence && !(lines[last] as TextLine).text.trimStart().startsWith(mark)) last++
      blocks.push({ kind: 'code', start: line.start, end: (lines[last] as TextLine).end })
      index = last
    } else if (heading?.[2]) {
      close()
      const title = heading[2].slice(0, HEADING_LENGTH)
      blocks.push({ kind: 'heading', start: line.start, end: line.end, level: (heading[1] as string).length, title })
    } else if (line.text.trimStart().startsWith('|')) {
      extend('table', line)
    } else {
      const underlined = UNDERLINE.exec(lines[index + 1]?.text ?? '')
      if (!open && underlined && line.text.length <= HEADING_LENGTH) {
        const level = (underlined[1] as string).startsWith('=') ? 1 : 2
        blocks.push({
          kind: 'heading',
          start: line.start,
          end: (lines[++index] as TextLine).end,
          level,
          title: line.text.trim(),
        })
      } else extend('paragraph', line)
    }
  }
  close()
  return blocks
}
