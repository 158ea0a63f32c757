import { patternSteps } from './schema-patterns.ts'

/**
 * How much work it is to check values against a JSON Schema. Schemas come from tenants and from foreign servers, and are used in
 * a process that all tenants share: a part that leads twice to itself takes a time that doubles with each level of the value.
 * Whether that happens depends on the value, so it is not foretold: each use of a part of the schema is counted.
 */

/** Work that one check may take, and reading the schema as well: steps of some 50 nanoseconds. */
export const MAX_WORK = 3e6
/** Work of looking at one part of a schema for one value. */
const PART_WORK = 40
/** Work of making the expression of a pattern anew. */
const PATTERN_WORK = 40
/** Levels of nesting that a schema may have. */
const MAX_SCHEMA_DEPTH = 200
/** Characters that the way to a part of a schema may have, all names together, and addresses that it is given. */
const MAX_PATH_CHARS = 4000
/** Milliseconds that a check may take, should something of it have been counted for too little. */
const MAX_MS = 2000

/** Keywords whose values hold no schema, but are gone through or named in an error. */
const DATA = ['enum', 'const', 'type', '$ref']
/** Keywords whose names are gone through. Of a text in their place that is slow, by its characters. */
const NAMED = [
  'properties',
  'patternProperties',
  'dependentSchemas',
  'dependentRequired',
  'dependencies',
  '$defs',
  'definitions',
]
const NAMED_TEXT_WORK = 20
/** Keywords whose texts nobody looks at. */
const PROSE = ['title', 'description', '$comment', 'default', 'examples', '$schema']
/** What gives a part an address. */
const ADDRESSES = ['$id', 'id', '$anchor']
/** Those of whose names each may become an error. */
const NAMES = ['required', 'dependentRequired', 'dependencies']
/** Looked at once more for each item. */
const OF_ITEMS = ['prefixItems', 'unevaluatedItems']
/** The same, unless they are parts: those are counted for each item. */
const OF_ITEMS_BY_NOTE = ['items', 'additionalItems', 'contains']
const OF_KEYS = ['additionalProperties', 'unevaluatedProperties', 'propertyNames', 'minProperties', 'maxProperties']
const OF_TEXT = ['minLength', 'maxLength', 'format']
/** What puts together which items and keys its schemas have looked at. */
const COMBINING = ['allOf', 'anyOf', 'oneOf', 'if']

/** A check, or a schema, that is too much work. */
export class TooMuchWork extends Error {
  override name = 'TooMuchWork'
}

/** What of a value decides how much work one part of a schema is. */
type Sizes = {
  /** Characters of the whole as JSON. */
  chars: number
  /** Of the longest list. */
  items: number
  /** Of the object that has the most. */
  keys: number
  /** Characters of the longest text or key. */
  text: number
}

type Part = Record<string, unknown>

/** The sizes of a value that is not nested without end. */
function sizesOf(value: unknown): Sizes {
  const sizes = { chars: JSON.stringify(value).length, items: 0, keys: 0, text: 0 }
  const add = (inner: unknown): void => {
    if (typeof inner === 'string') sizes.text = Math.max(sizes.text, inner.length)
    if (typeof inner !== 'object' || inner === null) return
    const keys = Object.keys(inner)
    if (Array.isArray(inner)) sizes.items = Math.max(sizes.items, keys.length)
    else {
      sizes.keys = Math.max(sizes.keys, keys.length)
      for (const key of keys) sizes.text = Math.max(sizes.text, key.length)
    }
    Object.values(inner).forEach(add)
  }
  add(value)
  return sizes
}

const entriesOf = (value: unknown): number =>
  typeof value === 'object' && value !== null ? Object.keys(value).length : 0

const lengthOf = (value: unknown): number => (typeof value === 'string' ? value.length : 0)

