import { join } from 'node:path'
import { denoBinary } from '../local/functions/deno-command.ts'
import { discoverFunctions } from '../local/functions/discover.ts'
import { report } from './support/report.ts'
import { run } from './support/run.ts'

// Locally a package that is missing from a function's deno.json is still found in node_modules; deployed, it is not.
// So this check resolves each function through its deno.json alone. It fills Deno's cache from the npm registry once.
const root = 'supabase/functions'
const env = {
  DENO_TLS_CA_STORE: 'system,mozilla',
  ...process.env,
  DENO_DIR: process.env.DENO_DIR ?? '.local/deno',
  DENO_NO_PACKAGE_JSON: '1',
  DENO_NO_UPDATE_CHECK: '1',
  NO_COLOR: '1',
}

const problems: string[] = []
for (const name of discoverFunctions(root)) {
  const config = join(root, name, 'deno.json')
  const args = ['check', '--node-modules-dir=none', '--no-lock', '--config', config, join(root, name, 'index.ts')]
  const { code, output } = await run(denoBinary(process.env.DENO_BIN), args, env)
  if (code !== 0) problems.push(`${name}\n${output}`)
}
report('import maps', problems)
