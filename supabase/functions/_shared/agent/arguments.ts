import { Validator } from '@cfworker/json-schema'
import type { OutputUnit, SchemaDraft } from '@cfworker/json-schema'
import { MAX_PATTERN_TEXT_CHARS, withSafePatterns } from './schema-patterns.ts'

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

type Validators = { withPatterns?: Validator; withoutPatterns?: Validator }
const validators = new WeakMap<Record<string, unknown>, Validators>()

function validatorFor(schema: Record<string, unknown>, textLength: number): Validator {
  const made = validators.get(schema) ?? {}
  validators.set(schema, made)
  const kind = textLength <= MAX_PATTERN_TEXT_CHARS ? 'withPatterns' : 'withoutPatterns'
  // The validator writes into its schema; the copy also keeps those marks from the model.
  made[kind] ??= new Validator(withSafePatterns(schema, kind === 'withPatterns'), draftOf(schema), false)
  return made[kind]
}

/** Keywords whose errors only repeat that something inside them is wrong. */
const STRUCTURAL = ['properties', 'items', 'prefixItems', 'additionalItems', 'allOf', '$ref', 'if', 'dependentSchemas']

function describe(errors: readonly OutputUnit[]): string {
  const leaves = errors.filter((error) => !STRUCTURAL.includes(error.keyword) && error.keyword !== 'false')
  const lines = (leaves.length > 0 ? leaves : errors).map(({ instanceLocation, keyword, error }) => {
    const text =
      keyword === 'additionalProperties' || keyword === 'unevaluatedProperties'
        ? error.replace(/ does not match .*$/, ' is not known.')
        : error.replace(/^Instance does not have required property/, 'Missing:').replace(/^Instance/, 'The value')
    const place = instanceLocation.replace(/^#\/?/, '')
    return (place === '' ? text : `${place}: ${text}`).slice(0, MAX_PROBLEM_CHARS)
  })
  const more = lines.length > MAX_PROBLEMS ? ` (and ${lines.length - MAX_PROBLEMS} more)` : ''
  return `${lines.slice(0, MAX_PROBLEMS).join(' ')}${more}`
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
    const { valid, errors } = validatorFor(schema, JSON.stringify(args).length).validate(args)
    return valid ? { ok: true, args } : refused(describe(errors), args)
  } catch {
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
