import { readdirSync, readFileSync, existsSync } from 'node:fs'
import { join } from 'node:path'
import { problemsOfPins } from './support/pins.ts'
import { report } from './support/report.ts'

// Locally the functions resolve their packages from node_modules, when deployed from their deno.json: both must name
// the same versions.
const packageJson = JSON.parse(readFileSync('package.json', 'utf8'))
const root = 'supabase/functions'
const problems = readdirSync(root)
  .map((name) => join(root, name, 'deno.json'))
  .filter((file) => existsSync(file))
  .flatMap((file) => problemsOfPins(file, JSON.parse(readFileSync(file, 'utf8')), packageJson))
report('pins', problems)
