import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

/** The names of the functions in a folder: those that have an index.ts, except folders that begin with `_` or `.`. */
export function discoverFunctions(root: string): string[] {
  return readdirSync(root, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && /^[a-z0-9]/i.test(entry.name))
    .map((entry) => entry.name)
    .filter((name) => existsSync(join(root, name, 'index.ts')))
    .sort()
}
