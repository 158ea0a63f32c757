import type { PGlite } from '@electric-sql/pglite'
import { splitStatements } from '../statements.ts'
import { bodyOf, commandComplete, errorResponse, readCstring, type Message } from './codec.ts'

// COPY ... FROM STDIN would end the backend of PGlite. Its data is collected and read by Postgres as a file instead.

export type Copy = { sql: string; chunks: Buffer[] }

const FROM_STDIN = /\bfrom\s+stdin\b/i

/** The statement with its source replaced when `sql` is a single COPY ... FROM STDIN; null for all other SQL. */
export const copyStatement = (sql: string): string | null => {
  const statement = sql.trim().replace(/;\s*$/, '')
  if (!/^copy\b/i.test(statement) || !FROM_STDIN.test(statement) || statement.includes(';')) return null
  return statement.replace(FROM_STDIN, `from '/dev/blob'`)
}

const LEADING_COMMENTS = /^(?:\s|--[^\n]*\n|\/\*[\s\S]*?\*\/)*/

/**
 * SQL that fails where `sql` would end PGlite's backend: a COPY ... FROM STDIN among other statements or in the extended
 * protocol. Null for all other SQL.
 */
export const refusedCopy = (sql: string): string | null => {
  if (!FROM_STDIN.test(sql)) return null
  const statements = splitStatements(sql).map((statement) => statement.replace(LEADING_COMMENTS, ''))
  if (!statements.some((statement) => /^copy\b/i.test(statement) && FROM_STDIN.test(statement))) return null
  return `do $$ begin raise exception using errcode = '0A000', message = 'COPY FROM STDIN must be a single simple statement here'; end $$`
}

export const beginCopy = (sql: string): Copy => ({ sql, chunks: [] })

/** Takes a message of the copy. @returns the answer when it was the last one, else null. */
export const runCopy = async (engine: PGlite, copy: Copy, incoming: Message): Promise<Buffer | null> => {
  if (incoming.type === 'd') {
    copy.chunks.push(Buffer.from(bodyOf(incoming)))
    return null
  }
  if (incoming.type === 'f') {
    const [reason] = readCstring(bodyOf(incoming), 0)
    return errorResponse('57014', `COPY from stdin failed: ${reason}`)
  }
  if (incoming.type !== 'c') return null
  try {
    const { affectedRows = 0 } = await engine.query(copy.sql, [], { blob: new Blob(copy.chunks as BlobPart[]) })
    return commandComplete(`COPY ${affectedRows}`)
  } catch (error) {
    const { code = 'XX000', message } = error as { code?: string; message: string }
    return errorResponse(code, message)
  }
}
