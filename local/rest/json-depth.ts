/**
 * How deep arrays and objects of a body may be nested. The engine walks through values by recursion, and at some 4,000 levels
 * its stack ends, which would be answered as our mistake.
 */
export const MAX_JSON_DEPTH = 1000

const code = (char: string): number => char.charCodeAt(0)
const [QUOTE, BACKSLASH] = [code('"'), code('\\')]
const OPENING = new Set([code('{'), code('[')])
const CLOSING = new Set([code('}'), code(']')])

/** Whether JSON text in UTF-8 is nested deeper than that. Reads brackets outside of strings and nothing else. */
export const isTooDeep = (json: Uint8Array): boolean => {
  if (json.length <= MAX_JSON_DEPTH) return false
  let depth = 0
  let inString = false
  for (let at = 0; at < json.length; at++) {
    const byte = json[at]!
    if (inString) {
      if (byte === BACKSLASH) at++
      else if (byte === QUOTE) inString = false
    } else if (byte === QUOTE) inString = true
    else if (OPENING.has(byte)) {
      if (++depth > MAX_JSON_DEPTH) return true
    } else if (CLOSING.has(byte)) depth--
  }
  return false
}
