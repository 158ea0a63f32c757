import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import {
  countAgain,
  countVitest,
  type Counts,
  filesToTryAlone,
  lastCounts,
  namesOfFailed,
  type VitestReport,
} from './support/counts.ts'

// `npm test [filter...]`: vitest (only files that match a filter, if any), and beside it pgTAP. On PGlite, or on a native
// PostgreSQL when TEST_DATABASE_URL names one. Files that fail are run once more, alone, when they are few; what passes
// then counts as passed and is named. Ends with `N passed, N failed` of both together.

/** Runs a program, with its output shown as it comes unless that is to wait; gives its exit code and that output. */
function run(args: string[], { shown }: { shown: boolean }): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    const chunks: Buffer[] = []
    child.stdout.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      if (shown) process.stdout.write(chunk)
    })
    child.once('close', (code) => resolve({ code: code ?? 1, output: Buffer.concat(chunks).toString() }))
  })
}

/** Runs vitest with these arguments; its report is null when it ended before it could write one. */
async function vitestReport(args: string[]): Promise<{ code: number; report: VitestReport | null }> {
  const folder = mkdtempSync(join(tmpdir(), 'bulkhead-test-'))
  const file = join(folder, 'report.json')
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${file}`]
  const { code } = await run(['node_modules/vitest/vitest.mjs', 'run', ...reporters, ...args], { shown: true })
  try {
    return { code, report: JSON.parse(readFileSync(file, 'utf8')) as VitestReport }
  } catch {
    return { code, report: null }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** The tests that failed beside others and passed alone. */
const passedAlone: string[] = []

async function runVitest(filters: string[]): Promise<Counts> {
  const { code, report } = await vitestReport(filters)
  if (!report) return { passed: 0, failed: 1 }
  const files = filesToTryAlone(report)
  if (files.length === 0) return countVitest(report, code)
  console.log(`Once more, alone: ${files.join(', ')}`)
  const again = await vitestReport(['--maxWorkers=1', '--isolate', ...files])
  if (!again.report) return countVitest(report, code)
  if (again.code === 0) passedAlone.push(...namesOfFailed(report))
  return countAgain(report, countVitest(again.report, again.code))
}

/** Starts pgTAP, which keeps one core busy for a minute; what it printed is shown when `counts` is asked for. */
function startPgtap(): { counts(): Promise<Counts> } {
  const running = run(['scripts/run-pgtap.ts'], { shown: false })
  return {
    async counts() {
      const { code, output } = await running
      process.stdout.write(output)
      const counts = lastCounts(output)
      if (!counts) return { passed: 0, failed: 1 }
      return code !== 0 && counts.failed === 0 ? { ...counts, failed: 1 } : counts
    },
  }
}

const started = startPgtap()
const vitest = await runVitest(process.argv.slice(2))
const pgtap = await started.counts()
const failed = vitest.failed + pgtap.failed
for (const name of passedAlone) console.log(`Failed beside others and passed alone: ${name}`)
console.log(`${vitest.passed + pgtap.passed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1
