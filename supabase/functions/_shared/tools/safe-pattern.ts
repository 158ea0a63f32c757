/** Regular expressions that people write and that run here on what a model writes. */

const MAX_PATTERN_CHARS = 256

/** Whether what stands at `at` repeats what is before it more often than once: `*`, `+`, `{2}`, `{1,}`; not `?` or `{1}`. */
function repeatsAt(pattern: string, at: number): boolean {
  const char = pattern[at]
  if (char === '*' || char === '+') return true
  const counts = /^\{(\d+)(,?)(\d*)\}/.exec(pattern.slice(at, at + 24))
  if (!counts) return false
  const [, least = '', comma, most] = counts
  return comma === '' ? Number(least) > 1 : most === '' || Number(most) > 1
}

/**
 * Whether a pattern repeats a group in which something repeats or has alternatives, at any depth: such patterns, as
 * `(a+)+`, can take a time that doubles with each character. Some harmless ones look the same and are named too.
 */
function repeatsWhatVaries(pattern: string): boolean {
  const groups: { varies: boolean }[] = [{ varies: false }]
  let isInClass = false
  for (let at = 0; at < pattern.length; at++) {
    const char = pattern[at]
    const group = groups.at(-1) ?? { varies: false }
    if (char === '\\') at++
    else if (isInClass) isInClass = char !== ']'
    else if (char === '[') isInClass = true
    else if (char === '(') groups.push({ varies: false })
    else if (char === '|') group.varies = true
    else if (char === ')') {
      groups.pop()
      if (group.varies && repeatsAt(pattern, at + 1)) return true
      const outer = groups.at(-1)
      if (outer && group.varies) outer.varies = true
    } else if (repeatsAt(pattern, at)) group.varies = true
  }
  return false
}

/** Whether a text is a regular expression whose time does not double with each character of the text it is run on. */
export function isSafePattern(pattern: unknown): pattern is string {
  if (typeof pattern !== 'string' || pattern.length > MAX_PATTERN_CHARS) return false
  try {
    new RegExp(pattern, 'u')
  } catch {
    return false
  }
  return !repeatsWhatVaries(pattern)
}
