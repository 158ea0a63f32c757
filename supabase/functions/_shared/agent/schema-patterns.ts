/**
 * Regular expressions in JSON Schemas of tools come from tenants and from foreign servers, and run in a process that all
 * tenants share: one that takes exponential time would stop everybody. Only plain ones are run; the tool checks the rest.
 */

/** Steps a match may take for a text as long as arguments with patterns may be. */
const MAX_STEPS = 2e7
/** Characters of arguments up to which patterns are checked at all. */
export const MAX_PATTERN_TEXT_CHARS = 4000
/** Formats whose checks take linear time. */
const SAFE_FORMATS = ['date', 'time', 'date-time', 'duration', 'email', 'hostname', 'ipv4', 'ipv6', 'uuid']

const QUANTIFIER = /^(?:[*+?]|\{(\d+)(,(\d*))?\})/

/** Whether a regular expression surely ends soon: no repeated groups, no look-around, no back references, few repeats. */
export function isPlainPattern(pattern: string): boolean {
  if (pattern.length > 500) return false
  // Without an anchor the match is tried at every character.
  let steps = pattern.startsWith('^') ? 1 : MAX_PATTERN_TEXT_CHARS
  for (let at = 0; at < pattern.length; at++) {
    const char = pattern[at]
    if (char === '\\') {
      if (/[1-9k]/.test(pattern[at + 1] ?? '')) return false
      at++
    } else if (char === '[') {
      for (at++; at < pattern.length && pattern[at] !== ']'; at++) if (pattern[at] === '\\') at++
    } else if (char === '(' && pattern[at + 1] === '?' && pattern[at + 2] !== ':') {
      return false
    }
    const quantifier = QUANTIFIER.exec(pattern.slice(at + 1, at + 40))
    if (!quantifier || char === '(') continue
    if (char === ')') return false
    const isOpen = /^[*+]|,\}$/.test(quantifier[0])
    steps *= isOpen ? MAX_PATTERN_TEXT_CHARS : Math.max(2, Number(quantifier[3] ?? quantifier[1] ?? 2))
    if (steps > MAX_STEPS) return false
  }
  return true
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/**
 * A copy of a schema without the patterns and formats that could take long.
 * @param withPatterns false: without any.
 */
export function withSafePatterns(schema: Record<string, unknown>, withPatterns: boolean): Record<string, unknown> {
  const isKept = (pattern: string) => withPatterns && isPlainPattern(pattern)
  const revive = (key: string, value: unknown): unknown => {
    if (key === 'pattern' && typeof value === 'string' && !isKept(value)) return undefined
    if (key === 'format' && typeof value === 'string' && !(withPatterns && SAFE_FORMATS.includes(value)))
      return undefined
    if (!isObject(value)) return value
    const patterns = value['patternProperties']
    if (isObject(patterns) && !Object.keys(patterns).every(isKept)) {
      // What these would have allowed must not be refused for their absence.
      delete value['patternProperties']
      delete value['additionalProperties']
      delete value['unevaluatedProperties']
    }
    return value
  }
  return JSON.parse(JSON.stringify(schema), revive) as Record<string, unknown>
}
