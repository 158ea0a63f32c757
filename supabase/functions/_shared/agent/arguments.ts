import { dereference, validate } from '@cfworker/json-schema'
import type { OutputUnit, Schema, SchemaDraft } from '@cfworker/json-schema'
import { cutText } from '../cut-text.ts'
import { MAX_PATTERN_TEXT_CHARS, withSafePatterns } from './schema-patterns.ts'
import type { Strictness } from './schema-patterns.ts'
import { SchemaMeter, TooMuchWork } from './schema-work.ts'

/** Levels of nesting that arguments may have. */
const MAX_DEPTH = 50
/** Problems that one error text names. */
const MAX_PROBLEMS = 8
const MAX_PROBLEM_CHARS = 300
/** Keys through which code that copies objects may be made to change what all objects inherit. */
const FORBIDDEN_KEYS = ['__proto__', 'constructor']

/** Arguments as the model wrote them, read and checked. */
export type CheckedArguments =
  | { ok: true; args: Record<string, unknown> }
  /** `problem` says to the model what is wrong; `args` is what could be read, for the record. */
  | { ok: false; problem: string; args: Record<string, unknown> }

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const refused = (problem: string, args: Record<string, unknown> = {}): CheckedArguments => ({
  ok: false,
  problem: `Invalid arguments: ${problem}`,
  args,
})

/** Without what neither Postgres nor a well-formed UTF-8 text can hold. */
export const storableText = (text: string): string => text.replaceAll('\u0000', '').toWellFormed()

/** A copy that can be stored. @returns a text saying why not, when the value has forbidden keys or is nested too deeply. */
function storable(value: unknown, depth = 0): { value: unknown } | string {
  if (typeof value === 'string') return { value: storableText(value) }
  if (typeof value !== 'object' || value === null) return { value }
  if (depth >= MAX_DEPTH) return `they are nested more than ${MAX_DEPTH} levels deep.`
  const entries: [string, unknown][] = []
  for (const [name, item] of Object.entries(value)) {
    const key = storableText(name)
    if (FORBIDDEN_KEYS.includes(key)) return `the key "${key}" is not allowed.`
    const copy = storable(item, depth + 1)
    if (typeof copy === 'string') return copy
    entries.push([key, copy.value])
  }
  return { value: Array.isArray(value) ? entries.map(([, item]) => item) : Object.fromEntries(entries) }
}

function draftOf(schema: Record<string, unknown>): SchemaDraft {
  const uri = String(schema['$schema'] ?? '')
  if (uri.includes('draft-04')) return '4'
  if (/draft-0[67]/.test(uri)) return '7'
  return uri.includes('2019-09') ? '2019-09' : '2020-12'
}

const ANYTHING: Record<string, unknown> = {}

/** What of a value does not fit a schema. @param isBrief only the first problem of each object and list is looked for. */
type Check = (value: unknown, isBrief: boolean) => OutputUnit[]
const checks = new WeakMap<Record<string, unknown>, Map<Strictness, Check>>()

function checkFor(schema: Record<string, unknown>, strictness: Strictness): Check {
  const made = checks.get(schema) ?? new Map<Strictness, Check>()
  checks.set(schema, made)
  const known = made.get(strictness)
  if (known) return known
  // The meter and the validator write into their schema; the copy also keeps those marks from the model.
  const copy: Schema = withSafePatterns(schema, strictness)
  const meter = new SchemaMeter(copy)
  const draft = draftOf(schema)
  const parts = dereference(copy)
  const check: Check = (value, isBrief) => {
    meter.begin(value)
    const { valid, errors } = validate(value, copy, draft, parts, isBrief)
    return valid ? [] : errors
  }
  made.set(strictness, check)
  return check
}

/** What `work` gives; null when it takes too much. */
function unlessTooMuch<T>(work: () => T): T | null {
  try {
    return work()
  } catch (error) {
    if (error instanceof TooMuchWork) return null
    throw error
  }
}

/**
 * What of a value does not fit a schema. Of long texts and lists, the tool checks what takes too long here.
 * @throws TooMuchWork when all of it does, and what the validator throws for a schema that cannot be used.
 */
