import type { Block } from './blocks.ts'
import type { TokenEstimator } from './tokens.ts'

/** The smallest part that packing moves: a heading, a sentence, a list item, a table row, a line of code. */
export type Unit = {
  start: number
  end: number
  isHeading: boolean
  /** Whether it begins a block, where a cut disturbs least. */
  beginsBlock: boolean
  block: Block
  /** Index of the section, that is, of the heading it stands under. */
  section: number
}

const sentences = new Intl.Segmenter('en', { granularity: 'sentence' })
const SHORTEST_SENTENCE = 6
const LIST_ITEM = /^[ \t]*(?:[-*+•‣–]|\d{1,3}[.)])[ \t]/

/** Starts of the lines of a block. */
function lineStarts(text: string, block: Block): number[] {
  const starts = [block.start]
  for (
    let index = text.indexOf('\n', block.start);
    index >= 0 && index < block.end;
    index = text.indexOf('\n', index + 1)
  ) {
    starts.push(index + 1)
  }
  return starts
}

/** Where the sentences and list items of a paragraph begin. */
function sentenceStarts(text: string, block: Block): number[] {
  const items = lineStarts(text, block).filter(
    (start, index) => index === 0 || LIST_ITEM.test(text.slice(start, start + 12)),
  )
  const starts: number[] = []
  items.forEach((from, index) => {
    // A line end is a sentence's end to the segmenter but not to a printed page.
    const item = text.slice(from, items[index + 1] ?? block.end).replace(/\n/g, ' ')
    starts.push(from)
    for (const segment of sentences.segment(item)) {
      const start = from + segment.index
      // Neither a number at the begin ("7.") nor a reference mark after the full stop ("[6]") is a sentence.
      const tooShort = start - (starts.at(-1) as number) < SHORTEST_SENTENCE
      if (!tooShort && !/[[(]/.test(text[start - 1] as string)) starts.push(start)
    }
  })
  return starts
}

/** Cuts what is too long for one chunk after a space, else anywhere but inside a surrogate pair. */
function cut(text: string, start: number, end: number, limit: number, tokens: TokenEstimator): number[] {
  const starts = [start]
  let from = start
  while (tokens.count(from, end) > limit) {
    let to = Math.min(tokens.reach(from, limit), end)
    const space = text.lastIndexOf(' ', to - 1)
    if (space > from + (to - from) / 2) to = space + 1
    else if (/[\uDC00-\uDFFF]/.test(text[to] ?? '') && to - 1 > from) to--
    starts.push(to)
    from = to
  }
  return starts
}

/** Divides blocks into units of at most `limit` tokens. Together they contain every character of the blocks
 * that is not white space. */
export function readUnits(text: string, blocks: Block[], limit: number, tokens: TokenEstimator): Unit[] {
  let section = 0
  return blocks.flatMap((block) => {
    if (block.kind === 'heading') section++
    const starts =
      block.kind === 'heading'
        ? [block.start]
        : block.kind === 'paragraph'
          ? sentenceStarts(text, block)
          : lineStarts(text, block)
    return starts
      .flatMap((start, index) => cut(text, start, starts[index + 1] ?? block.end, limit, tokens))
      .map((start, index, all) => ({ start, end: all[index + 1] ?? block.end }))
      .filter(({ start, end }) => text.slice(start, end).trim() !== '')
      .map((span, index) => ({
        ...span,
        isHeading: block.kind === 'heading',
        beginsBlock: index === 0,
        block,
        section,
      }))
  })
}
