/**
 * Cuts a Markdown text into pieces that mean the same alone as together, so that a text that grows is parsed anew only in
 * its last piece. Cut is at blank lines, outside of fences, before a line that cannot go on with what stands above it.
 */
export function blocksOf(text: string): string[] {
  const blocks: string[] = []
  let block: string[] = []
  let fence: string | null = null
  let isAfterBlank = false
  for (const line of text.split('\n')) {
    const begins = isAfterBlank && fence === null && BEGINS_ANEW.test(line)
    if (begins && block.some((each) => each.trim() !== '')) {
      blocks.push(block.join('\n'))
      block = []
    }
    block.push(line)
    const marks = FENCE.exec(line)?.[1]
    if (marks !== undefined) {
      if (fence === null) fence = marks
      else if (marks.startsWith(fence) && /^ {0,3}[`~]+\s*$/.test(line)) fence = null
    }
    isAfterBlank = line.trim() === ''
  }
  if (block.some((each) => each.trim() !== '')) blocks.push(block.join('\n'))
  return blocks
}

const FENCE = /^ {0,3}(`{3,}|~{3,})/
/**
 * Not indented, no list item (a list may go on after blank lines), no HTML and no footnote or definition; nor the first
 * characters of one that is still being written.
 */
const BEGINS_ANEW = /^(?![\s<]|[-*+](?:\s|$)|\d{1,9}(?:[.)](?:\s|$)|$)|\[[^\]]+\]:)/