/** Work of looking at a part for a value of these sizes, without that of the parts it leads to. */
function workOf(part: Part, sizes: Sizes): number {
  const has = (keywords: readonly string[]) => keywords.some((keyword) => Object.hasOwn(part, keyword))
  // What is plain in a long pattern may have to be gone through at each step.
  const matching = (pattern: string) =>
    PATTERN_WORK + (patternSteps(pattern, sizes.text) / 8) * Math.max(1, pattern.length / 8)
  let work = 0
  const isNoted = (keyword: string) => typeof part[keyword] === 'boolean' || Array.isArray(part[keyword])
  if (has(OF_ITEMS) || OF_ITEMS_BY_NOTE.some(isNoted)) work += 2 * sizes.items
  if (has(OF_KEYS)) work += 2 * sizes.keys
  if (has(OF_TEXT)) work += sizes.text / 100
  if (has(COMBINING)) work += (sizes.items + sizes.keys) / 8
  // The keys of an object are listed anew for each value that it is compared with.
  work += (entriesOf(part['enum']) + (part['const'] === undefined ? 0 : 1)) * sizes.keys * 2
  // Each item is compared with each other one.
  if (part['uniqueItems'] === true) work += (sizes.items * sizes.chars) / 4
  if (typeof part['pattern'] === 'string') work += matching(part['pattern'])
  for (const pattern of Object.keys(Object(part['patternProperties']) as object)) {
    work += 5 * PATTERN_WORK + sizes.keys * matching(pattern)
  }
  return work
}

/**
 * Counts the uses of a schema.
 * @param schema is written into: reading `$ref` of any part of it, as whoever uses the part must, is counted from now on.
 * @throws TooMuchWork when it is nested too deeply.
 */
export class SchemaMeter {
  #left = MAX_WORK
  #until = performance.now() + MAX_MS
  #sizes: Sizes = { chars: 0, items: 0, keys: 0, text: 0 }
  /** Work of the parts for the value of now. */
  #known = new Map<Part, number>()

  constructor(schema: Part) {
    this.#watch(schema, 0, 0)
  }

  /** Work done since the value of now was begun with. */
  get spent(): number {
    return MAX_WORK - this.#left
  }

  /** From now on it is this value that is checked, with all of `MAX_WORK` before it. */
  begin(value: unknown): void {
    this.#left = MAX_WORK
    this.#until = performance.now() + MAX_MS
    this.#sizes = sizesOf(value)
    this.#known.clear()
  }

  /**
   * Makes a thing of the schema count.
   * @param path characters of the pointer to it, which become part of its address.
   * @returns its characters.
   */
  #watch(value: unknown, depth: number, path: number): number {
    if (typeof value === 'string') return value.length
    if (typeof value !== 'object' || value === null) return 8
    let address = path
    for (const keyword of ADDRESSES) address += lengthOf((value as Part)[keyword])
    if (depth > MAX_SCHEMA_DEPTH || address > MAX_PATH_CHARS) throw new TooMuchWork('The schema is nested too deeply.')
    let chars = 2
    let fixed = PART_WORK + address / 4
    for (const [key, inner] of Object.entries(value)) {
      const size = this.#watch(inner, depth + 1, address + key.length + 1)
      chars += key.length + size
      if (NAMES.includes(key)) fixed += size
      else if (DATA.includes(key)) fixed += size / 8
      else if (NAMED.includes(key)) fixed += entriesOf(inner) + NAMED_TEXT_WORK * lengthOf(inner)
      else if (!PROSE.includes(key)) fixed += Math.max(entriesOf(inner), lengthOf(inner))
    }
    if (!Array.isArray(value)) this.#count(value as Part, fixed)
    return chars
  }

  #count(part: Part, fixed: number): void {
    const { $ref: reference } = part
    Object.defineProperty(part, '$ref', {
      enumerable: Object.hasOwn(part, '$ref'),
      get: () => {
        const work = this.#known.get(part) ?? fixed + workOf(part, this.#sizes)
        this.#known.set(part, work)
        this.#left -= work
        if (this.#left < 0 || performance.now() > this.#until) throw new TooMuchWork('The schema takes too much work.')
        return reference
      },
    })
  }
}
