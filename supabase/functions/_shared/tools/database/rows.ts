import type { JoinNode } from './plan.ts'
import { QueryRefused } from './refusal.ts'
import { embedName, isChecked, isOurs, keyName, type ReadRequest } from './request.ts'

/** A row as PostgREST answers it. */
export type JsonRow = Record<string, unknown>

/** The row of each table that makes up one row of the result; null where a LEFT JOIN found none. */
export type FlatRow = ReadonlyMap<number, JsonRow | null>

/** PostgREST cuts embedded rows at its `max_rows` without a word; Supabase's default, and ours, is this. */
const EMBEDDED_ROWS = 1000

/**
 * Makes the rows SQL would have answered of a row with embedded ones.
 * @throws QueryRefused when a row has so many partners that some may be missing.
 */
export function flatten(row: JsonRow | null, node: JoinNode): FlatRow[] {
  let rows: Map<number, JsonRow | null>[] = [new Map([[node.table, row]])]
  for (const child of node.children) {
    const embedded = row?.[embedName(child.table)]
    const partners = (Array.isArray(embedded) ? embedded : embedded == null ? [] : [embedded]) as JsonRow[]
    if (partners.length >= EMBEDDED_ROWS) {
      throw new QueryRefused(
        'A row has too many joined rows.',
        'Query the joined table by itself, with a condition on its foreign key.',
      )
    }
    if (isChecked(child) && row && !partners.every((partner) => areJoined(row, partner, child))) throw notJoined()
    const below = (partners.length === 0 ? [null] : partners).flatMap((partner) => flatten(partner, child))
    rows = rows.flatMap((left) => below.map((right) => new Map([...left, ...right])))
  }
  return rows
}

const areJoined = (row: JsonRow, partner: JsonRow, node: JoinNode): boolean =>
  node.pairs.every((_, index) => row[keyName('parent', node, index)] === partner[keyName('own', node, index)])

const notJoined = (): QueryRefused =>
  new QueryRefused('This join cannot be answered here.', 'Query one table, then the other with the values found.')

/** The wanted values of a flattened row; of `*` an object of columns. */
export const valuesOf = (row: FlatRow, values: ReadRequest['values']): unknown[] =>
  values.map(({ table, key }) => {
    const source = row.get(table) ?? null
    if (key !== null) return source?.[key] ?? null
    return Object.fromEntries(Object.entries(source ?? {}).filter(([name]) => !isOurs(name)))
  })

/** Whether there is a whole number in a value that JSON is not read without rounding: its last digits may be others than were written. */
export const hasLostDigits = (value: unknown): boolean =>
  typeof value === 'object' && value !== null
    ? Object.values(value).some(hasLostDigits)
    : Number.isInteger(value) && !Number.isSafeInteger(value)
