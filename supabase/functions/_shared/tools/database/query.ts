import type { Tool } from '../types.ts'
import { execute, MAX_ROWS, type QueryResult, requestOf } from './execute.ts'
import { MAX_QUERY_CHARS, parseStatement } from './parser.ts'
import { QueryRefused } from './refusal.ts'
import { hasLostDigits } from './rows.ts'
import { planOf } from './select.ts'
import { type AllowedTable, describeTables, type TableDescription, usable } from './tables.ts'

/** Characters of a result. */
export const MAX_RESULT_CHARS = 50_000

/** Room for what stands around the rows. */
const ENVELOPE_CHARS = 1000

/** Options of the database tools. */
export type DatabaseToolOptions = {
  /** What the assignment allows, from `readAllowList`; at least one table. */
  tables: readonly AllowedTable[]
  /** What is known about them: named in the description, checked against, and needed for joins. */
  descriptions?: readonly TableDescription[]
}

/**
 * The builtin `database_query`. The model's SQL is read, never run: it becomes a PostgREST request with a token of the person
 * the run acts for, so row-level security decides what it sees. Answers `{rows, row_count, note?}` as JSON.
 */
export function createDatabaseQuery({ tables, ...options }: DatabaseToolOptions): Tool {
  const descriptions = usable(options.descriptions ?? [])
  return {
    name: 'database_query',
    kind: 'builtin',
    isConcurrencySafe: true,
    effects: ['reads_untrusted'],
    maxResultChars: MAX_RESULT_CHARS,
    description: [
      'Reads rows of the database that the person you work for may see, by one SQL SELECT (PostgreSQL).',
      'It may have: columns, aliases, casts of columns, JSON paths (->, ->>), WHERE with literals, INNER and LEFT JOIN along foreign',
      'keys, count/sum/avg/min/max of columns with GROUP BY, DISTINCT, ORDER BY, LIMIT and OFFSET.',
      'It may not have: subqueries, WITH, UNION, HAVING, functions, window functions or expressions.',
      `Without LIMIT you get 100 rows, with it at most ${MAX_ROWS}. Tables:`,
      describeTables(tables, descriptions),
    ].join('\n'),
    inputSchema: {
      type: 'object',
      properties: {
        query: { type: 'string', minLength: 1, maxLength: MAX_QUERY_CHARS, description: 'One SELECT statement.' },
      },
      required: ['query'],
      additionalProperties: false,
    },
    async execute(args, { principal, signal, log }) {
      try {
        const plan = planOf(await parseStatement(String(args['query'])), tables, descriptions)
        // Whatever cannot be asked for is refused before anybody's rights are used.
        requestOf(plan, descriptions)
        return { text: resultText(await execute(plan, descriptions, { db: await principal.db(), signal, log })) }
      } catch (error) {
        if (error instanceof QueryRefused) return { text: error.message, isError: true }
        throw error
      }
    },
  }
}

const ROUNDED =
  'Whole numbers beyond 9007199254740991 are rounded here: cast the column to text to get all digits, as in id::text.'

/** Rows as JSON, as many as fit. */
export function resultText({ rows, notes }: QueryResult): string {
  const texts: string[] = []
  let length = 0
  for (const row of rows) {
    const text = JSON.stringify(row)
    length += text.length + 1
    if (length > MAX_RESULT_CHARS - ENVELOPE_CHARS) break
    texts.push(text)
  }
  const cut = `Only ${texts.length} of ${rows.length} rows fit into the answer. Select fewer columns or rows.`
  const isRounded = rows.slice(0, texts.length).some((row) => Object.values(row).some(hasLostDigits))
  const note = [...notes, ...(isRounded ? [ROUNDED] : []), ...(texts.length < rows.length ? [cut] : [])].join(' ')
  return `{"rows":[${texts.join(',')}],"row_count":${texts.length}${note === '' ? '' : `,"note":${JSON.stringify(note)}`}}`
}
