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
  ['database-types', node, 'scripts/generate-types.ts', '--check'],
]

const wanted = process.argv.slice(2)
const unknown = wanted.filter((name) => !CHECKS.some(([known]) => known === name))
if (unknown.length > 0) {
  console.error(`Unknown: ${unknown.join(', ')}. There are: ${CHECKS.map(([name]) => name).join(', ')}.`)
  process.exit(2)
}

let passed = 0
let failed = 0
for (const [name, command, ...args] of CHECKS) {
  if (wanted.length > 0 && !wanted.includes(name)) continue
  const startedAt = Date.now()
  const { code, output } = await run(command, args)
  const seconds = ((Date.now() - startedAt) / 1000).toFixed(1)
  if (code === 0) passed++
  else failed++
  console.log(`${code === 0 ? 'ok    ' : 'FAILED'} ${name} (${seconds} s)`)
  if (code !== 0) console.log(output.trimEnd())
}
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1
