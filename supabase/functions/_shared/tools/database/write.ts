import type { Tool } from '../types.ts'
import { quoted } from './ast.ts'
import { abortOf, refusalOf } from './failures.ts'
import type { DatabaseToolOptions } from './query.ts'
import { QueryRefused } from './refusal.ts'
import { hasLostDigits } from './rows.ts'
import { checkedColumn, describeTables, findTable, usable } from './tables.ts'

/** Most rows that one call adds, changes or deletes. */
export const MAX_WRITTEN_ROWS = 100

/** Columns of `data` and `where`. */
const MAX_COLUMNS = 100

type Operation = 'insert' | 'update' | 'delete'
type Row = Record<string, unknown>

/** Parameters of PostgREST that a column of that name could be taken for. */
const RESERVED = new Set(['select', 'order', 'limit', 'offset', 'columns', 'on_conflict', 'and', 'or', 'not'])

/**
 * The builtin `database_write`: one insert, update or delete as the person the run acts for. Updates and deletes need a
 * condition, of equalities only, and are refused as a whole where it matches more than `MAX_WRITTEN_ROWS` rows. Answers
 * `{success, rows_affected, message}` as JSON.
 */
export function createDatabaseWrite({ tables, ...options }: DatabaseToolOptions): Tool {
  const descriptions = usable(options.descriptions ?? [])
  return {
    name: 'database_write',
    kind: 'builtin',
    isConcurrencySafe: false,
    effects: ['writes'],
    maxResultChars: null,
    description: [
      'Inserts, updates or deletes rows of the database as the person you work for, within their rights.',
      `At most ${MAX_WRITTEN_ROWS} rows at once. Updates and deletes need "where" with at least one column; all must be equal. Tables:`,
      describeTables(tables, descriptions),
    ].join('\n'),
    inputSchema: {
      type: 'object',
      properties: {
        table: {
          type: 'string',
          minLength: 1,
          maxLength: 129,
          description: 'Name of a table, with its schema unless that is public.',
        },
        operation: { type: 'string', enum: ['insert', 'update', 'delete'] },
        data: {
          description:
            'insert: one row or a list of rows; update: the columns to change. An object of column names and values.',
          anyOf: [{ type: 'object' }, { type: 'array', items: { type: 'object' }, maxItems: MAX_WRITTEN_ROWS }],
        },
        where: {
          type: 'object',
          description: 'update and delete: columns and the values they must have; null matches NULL.',
        },
      },
      required: ['table', 'operation'],
      additionalProperties: false,
    },
    async execute(args, { principal, signal, log }) {
      try {
        const [first = '', second] = String(args['table']).split('.')
        if (String(args['table']).split('.').length > 2) throw findTableRefusal()
        const table = second === undefined ? findTable(tables, undefined, first) : findTable(tables, first, second)
        const write = readWrite(args)
        if (signal.aborted) throw abortOf(signal)
        const query = (await principal.actingDb()).schema(table.schema).from(table.name)
        for (const [name, value] of write.filters) query.url.searchParams.append(name, value)
        // In one request with the change: more matches roll it back. A PostgREST too old to know it refuses, being strict.
        if (write.operation !== 'insert')
          query.headers.append('prefer', `handling=strict, max-affected=${MAX_WRITTEN_ROWS}`)
        const request =
          write.operation === 'insert'
            ? query.insert(write.rows, { count: 'exact', defaultToNull: false })
            : write.operation === 'update'
              ? query.update(write.rows[0] ?? {}, { count: 'exact' })
              : query.delete({ count: 'exact' })
        const { error, count } = await request.abortSignal(signal)
        if (error) throw refusalOf(error, signal, log)
        return { text: JSON.stringify(resultOf(write.operation, count ?? 0)) }
      } catch (error) {
        if (!(error instanceof QueryRefused)) throw error
        return { text: JSON.stringify({ success: false, rows_affected: 0, message: error.message }), isError: true }
      }
    },
  }
}

