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

/** Starts of the list items of a paragraph, and of the paragraph. */
const itemStarts = (text: string, block: Block): number[] =>
  lineStarts(text, block).filter((start, index) => index === 0 || LIST_ITEM.test(text.slice(start, start + 12)))

/**
 * Marks where sentences begin. The whole text is given to the segmenter in one go, because one for each paragraph takes a
 * kilobyte and more, outside of the heap and its limit, and a text can consist of millions of paragraphs.
 */
function markSentences(text: string, blocks: Block[]): Uint8Array {
  const parts: string[] = []
  let done = 0
  for (const block of blocks) {
    if (block.kind !== 'paragraph') continue
    // A line end is a sentence's end to the segmenter but not to a printed page, save before a list item.
    itemStarts(text, block).forEach((start, index, all) => {
      const end = (all[index + 1] ?? block.end + 1) - 1
      parts.push(text.slice(done, start), text.slice(start, end).replace(/\n/g, ' '))
      done = end
    })
  }
  parts.push(text.slice(done))
  const marks = new Uint8Array(text.length)
  for (const { index } of sentences.segment(parts.join(''))) marks[index] = 1
  return marks
}

/** Where the sentences and list items of a paragraph begin. */
function sentenceStarts(text: string, block: Block, marks: Uint8Array): number[] {
  const starts: number[] = []
  itemStarts(text, block).forEach((from, index, all) => {
    const to = all[index + 1] ?? block.end
    starts.push(from)
    let last = from
    // Neither a number at the begin ("7.") nor a reference mark after the full stop ("[6]") is a sentence.
    for (let start = from + SHORTEST_SENTENCE; start < to; start++) {
      if (!marks[start] || start - last < SHORTEST_SENTENCE || /[[(]/.test(text[start - 1] as string)) continue
      starts.push(start)
      last = start
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
    // Looked for in the second half only: in a text without spaces, a search to the begin would be one over everything.
    const half = from + (to - from) / 2
    let space = to - 1
    while (space > half && text[space] !== ' ') space--
    if (space > half) to = space + 1
    else if (/[\uDC00-\uDFFF]/.test(text[to] ?? '') && to - 1 > from) to--
    starts.push(to)
    from = to
  }
  return starts
}

/** Divides blocks into units of at most `limit` tokens. Together they contain every character of the blocks
 * that is not white space. */
export function readUnits(text: string, blocks: Block[], limit: number, tokens: TokenEstimator): Unit[] {
  const marks = markSentences(text, blocks)
  let section = 0
  return blocks.flatMap((block) => {
    if (block.kind === 'heading') section++
    const starts =
      block.kind === 'heading'
        ? [block.start]
        : block.kind === 'paragraph'
          ? sentenceStarts(text, block, marks)
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
