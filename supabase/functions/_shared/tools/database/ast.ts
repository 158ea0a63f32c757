import type { Node } from './parser.ts'
import { QueryRefused } from './refusal.ts'
import { checkedColumn } from './tables.ts'

// The parse tree is read by allowing: a node or field that no function here names is refused, so that syntax nobody
// thought of cannot be dropped in silence and change what a query means.

/** Kind and fields of a node: `{A: {...}}` is `['A', {...}]`. */
export function unwrapNode(node: unknown): [kind: string, fields: Node] {
  const entries = Object.entries((node ?? {}) as Node)
  const entry = entries[0]
  if (entries.length !== 1 || !entry)
    throw new QueryRefused('The query uses something unknown.', 'Write a plain SELECT.')
  return [entry[0], entry[1] as Node]
}

/** Whether a node has no other fields than these; `location` says where it stood in the text. */
export const hasOnly = (fields: Node, allowed: readonly string[]): boolean =>
  Object.keys(fields).every((name) => name === 'location' || allowed.includes(name))

/** A list field, empty when absent. */
export const listOf = (value: unknown): unknown[] => (Array.isArray(value) ? value : [])

/** The text of a `String` node, or undefined. */
export function stringOf(node: unknown): string | undefined {
  const text = ((node as Node | undefined)?.['String'] as Node | undefined)?.['sval']
  return typeof text === 'string' ? text : undefined
}

/** Dotted names, e.g. of a function or type. */
export const namesOf = (list: unknown): string[] => listOf(list).map((node) => stringOf(node) ?? '')

/** A column as the query names it: `[table or alias,] column`, or every column. */
export type ColumnName = { qualifier: string | undefined; column: string | '*' }

/** The column a `ColumnRef` node names. @throws QueryRefused for names of three or more parts and unusual names. */
export function columnNameOf(fields: Node): ColumnName {
  const parts = listOf(fields['fields']).map((part) =>
    'A_Star' in (part as Node) ? '*' : checkedColumn(stringOf(part) ?? ''),
  )
  const [first, second] = parts
  if (parts.length > 2 || first === undefined) {
    throw new QueryRefused(
      'A column can be named with its table or alias, not with its schema as well.',
      'Example: select d.title from public.documents as d',
    )
  }
  return second === undefined ? { qualifier: undefined, column: first } : { qualifier: first, column: second }
}

/** A value written in a query. */
export type Literal = { text: string; kind: 'number' | 'text' | 'boolean' } | { kind: 'null' }

/** Types a literal may be cast to where it is compared: the column decides how the text is read. */
const LITERAL_TYPES = new Set(
  'text varchar int2 int4 int8 float4 float8 numeric bool date timestamp timestamptz time timetz uuid json jsonb'.split(
    ' ',
  ),
)

/** Types a selected column may be cast to. */
const CAST_TYPES = new Set([...LITERAL_TYPES, 'interval'])

/** Name of a plain type without modifiers, e.g. `int4`; undefined for all others. */
export function typeOf(node: unknown): { name: string; isArray: boolean } | undefined {
  const fields = (node ?? {}) as Node
  const names = namesOf(fields['names'])
  const name = names.length === 1 ? names[0] : names.length === 2 && names[0] === 'pg_catalog' ? names[1] : undefined
  if (name === undefined || !CAST_TYPES.has(name) || listOf(fields['typmods']).length > 0) return undefined
  return hasOnly(fields, ['names', 'typemod', 'arrayBounds']) ? { name, isArray: 'arrayBounds' in fields } : undefined
}

/** The value a node stands for, or undefined if it is no literal. Casts of literals to plain types are left out. */
export function literalOf(node: unknown): Literal | undefined {
  const [kind, fields] = unwrapNode(node)
  if (kind === 'TypeCast') {
    const type = typeOf(fields['typeName'])
    const literal = literalOf(fields['arg'])
    return type && LITERAL_TYPES.has(type.name) && literal && keepsItsValue(literal, type) ? literal : undefined
  }
  if (kind === 'A_ArrayExpr') return arrayLiteral(fields)
  if (kind !== 'A_Const') return undefined
  if (fields['isnull'] === true) return { kind: 'null' }
  if ('ival' in fields) return { kind: 'number', text: String((fields['ival'] as Node)['ival'] ?? 0) }
  if ('fval' in fields) return { kind: 'number', text: String((fields['fval'] as Node)['fval']) }
  if ('boolval' in fields) return { kind: 'boolean', text: String((fields['boolval'] as Node)['boolval'] === true) }
  if ('sval' in fields) return { kind: 'text', text: String((fields['sval'] as Node)['sval'] ?? '') }
  return undefined
}

/** Whether the cast changes nothing but the type: `5.7::int` and `'2024-05-01 12:00'::date` are other values. */
function keepsItsValue(literal: Literal, type: { name: string; isArray: boolean }): boolean {
  if (literal.kind === 'null' || type.isArray) return true
  if (/^int/.test(type.name)) return /^-?\d+$/.test(literal.text)
  return type.name !== 'date' || /^\d{4}-\d{2}-\d{2}$/.test(literal.text)
}

/** `ARRAY['a', 1]` as the text of an array: `{"a","1"}`. */
function arrayLiteral(fields: Node): Literal | undefined {
  const elements = literalsOf(fields['elements'])
  return elements && { kind: 'text', text: arrayText(elements) }
}

/** The texts of a list of literals, or undefined if one is NULL or no literal. */
export function literalsOf(list: unknown): string[] | undefined {
  const texts: string[] = []
  for (const item of listOf(list)) {
    const literal = literalOf(item)
    if (!literal || literal.kind === 'null') return undefined
    texts.push(literal.text)
  }
  return texts
}

/** A text in double quotes, with backslashes before quotes and backslashes. */
export const quoted = (text: string): string => `"${text.replace(/["\\]/g, '\\$&')}"`

/** Texts as a PostgreSQL array of one dimension. */
export const arrayText = (texts: readonly string[]): string => `{${texts.map(quoted).join(',')}}`
