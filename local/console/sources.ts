import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'

/** Folders and files that the console is built from; its build refuses any other (web/build/plugin.ts). */
const SOURCES = ['web', 'client', 'package-lock.json']
/** What is made from them, and lies among them. */
const MADE = ['web/dist', 'web/screenshots']

/** Whether a path, relative to the repository and with slashes, belongs to what the console is built from. */
export const isConsoleSource = (file: string): boolean => {
  const isIn = (folder: string) => file === folder || file.startsWith(`${folder}/`)
  return SOURCES.some(isIn) && !MADE.some(isIn)
}

/**
 * Names a build by what it is made from: another text anywhere gives another name. @throws when web/ is not there.
 * @param settings what else makes a difference, such as the key that is built in
 */
export const consoleHash = (rootDir: string, settings: string): string => {
  const hash = createHash('sha256').update(settings)
  const add = (file: string): void => {
    if (!isConsoleSource(file)) return
    const content = readFileSync(path.join(rootDir, file))
    hash.update(`\n${file}:${content.length}\n`).update(content)
  }
  const walk = (folder: string): void => {
    const entries = readdirSync(path.join(rootDir, folder), { withFileTypes: true })
    for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const file = `${folder}/${entry.name}`
      if (entry.isDirectory()) {
        if (isConsoleSource(file)) walk(file)
      } else if (entry.isFile()) add(file)
    }
  }
  walk('web')
  walk('client')
  add('package-lock.json')
  return hash.digest('hex').slice(0, 20)
}
