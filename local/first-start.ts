import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Guards the making of a database against interruption. PGlite cannot open a folder whose making was cut off (kill -9,
 * power lost), so a note lies beside it until it is complete; a folder with that note holds nothing yet and is begun anew.
 * A folder without the note is never touched.
 *
 * @param database the folder of the database, which need not exist
 * @returns whether this is a first start, and what to call when the database is complete
 */
export function prepareFirstStart(database: string): { isFirst: boolean; complete: () => void } {
  const note = `${database}.unfinished`
  if (existsSync(note)) rmSync(database, { recursive: true, force: true })
  const isFirst = !existsSync(join(database, 'PG_VERSION'))
  if (isFirst) {
    mkdirSync(join(database, '..'), { recursive: true })
    writeFileSync(note, 'The database beside this note is being made. Should that be interrupted, it is begun anew.\n')
  }
  return { isFirst, complete: () => rmSync(note, { force: true }) }
}
