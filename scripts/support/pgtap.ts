import { globSync, readFileSync } from 'node:fs'
import type { SessionDatabase } from '../../local/database/database.ts'
import { SESSION_RESET } from '../../local/database/sessions.ts'
import { splitStatements } from '../../local/database/statements.ts'
import { readTap, type TapReport } from './tap.ts'

/** Makes pgTAP and the functions of tests/support/pgtap (schema `tests`) available in a database. */
export async function loadPgtap(database: SessionDatabase): Promise<void> {
  await database.exec('create extension if not exists pgtap with schema extensions')
  for (const file of globSync('tests/support/pgtap/*.sql').sort()) await database.exec(readFileSync(file, 'utf8'))
}

/** Runs one file, which begins and rolls back its own transaction, in a session of its own, and reads what it printed. */
export async function runPgtapFile(database: SessionDatabase, file: string): Promise<TapReport> {
  const session = await database.lease()
  const output: string[] = []
  let broken: string | null = null
  try {
    for (const statement of splitStatements(readFileSync(file, 'utf8'))) {
      const { rows } = await session.run(statement)
      for (const row of rows) for (const value of Object.values(row)) if (typeof value === 'string') output.push(value)
    }
  } catch (error) {
    const { message, code, where } = error as Error & { code?: string; where?: string }
    broken = `error: ${message}${code ? ` (SQLSTATE ${code})` : ''}${where ? `\n  ${where}` : ''}`
  } finally {
    await session.exec('rollback').catch(() => {})
    await session.exec(SESSION_RESET)
    await session.release()
  }
  const report = readTap(output)
  return broken === null ? report : { ...report, failed: report.failed + 1, failures: [...report.failures, broken] }
}
