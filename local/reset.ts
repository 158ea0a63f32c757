import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline/promises'
import process from 'node:process'
import { acquireDataLock } from './data-lock.ts'
import { StartProblem } from './start-problem.ts'

/** What the stack keeps in its data folder. Only these are removed: the folder may be shared by mistake. */
const CONTENTS = ['database', 'database.incomplete', 'storage', 'signing-key.json', 'deno']

/**
 * Removes all local data: database, stored files, signing key.
 * @throws DataLockedError while a stack is running on it
 */
export function removeLocalData(folder: string): void {
  const lock = acquireDataLock(folder)
  try {
    for (const name of CONTENTS) rmSync(join(folder, name), { recursive: true, force: true })
  } finally {
    lock.release()
  }
}

/**
 * Asks on the terminal before local data is removed; true means yes. Nothing to lose needs no question.
 * @throws StartProblem when there is nobody to ask
 */
export async function confirmReset(folder: string): Promise<boolean> {
  if (!existsSync(folder) || !readdirSync(folder).some((name) => CONTENTS.includes(name))) return true
  if (!process.stdin.isTTY) {
    throw new StartProblem(
      `This would remove all local data in ${folder}. Add --yes to confirm (npm run reset -- --yes).`,
    )
  }
  const terminal = createInterface({ input: process.stdin, output: process.stdout })
  try {
    const answer = await terminal.question(`Remove the local database, files and signing key in ${folder}? [y/N] `)
    return /^y(es)?$/i.test(answer.trim())
  } finally {
    terminal.close()
  }
}
