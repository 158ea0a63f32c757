import { TokenEstimator } from '../chunk/tokens.ts'

/** Offsets of a part of a text, in UTF-16 units. */
export type Window = { start: number; end: number }

/** Sizes in estimated tokens; `maxChars` is a limit beside them. */
export type WindowSizes = { size: number; overlap: number; maxChars: number }

/** How far back from its end a window looks for a good place to end, as a share of it. */
const SLACK = 0.2
/** Good places to end, the best first. */
const BREAKS = ['\n\n', '\n', ' ']

/** Where a part ends that may reach up to `most`: after a paragraph, a line or a word, if there is one near. */
function goodEnd(text: string, start: number, most: number): number {
  if (most >= text.length) return text.length
  // Only there is it looked for: a text without any is not read to its beginning each time.
  const least = most - Math.floor((most - start) * SLACK)
  const tail = text.slice(least, most)
  for (const mark of BREAKS) {
    const at = tail.lastIndexOf(mark)
    if (at >= 0) return least + at + mark.length
  }
  // Not between the halves of a character.
  const isHalf = /[\uD800-\uDBFF]/.test(text[most - 1] ?? '')
  return isHalf && most - 1 > start ? most - 1 : most
}

/** Divides a text into parts that overlap, so that what stands at an edge is whole in one of them. Parts of white space only are left out. */
export function windowsOf(text: string, { size, overlap, maxChars }: WindowSizes): Window[] {
  const tokens = new TokenEstimator(text)
  const windows: Window[] = []
  for (let start = 0; start < text.length; ) {
    const most = Math.min(tokens.reach(start, size), start + maxChars)
    const end = goodEnd(text, start, Math.max(most, start + 1))
    if (text.slice(start, end).trim() !== '') windows.push({ start, end })
    if (end >= text.length) break
    // An overlap of so many tokens before the end; each window gets on by at least half of itself.
    start = Math.max(overlapStart(tokens, start, end, overlap), start + Math.ceil((end - start) / 2))
    if (/[\uDC00-\uDFFF]/.test(text[start] ?? '')) start += 1
  }
  return windows
}

/** The least offset from which up to `end` there are at most `overlap` tokens. */
function overlapStart(tokens: TokenEstimator, start: number, end: number, overlap: number): number {
  let low = start
  let high = end
  while (low < high) {
    const middle = (low + high) >> 1
    if (tokens.count(middle, end) <= overlap) high = middle
    else low = middle + 1
  }
  return low
}
