/** The language in which a text gives orders to the obedient model; see obey.ts. */

export type Directive =
  | { kind: 'call'; name: string; /** As it stands in the text; not JSON where the text has none. */ args: string }
  | { kind: 'say'; text: string }

/** Texts inside JSON inside JSON: how many layers of escapes are looked through. */
const MAX_LAYERS = 4
const ESCAPES: Record<string, string> = { n: '\n', r: '\r', t: '\t', b: '\b', f: '\f' }

/** A text with, for each of its characters, where it came from in the original. */
type Layer = { text: string; from: number[] }

/** Takes one layer of JSON string escapes off. */
function unescaped({ text, from }: Layer): Layer {
  let result = ''
  const places: number[] = []
  for (let i = 0; i < text.length; ) {
    const match = /^\\(?:u([0-9a-fA-F]{4})|(.))/s.exec(text.slice(i, i + 6))
    const [whole = text.charAt(i), code, letter] = match ?? []
    result += code ? String.fromCharCode(parseInt(code, 16)) : letter ? (ESCAPES[letter] ?? letter) : whole
    places.push(from[i] ?? 0)
    i += whole.length
  }
  return { text: result, from: places }
}

/** Length of the JSON object a text begins with; 0 when it begins with none. */
function objectLength(text: string): number {
  let depth = 0
  let isInString = false
  for (let i = 0; i < text.length; i++) {
    const character = text[i]
    if (isInString) {
      if (character === '\\') i += 1
      else if (character === '"') isInString = false
    } else if (character === '"') isInString = true
    else if (character === '{') depth += 1
    else if (character === '}' && --depth === 0) {
      try {
        JSON.parse(text.slice(0, i + 1))
        return i + 1
      } catch {
        return 0
      }
    }
  }
  return 0
}

/** The object at the start of a text, whatever JSON it is wrapped in, and where it ends there; null when there is none. */
function objectAt(text: string): { args: string; end: number } | null {
  let layer: Layer = { text, from: Array.from({ length: text.length }, (_, i) => i) }
  for (let i = 0; i < MAX_LAYERS; i++) {
    const length = objectLength(layer.text)
    if (length > 0) return { args: layer.text.slice(0, length), end: (layer.from[length - 1] ?? 0) + 1 }
    if (!layer.text.includes('\\')) return null
    layer = unescaped(layer)
  }
  return null
}

/** Orders begin with one of these words, wherever they stand; a line break may have become an escape on the way. */
const BEGINNING = /(?:(?<!\w)|(?<=\\[nrt]))(CALL|SAY)[ \t]+/g
const lineEnd = (text: string): number => {
  const end = text.search(/\n|\\n|\r/)
  return end === -1 ? text.length : end
}
/** Far more than an order needs; keeps a large context from being read again for every one in it. */
const MAX_ORDER_CHARS = 50_000

/** Names and texts of a JSON value, in order. */
function stringsIn(value: unknown): string[] {
  if (typeof value === 'string') return [value]
  if (Array.isArray(value)) return value.flatMap(stringsIn)
  return typeof value === 'object' && value !== null ? Object.entries(value).flat().flatMap(stringsIn) : []
}

/** The orders of a text, in order; those of a JSON text are looked for in its strings. */
export function directivesIn(text: string): Directive[] {
  if (/^\s*[[{"]/.test(text)) {
    try {
      return stringsIn(JSON.parse(text)).flatMap(directivesIn)
    } catch {
      // Only looks like JSON, or was cut off.
    }
  }
  return directivesOfLines(text)
}

function directivesOfLines(text: string): Directive[] {
  const found: Directive[] = []
  const starts = [...text.matchAll(BEGINNING)]
  let done = 0
  for (const [position, start] of starts.entries()) {
    // Within the arguments of the order before: part of them.
    if (start.index < done) continue
    const rest = text.slice(start.index + start[0].length, start.index + MAX_ORDER_CHARS)
    if (start[1] === 'SAY') {
      const next = starts[position + 1]?.index ?? text.length
      const said = rest.slice(0, Math.min(lineEnd(rest), next - start.index - start[0].length))
      found.push({ kind: 'say', text: said.trim() })
      continue
    }
    const [head = '', name] = /^([^\s{}]{1,200})[ \t]*/.exec(rest) ?? []
    if (name === undefined) continue
    const after = rest.slice(head.length)
    const object = after.startsWith('{') ? objectAt(after) : null
    const args = object?.args ?? after.slice(0, lineEnd(after)).trim()
    done = start.index + start[0].length + head.length + (object?.end ?? args.length)
    found.push({ kind: 'call', name, args })
  }
  return found
}
