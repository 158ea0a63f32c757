import { join } from 'node:path'
import { denoBinary } from '../local/functions/deno-command.ts'
import { discoverFunctions } from '../local/functions/discover.ts'
import { report } from './support/report.ts'
import { run } from './support/run.ts'

// Locally a package that is missing from a function's deno.json is still found in node_modules; deployed, it is not.
// So this check resolves each function through its deno.json alone, types and what is imported later included. It fills
// Deno's cache from the npm registry once.
const root = 'supabase/functions'
const env = {
  DENO_TLS_CA_STORE: 'system,mozilla',
  ...process.env,
  DENO_DIR: process.env.DENO_DIR ?? '.local/deno',
  DENO_NO_PACKAGE_JSON: '1',
  DENO_NO_UPDATE_CHECK: '1',
  NO_COLOR: '1',
}

type Resolved = { error?: string }
type Graph = {
  modules: { specifier: string; error?: string; dependencies?: { code?: Resolved; type?: Resolved }[] }[]
}

/** What of a function's modules leads nowhere, each with the module that asks for it. */
function unresolved({ modules }: Graph): string[] {
  return modules.flatMap(({ specifier, error, dependencies = [] }) => [
    ...(error ? [`${specifier}: ${error}`] : []),
    ...dependencies.flatMap(({ code, type }) => code?.error ?? type?.error ?? []),
  ])
}

const problems: string[] = []
for (const name of discoverFunctions(root)) {
  const config = join(root, name, 'deno.json')
  const args = ['info', '--json', '--quiet', '--node-modules-dir=none', '--no-lock', '--config', config]
  const entry = join(root, name, 'index.ts')
  const { code, output, stdout } = await run(denoBinary(process.env.DENO_BIN), [...args, entry], env)
  const found = code === 0 ? unresolved(JSON.parse(stdout) as Graph) : [output]
  if (found.length > 0) problems.push(`${name}\n${found.join('\n')}`)
}
report('import maps', problems)
