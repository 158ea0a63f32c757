import process from 'node:process'
import { denoBinary } from '../local/functions/deno-command.ts'
import { run } from './support/run.ts'

// `npm run check [name...]`: everything that can be known without running the product. Ends with `N passed, N failed`.
const node = process.execPath
const CHECKS: [name: string, command: string, ...args: string[]][] = [
  ['types', node, 'node_modules/typescript/bin/tsc', '-p', '.'],
  ['functions', node, 'scripts/check-functions.ts'],
  ['import-maps', node, 'scripts/check-import-maps.ts'],
  ['pins', node, 'scripts/check-pins.ts'],
  ['lint', denoBinary(), 'lint', '--quiet', 'supabase/functions'],
  ['format', node, 'node_modules/prettier/bin/prettier.cjs', '--check', '--log-level', 'warn', '.'],
  ['schema', node, 'scripts/schema-snapshot.ts', '--check'],
  ['console', node, 'scripts/check-console.ts'],
  ['database-types', node, 'scripts/generate-types.ts', '--check'],
]

const wanted = process.argv.slice(2)
const unknown = wanted.filter((name) => !CHECKS.some(([known]) => known === name))
if (unknown.length > 0) {
  console.error(`Unknown: ${unknown.join(', ')}. There are: ${CHECKS.map(([name]) => name).join(', ')}.`)
  process.exit(2)
}

/** One check's outcome, as it is printed. */
async function check([name, command, ...args]: (typeof CHECKS)[number]): Promise<{ ok: boolean; text: string }> {
  const startedAt = Date.now()
  const { code, output } = await run(command, args)
  const seconds = ((Date.now() - startedAt) / 1000).toFixed(1)
  if (code !== 0) return { ok: false, text: `FAILED ${name} (${seconds} s)\n${output.trimEnd()}` }
  // What a check has to say although it passed: what it measured or left out.
  const said = output.split('\n').filter((line) => line.trim() !== '' && !/^\S+: ok$/.test(line))
  return { ok: true, text: [`ok     ${name} (${seconds} s)`, ...said.map((line) => `       ${line}`)].join('\n') }
}

const chosen = wanted.length > 0 ? CHECKS.filter(([name]) => wanted.includes(name)) : CHECKS
let passed = 0
let failed = 0
let next = 0
/** Two at a time: each takes one core. */
const takeTurns = async (): Promise<void> => {
  for (let one = chosen[next++]; one; one = chosen[next++]) {
    const { ok, text } = await check(one)
    if (ok) passed++
    else failed++
    console.log(text)
  }
}
await Promise.all([takeTurns(), takeTurns()])
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1
