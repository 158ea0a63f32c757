import { existsSync, globSync } from 'node:fs'
import process from 'node:process'
import type { SessionDatabase } from '../local/database/database.ts'
import { loadPgtap, runPgtapFile } from './support/pgtap.ts'
import { withPreparedDatabase } from './support/prepared-database.ts'

// `npm run test:db [filter...]`: the pgTAP files under tests/database whose path contains a filter (all, without one),
// each in a session of its own, with the functions of tests/support/pgtap at hand. On PGlite, or on a native server when
// TEST_DATABASE_URL names one. The database is made for this run and thrown away after it.

const filters = process.argv.slice(2)
const files = globSync('tests/database/**/*.test.sql')
  .filter((file) => filters.length === 0 || filters.some((filter) => file.includes(filter)))
  .sort()

async function runAll(database: SessionDatabase): Promise<{ passed: number; failed: number }> {
  await loadPgtap(database)
  const total = { passed: 0, failed: 0 }
  for (const file of files) {
    const { passed, failed, failures, skipped } = await runPgtapFile(database, file)
    total.passed += passed
    total.failed += failed
    console.log(`${failed === 0 ? 'ok    ' : 'FAILED'} ${file} (${passed} passed${failed ? `, ${failed} failed` : ''})`)
    for (const line of failures) console.log(`       ${line.replaceAll('\n', '\n       ')}`)
    for (const reason of skipped) console.log(`       left out: ${reason}`)
  }
  return total
}

if (files.length === 0 && existsSync('tests/database')) {
  console.error(`No file under tests/database matches ${filters.join(' ')}.`)
  process.exit(2)
}
const serverUrl = process.env.TEST_DATABASE_URL
console.log(`pgTAP on ${serverUrl ? 'a native PostgreSQL' : 'PGlite'}: ${files.length} files`)
const { passed, failed } = await withPreparedDatabase(serverUrl, runAll)
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1
