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
export const isPlainPattern = (pattern: string): boolean => patternSteps(pattern, MAX_PATTERN_TEXT_CHARS) <= MAX_STEPS

/** Steps that matching a text of so many characters may take at most; Infinity for an expression that is not plain. */
export function patternSteps(pattern: string, chars: number): number {
  if (pattern.length > 500) return Infinity
  // Without an anchor the match is tried at every character.
  let steps = pattern.startsWith('^') ? 1 : chars
  for (let at = 0; at < pattern.length; at++) {
    const char = pattern[at]
    if (char === '\\') {
      if (/[1-9k]/.test(pattern[at + 1] ?? '')) return Infinity
      at++
    } else if (char === '[') {
      for (at++; at < pattern.length && pattern[at] !== ']'; at++) if (pattern[at] === '\\') at++
    } else if (char === '(' && pattern[at + 1] === '?' && pattern[at + 2] !== ':') {
      return Infinity
    }
    const quantifier = QUANTIFIER.exec(pattern.slice(at + 1, at + 40))
    if (!quantifier || char === '(') continue
    if (char === ')') return Infinity
    const isOpen = /^[*+]|,\}$/.test(quantifier[0])
    steps *= isOpen ? chars : Math.max(2, Number(quantifier[3] ?? quantifier[1] ?? 2))
  }
  return steps
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** What a schema may ask of long texts and lists: everything, no patterns and formats, or not even that items differ. */
export type Strictness = 'all' | 'no patterns' | 'least'

/** A copy of a schema without the patterns and formats that could take long, and without what this strictness leaves out. */
export function withSafePatterns(schema: Record<string, unknown>, strictness: Strictness): Record<string, unknown> {
  const withPatterns = strictness === 'all'
  const isKept = (pattern: string) => withPatterns && isPlainPattern(pattern)
  const revive = (key: string, value: unknown): unknown => {
    if (key === 'pattern' && typeof value === 'string' && !isKept(value)) return undefined
    if (key === 'format' && typeof value === 'string' && !(withPatterns && SAFE_FORMATS.includes(value)))
      return undefined
    if (key === 'uniqueItems' && value === true && strictness === 'least') return undefined
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
