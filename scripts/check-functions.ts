import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { denoBinary } from '../local/functions/deno-command.ts'
import { discoverFunctions } from '../local/functions/discover.ts'
import { report } from './support/report.ts'
import { run } from './support/run.ts'

// `node scripts/check-functions.ts` type-checks the functions with the installed Deno and with the version the hosted Edge
// Runtime is built on: all with one command, since most of what it reads they share. Packages are those of node_modules here,
// in the versions that each deno.json names (check-pins.ts); what a deno.json lacks is found by check-import-maps.ts.
const EDGE_DENO = 'node_modules/deno-edge-linux-x64/deno'
const root = 'supabase/functions'
const env = {
  ...process.env,
  DENO_NO_UPDATE_CHECK: '1',
  NO_COLOR: '1',
  DENO_DIR: process.env.DENO_DIR ?? '.local/deno',
}

const problems: string[] = []
const lanes = [{ label: 'current', deno: denoBinary(process.env.DENO_BIN) }]
if (existsSync(EDGE_DENO)) lanes.push({ label: 'edge 2.1.4', deno: EDGE_DENO })
else
  console.log(
    `functions: the check on Deno 2.1.4 is left out, ${EDGE_DENO} is not there (it exists for linux-x64 only)`,
  )

const entries = discoverFunctions(root).map((name) => join(root, name, 'index.ts'))
for (const { label, deno } of lanes) {
  const { code, output } = await run(deno, ['check', '--node-modules-dir=manual', ...entries], env)
  if (code !== 0) problems.push(`on Deno ${label}\n${output}`)
}
report('functions', problems)
