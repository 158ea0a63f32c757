import { readFileSync, readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { setTimeout as sleep } from 'node:timers/promises'
import { getAuthSchemaSql, getStorageSchemaSql } from '@supabase/lite'
import type { SessionDatabase } from './database.ts'

const FOLDER = fileURLToPath(new URL('./bootstrap/', import.meta.url))
const STORAGE_SCRIPT = fileURLToPath(new URL('../storage/bootstrap.sql', import.meta.url))

/** What runs on an empty database before the first migration, and again, without effect, at every start. */
export const bootstrapScripts = (): { name: string; sql: string }[] => {
  const scripts = readdirSync(FOLDER)
    .filter((name) => name.endsWith('.sql'))
    .map((name) => ({ name, sql: readFileSync(FOLDER + name, 'utf8') }))
  // The engines' own tables stand between the schemas (20) and what refers to the tables (30 and later).
  scripts.push({ name: '25-auth-tables', sql: getAuthSchemaSql(true) })
  scripts.push({ name: '26-storage-tables', sql: getStorageSchemaSql(true) })
  scripts.push({ name: '41-storage', sql: readFileSync(STORAGE_SCRIPT, 'utf8') })
  return scripts.sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** A role or database-wide object was touched by two stacks of one cluster at the same moment. */
const RACE = new Set(['XX000', '23505', '42710', '40001', '40P01'])

/** Creates what a Supabase project has before its first migration: roles, schemas, auth, storage, vault, realtime. */
export const bootstrap = async (database: SessionDatabase): Promise<void> => {
  for (const { name, sql } of bootstrapScripts()) {
    for (let attempt = 1; ; attempt++) {
      try {
        await database.exec(sql)
        break
      } catch (error) {
        const { code = '', message } = error as { code?: string; message: string }
        if (database.kind === 'pglite' || !RACE.has(code) || attempt === 5) {
          throw new Error(`The local platform schema could not be set up (${name}): ${message}`, { cause: error })
        }
        await sleep(50 * attempt)
      }
    }
  }
  await database.refreshTypes()
}
