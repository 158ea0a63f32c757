import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { countVitest, type Counts, lastCounts } from './support/counts.ts'

// `npm test [filter...]`: vitest (only files that match a filter, if any), then pgTAP. On PGlite, or on a native
// PostgreSQL when TEST_DATABASE_URL names one. Ends with `N passed, N failed` of both together.

/** Runs a program with its output shown as it comes; gives its exit code and that output. */
function show(args: string[]): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    const chunks: Buffer[] = []
    child.stdout.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      process.stdout.write(chunk)
    })
    child.once('close', (code) => resolve({ code: code ?? 1, output: Buffer.concat(chunks).toString() }))
  })
}

async function runVitest(filters: string[]): Promise<Counts> {
  const folder = mkdtempSync(join(tmpdir(), 'bulkhead-test-'))
  const file = join(folder, 'report.json')
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${file}`]
  const { code } = await show(['node_modules/vitest/vitest.mjs', 'run', ...reporters, ...filters])
  try {
    return countVitest(JSON.parse(readFileSync(file, 'utf8')), code)
  } catch {
    return { passed: 0, failed: 1 } // it ended before it could report
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function runPgtap(): Promise<Counts> {
  const { code, output } = await show(['scripts/run-pgtap.ts'])
  const counts = lastCounts(output)
  if (!counts) return { passed: 0, failed: 1 }
  return code !== 0 && counts.failed === 0 ? { ...counts, failed: 1 } : counts
}

const vitest = await runVitest(process.argv.slice(2))
const pgtap = await runPgtap()
const failed = vitest.failed + pgtap.failed
console.log(`${vitest.passed + pgtap.passed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1