const findTableRefusal = (): QueryRefused =>
  new QueryRefused(
    'This is no name of a table.',
    'Example: {"table": "documents", "operation": "delete", "where": {"id": 7}}',
  )

function resultOf(
  operation: Operation,
  rowsAffected: number,
): { success: boolean; rows_affected: number; message: string } {
  const rows = rowsAffected === 1 ? '1 row' : `${rowsAffected} rows`
  const message =
    rowsAffected > 0
      ? `${rows} ${operation === 'insert' ? 'inserted' : operation === 'update' ? 'updated' : 'deleted'}.`
      : NO_ROWS
  return { success: true, rows_affected: rowsAffected, message }
}

const NO_ROWS = 'No row matched that the person you work for may change.'

const isRow = (value: unknown): value is Row => typeof value === 'object' && value !== null && !Array.isArray(value)

/** Checks the arguments. @throws QueryRefused */
function readWrite(args: Row): { operation: Operation; rows: Row[]; filters: [name: string, value: string][] } {
  const operation = args['operation'] as Operation
  const { data, where } = args
  if (operation === 'insert' && where !== undefined && !(isRow(where) && Object.keys(where).length === 0)) {
    throw new QueryRefused('An insert has no condition.', 'Leave "where" out, or use "operation": "update".')
  }
  return {
    operation,
    rows: operation === 'delete' ? [] : rowsOf(data, operation),
    filters: operation === 'insert' ? [] : filtersOf(where),
  }
}

/** A number that was rounded when it was read names another row, or becomes another value, than was written. @throws QueryRefused */
function checkDigits(value: unknown): void {
  if (!hasLostDigits(value)) return
  throw new QueryRefused(
    'Whole numbers beyond 9007199254740991 cannot be sent as numbers: they would be rounded.',
    'Write it as a text: {"where": {"id": "9007199254740993"}}',
  )
}

function rowsOf(data: unknown, operation: Operation): Row[] {
  const rows = Array.isArray(data) ? (data as unknown[]) : [data]
  if (rows.length === 0 || !rows.every(isRow) || (operation === 'update' && rows.length > 1)) {
    throw new QueryRefused(
      `"data" of an ${operation} must be ${operation === 'insert' ? 'a row or a list of rows' : 'one object'}.`,
      'Example: {"data": {"title": "Minutes", "done": true}}',
    )
  }
  if (rows.length > MAX_WRITTEN_ROWS) {
    throw new QueryRefused(`At most ${MAX_WRITTEN_ROWS} rows can be inserted at once.`, 'Send them in several calls.')
  }
  for (const row of rows) {
    const columns = Object.keys(row)
    if (columns.length === 0 || columns.length > MAX_COLUMNS) {
      throw new QueryRefused('A row of "data" has no columns, or too many.', 'Example: {"data": {"title": "Minutes"}}')
    }
    columns.forEach(checkedColumn)
    Object.values(row).forEach(checkDigits)
  }
  return rows
}

function filtersOf(where: unknown): [name: string, value: string][] {
  const entries = isRow(where) ? Object.entries(where) : []
  if (entries.length === 0 || entries.length > MAX_COLUMNS) {
    throw new QueryRefused(
      '"where" is missing: updates and deletes need at least one column to match.',
      'Example: {"where": {"id": "6f1c..."}}. Query the rows first if you do not know their ids.',
    )
  }
  return entries.map(([name, value]) => {
    const column = checkedColumn(name)
    if (RESERVED.has(column))
      throw new QueryRefused(`The column ${column} cannot be used here.`, 'Match rows by their id.')
    if (value === null) return [column, 'is.null']
    checkDigits(value)
    if (typeof value !== 'string' && typeof value !== 'boolean' && !Number.isFinite(value)) {
      throw new QueryRefused(
        '"where" compares for equality only.',
        'Give each column a text, a number, true, false or null.',
      )
    }
    return [column, `in.(${quoted(String(value))})`]
  })
}