function errorsOf(schema: Record<string, unknown>, value: unknown): OutputUnit[] {
  const strictness = JSON.stringify(value).length <= MAX_PATTERN_TEXT_CHARS ? 'all' : 'no patterns'
  // Looking for one problem only, the alternatives of a recursive schema are left as soon as one cannot be meant.
  const found = unlessTooMuch(() => checkFor(schema, strictness)(value, true))
  if (found === null) return checkFor(schema, 'least')(value, true)
  if (found.length === 0) return found
  return unlessTooMuch(() => checkFor(schema, strictness)(value, false)) ?? found
}

/** Why a schema can check nothing, not even an empty object, as the end of a sentence; null: it can. */
export function schemaProblem(schema: Record<string, unknown>): string | null {
  try {
    errorsOf(schema, {})
    return null
  } catch (error) {
    if (error instanceof TooMuchWork) return 'is too large, too deeply nested, or refers to its parts too often.'
    // Endless recursion ends with the stack.
    return error instanceof RangeError ? 'is nested too deeply, or leads back to itself without end.' : null
  }
}

/** Keywords whose errors only repeat that something inside them is wrong. */
const STRUCTURAL = ['properties', 'items', 'prefixItems', 'additionalItems', 'allOf', '$ref', 'if', 'dependentSchemas']

function describe(errors: readonly OutputUnit[]): string {
  const leaves = errors.filter((error) => !STRUCTURAL.includes(error.keyword) && error.keyword !== 'false')
  const all = leaves.length > 0 ? leaves : errors
  const lines = all.slice(0, MAX_PROBLEMS).map(({ instanceLocation, keyword, error }) => {
    const text =
      keyword === 'additionalProperties' || keyword === 'unevaluatedProperties'
        ? error.replace(/ does not match .*$/, ' is not known.')
        : error.replace(/^Instance does not have required property/, 'Missing:').replace(/^Instance/, 'The value')
    const place = instanceLocation.replace(/^#\/?/, '')
    // Names of the value's own are in it: what is cut inside a character cannot be stored.
    return cutText(place === '' ? text : `${place}: ${text}`, MAX_PROBLEM_CHARS)
  })
  const more = all.length > MAX_PROBLEMS ? ` (and ${all.length - MAX_PROBLEMS} more)` : ''
  return `${lines.join(' ')}${more}`
}

/**
 * Checks arguments against the schema of a tool. What comes back is a copy that holds nothing a store or a later reader
 * would refuse or change, so that what is shown, approved, recorded and carried out is one and the same.
 */
export function checkArguments(schema: Record<string, unknown>, value: unknown): CheckedArguments {
  if (!isObject(value)) return refused('a JSON object is needed.')
  const copy = storable(value)
  if (typeof copy === 'string') return refused(copy)
  const args = copy.value as Record<string, unknown>
  try {
    const errors = errorsOf(schema, args)
    return errors.length === 0 ? { ok: true, args } : refused(describe(errors), args)
  } catch (error) {
    if (error instanceof TooMuchWork) {
      return refused('they are too large or too deeply nested to be checked against the schema of this tool.', args)
    }
    // A schema with dangling references, an invalid pattern or endless recursion.
    return refused('the schema of this tool cannot be used to check them. The tool cannot be called.', args)
  }
}

/** The arguments of a call, read from the text a model wrote, without a look at any schema. */
export function readArguments(text: string): CheckedArguments {
  let value: unknown
  try {
    // Models write nothing at all for tools without arguments.
    value = text.trim() === '' ? {} : JSON.parse(text)
  } catch {
    return refused('they are not valid JSON, perhaps because they were cut off. Send one whole JSON object.')
  }
  return checkArguments(ANYTHING, value)
}

/** The arguments of a call, read from the text a model wrote and checked against the schema of the tool. */
export function parseArguments(schema: Record<string, unknown>, text: string): CheckedArguments {
  const read = readArguments(text)
  return read.ok ? checkArguments(schema, read.args) : read
}
