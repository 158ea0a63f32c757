import { objectSchema } from '../../agent/ask-for-object.ts'
import { cutText } from '../../cut-text.ts'
import type { RecordField } from '../../strategies.ts'
import { TokenEstimator } from '../chunk/tokens.ts'

/** Values by the names of the fields; null: the document does not say. */
export type DocumentRecord = Record<string, string | number | boolean | string[] | null>

/** Characters of a text, items of a list and characters of each that are kept. */
const MAX_TEXT_CHARS = 2000
const MAX_ITEMS = 200
const MAX_ITEM_CHARS = 300
/** Tokens that a record written out has at most: it is embedded as one text. */
const MAX_RECORD_TOKENS = 4000

const isList = ({ type }: RecordField): boolean => type === 'list' || type === 'array'
const JSON_TYPES: Record<Exclude<RecordField['type'], 'list' | 'array'>, string> = {
  text: 'string',
  string: 'string',
  number: 'number',
  integer: 'integer',
  boolean: 'boolean',
}

/** JSON Schema of an answer: every field, nothing else, and null where the document does not say. */
export const recordSchema = (fields: readonly RecordField[]): Record<string, unknown> =>
  objectSchema(
    Object.fromEntries(
      fields.map((field) => [
        field.name,
        field.type === 'list' || field.type === 'array'
          ? { type: ['array', 'null'], items: { type: 'string' }, description: field.description }
          : { type: [JSON_TYPES[field.type], 'null'], description: field.description },
      ]),
    ),
  )

const cut = (text: string, chars: number): string => (text.length <= chars ? text : cutText(text, chars).trimEnd())

const plainText = (value: unknown, chars: number): string | null => {
  const text = typeof value === 'string' ? cut(value.trim(), chars) : ''
  return text === '' ? null : text
}

function scalarOf({ type }: RecordField, value: unknown): DocumentRecord[string] {
  if (type === 'boolean') return typeof value === 'boolean' ? value : null
  if (type === 'number' || type === 'integer') return typeof value === 'number' && Number.isFinite(value) ? value : null
  return plainText(value, MAX_TEXT_CHARS)
}

/**
 * One record from the answers about the parts of a document, in their order: of a single value the first that is there, of
 * a list all items, each once. Values longer than can be kept are cut.
 */
export function mergeRecords(
  fields: readonly RecordField[],
  answers: readonly Record<string, unknown>[],
): DocumentRecord {
  const entries = fields.map((field): [string, DocumentRecord[string]] => {
    const values = answers.map((answer) => (Object.hasOwn(answer, field.name) ? answer[field.name] : null))
    if (!isList(field)) {
      return [field.name, values.map((value) => scalarOf(field, value)).find((value) => value !== null) ?? null]
    }
    const items = new Set<string>()
    for (const value of values.flat()) {
      const item = plainText(value, MAX_ITEM_CHARS)
      if (item !== null && items.size < MAX_ITEMS) items.add(item)
    }
    return [field.name, items.size === 0 ? null : [...items]]
  })
  return Object.fromEntries(entries)
}

const lineOf = ([name, value]: [string, DocumentRecord[string]]): string =>
  `${name}: ${(Array.isArray(value) ? value.join('; ') : String(value)).replace(/\s+/gu, ' ')}`

/** A record as text: a line for each value that is there. */
const recordText = (record: DocumentRecord): string =>
  Object.entries(record)
    .filter(([, value]) => value !== null)
    .map(lineOf)
    .join('\n')

const tokensOf = (text: string): number => new TokenEstimator(text).count(0, text.length)

/** The record with its longest values halved until it fits into one text to embed, and whether any was. */
export function fitRecord(record: DocumentRecord): {
  record: DocumentRecord
  text: string
  tokens: number
  isCut: boolean
} {
  let fitted = record
  for (let isCut = false; ; isCut = true) {
    const text = recordText(fitted)
    const tokens = tokensOf(text)
    if (tokens <= MAX_RECORD_TOKENS) return { record: fitted, text, tokens, isCut }
    const [name, value] = Object.entries(fitted).reduce((longest, entry) =>
      lineOf(entry).length > lineOf(longest).length ? entry : longest,
    )
    const half = Array.isArray(value)
      ? value.slice(0, Math.floor(value.length / 2))
      : cut(String(value), Math.floor(String(value).length / 2))
    fitted = { ...fitted, [name]: half.length === 0 ? null : half }
  }
}
