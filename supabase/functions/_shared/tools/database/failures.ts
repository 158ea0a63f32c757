import type { Log } from '../../errors.ts'
import { QueryRefused } from './refusal.ts'

/** What supabase-js says of a request that failed. */
export type Failure = { code?: string | null; message?: string | null }

const TRY_AGAIN = 'Try again later.'

/** What the model is told. The database's own texts quote values, and its hints name columns nobody asked for. */
const BY_CODE: Record<string, [problem: string, instead: string]> = {
  '21000': ['This join cannot be answered here.', 'Query one table, then the other with the values found.'],
  '22001': ['A text is too long for its column.', 'Shorten it.'],
  '22003': ['A number is out of range for its column.', 'Use another number.'],
  '22007': ['A date or time has the wrong form.', "Write it as '2026-01-31' or '2026-01-31T09:30:00Z'."],
  '22008': ['A date or time is out of range.', "Write it as '2026-01-31' or '2026-01-31T09:30:00Z'."],
  '22P02': [
    'A value has the wrong form for its column.',
    "Numbers need digits, ids the form of a UUID, arrays '{a,b}', JSON valid JSON.",
  ],
  '22P05': ['A value contains a character that no text can have.', 'Remove it.'],
  '22023': ['A value cannot be used this way.', 'Use a simpler condition.'],
  '23502': ['A column that needs a value has none.', 'Give a value for every required column.'],
  '23503': [
    'A value refers to a row that does not exist, or other rows refer to this one.',
    'Query the other table first.',
  ],
  '23505': ['A row with these values exists already.', 'Update that one instead, or change the values.'],
  '23514': ['A value is not allowed in its column.', 'Query existing rows to see which values are used.'],
  '25006': ['The database takes no changes now.', TRY_AGAIN],
  '42501': [
    'You may not do this.',
    'The table or one of its columns is closed to the person you work for. Name the columns you need instead of *.',
  ],
  '42702': ['The rows cannot be sorted this way.', 'Sort by columns of one of the tables only.'],
  '42703': ['The table has no column of that name.', 'Select * with LIMIT 1 to see its columns.'],
  '42804': ['A value has the wrong type for its column.', 'Query the table to see what its values look like.'],
  '42883': [
    'This operator does not work on this column.',
    'LIKE needs text; for other columns use =, <, > or BETWEEN.',
  ],
  '42P01': ['This table does not exist.', 'Use another of the available tables.'],
  '57014': ['The database took too long.', 'Narrow the query down with WHERE, and select fewer columns.'],
  PGRST100: ['The request could not be understood by the database.', 'Write a simpler condition.'],
  PGRST106: ['The schema of this table is not open to the API.', 'Use a table of another schema.'],
  PGRST103: ['The offset is beyond the last row.', 'Use a smaller OFFSET.'],
  PGRST124: [
    'The condition matches too many rows, so none was changed.',
    'Narrow it down: at most 100 rows can be changed at once.',
  ],
  PGRST200: ['The tables are not connected by a foreign key.', 'Query one, then the other with the values found.'],
  PGRST201: ['The tables are connected by several foreign keys.', 'Query one, then the other with the values found.'],
  PGRST204: ['The table has no column of that name.', 'Query it to see its columns.'],
  PGRST205: ['This table does not exist.', 'Use another of the available tables.'],
}

/**
 * The refusal for a request the database did not carry out. Logs its code; the texts of the database go nowhere.
 * @param signal whose abort is thrown as it is, because then the run has ended.
 */
export function refusalOf(failure: Failure, signal: AbortSignal, log: Log): Error {
  if (signal.aborted) return abortOf(signal)
  const code = failure.code ?? ''
  log.info('database_tool_refused', { code })
  const known = BY_CODE[code]
  if (known) return new QueryRefused(...known)
  if (/^PT4/.test(code)) return new QueryRefused('The database refused this by one of its rules.', 'Use other values.')
  if (/^(22|23)/.test(code)) return new QueryRefused('A value does not fit its column.', 'Use other values.')
  if (/^42/.test(code))
    return new QueryRefused('The query does not fit the table.', 'Select * with LIMIT 1 to see its columns.')
  return new QueryRefused('The database cannot answer now.', TRY_AGAIN)
}

/** What an aborted call throws. */
export const abortOf = (signal: AbortSignal): Error =>
  signal.reason instanceof Error ? signal.reason : new DOMException('The call was cancelled.', 'AbortError')
