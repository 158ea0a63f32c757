/**
 * Follows fenced code blocks in streamed Markdown, for filters that leave code alone. Renderers disagree about what is code,
 * so nothing that must never be seen may depend on it. Doubtful text counts as text: only fences at the left margin count
 * (an indented one may end with the list it stands in), and after the first fence whose reading is debatable none does.
 */
export type FenceTracker = {
  /** Whether the next character lies in a fenced code block. */
  inside: () => boolean
  /** Takes the next characters of the text, whose line breaks must all be `\n`. */
  push: (text: string) => void
}

/** A fence line longer than this is not read to its end, hence debatable. */
const MAX_FENCE_LINE_CHARS = 500
const OPENING = /^(`{3,}(?=[^`]*$)|~{3,})/
const DEBATABLE = /^[\s>*+\-\d.)]*(`{3,}|~{3,})/
const CLOSING = /^ {0,3}(`{3,}|~{3,})[ \t]*$/

/** Makes a tracker that stands at the beginning of a text. */
export function createFenceTracker(): FenceTracker {
  let line = ''
  let fence = ''
  let lost = false
  const endLine = () => {
    const whole = line.length <= MAX_FENCE_LINE_CHARS
    if (fence !== '') {
      const closing = whole ? CLOSING.exec(line)?.[1] : undefined
      if (closing !== undefined && closing[0] === fence[0] && closing.length >= fence.length) fence = ''
    } else if (DEBATABLE.test(line)) {
      const opening = whole ? OPENING.exec(line)?.[1] : undefined
      if (opening === undefined) lost = true
      else fence = opening
    }
    line = ''
  }
  return {
    inside: () => fence !== '' && !lost,
    push(text) {
      let start = 0
      for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', start)) {
        line += text.slice(start, at)
        endLine()
        start = at + 1
      }
      line = (line + text.slice(start)).slice(0, MAX_FENCE_LINE_CHARS + 1)
    },
  }
}
