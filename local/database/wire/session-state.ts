import type { PGlite } from '@electric-sql/pglite'
import { runScript, runStatement } from '../pglite-statement.ts'
import { SESSION_RESET } from '../sessions.ts'

/** What one client has set for its session, to be put in place while it is its turn. */
export type SessionState = [name: string, value: string][]

/**
 * Ways to change session settings in SQL, where a statement begins: at the start, behind a semicolon or behind a comment.
 * What is SET for a transaction ends with it. A function that changes settings inside is not seen.
 */
const CHANGES_SETTINGS =
  /(?:^|;|\*\/|--[^\n]*\n)\s*(?:set(?!\s+(?:local|transaction|constraints)\b)|reset|discard|do)\b|\bset_config\b/i

export const mayChangeSettings = (sql: string): boolean => CHANGES_SETTINGS.test(sql)

/** Names of the application's own settings (with a dot) in SQL: Postgres keeps no list of them that could be read. */
export const customSettings = (sql: string): string[] =>
  [...sql.matchAll(/\bset\s+(?:session\s+)?([a-z_]\w*\.[\w.]+)\s*(?:=|to\b)|\bset_config\(\s*'([^']+\.[^']+)'/gi)].map(
    ([, set, configured]) => set ?? configured ?? '',
  )

/** What SESSION_RESET sets itself, and what cannot be set back. */
const BASELINE = new Map([
  ['search_path', '"$user", public, extensions'],
  ['TimeZone', 'UTC'],
])
const NOT_RESTORABLE = [
  'transaction_isolation', 'transaction_read_only', 'transaction_deferrable', 'is_superuser',
] // prettier-ignore

/** Puts the session back to how everybody else expects to find it. */
export const resetSession = async (engine: PGlite): Promise<void> => {
  await runScript(engine, SESSION_RESET)
}

/** Reads what a client has set since its session was clean. @param custom names of its own settings. */
export const readState = async (engine: PGlite, custom: string[]): Promise<SessionState> => {
  const { rows } = await runStatement(
    engine,
    `select name, current_setting(name) as value from pg_catalog.pg_settings
     where source = 'session' and name <> all ($1)
     union all
     select name, current_setting(name, true) from unnest($2::text[]) as custom (name)
     where current_setting(name, true) <> ''`,
    [NOT_RESTORABLE, custom],
  )
  const state = (rows as { name: string; value: string }[])
    .filter(({ name, value }) => BASELINE.get(name) !== value)
    .map(({ name, value }): [string, string] => [name, value])
  const [role] = (await runStatement(engine, `select current_setting('role') as role`, [])).rows as { role: string }[]
  // Last, because the role may not be allowed to set the others.
  return role && role.role !== 'none' ? [...state.filter(([name]) => name !== 'role'), ['role', role.role]] : state
}

export const applyState = async (engine: PGlite, state: SessionState): Promise<void> => {
  for (const [name, value] of state) {
    // A setting that cannot be made (any more) must not cost the client its connection.
    await runStatement(engine, 'select pg_catalog.set_config($1, $2, false)', [name, value]).catch(() => {})
  }
}

const FROM_STARTUP = new Set(['search_path', 'DateStyle', 'TimeZone', 'extra_float_digits', 'role'])

/** Settings from the start packet: parameters of their own, and `options` with `-c name=value`. */
export const stateFromStartup = (parameters: Record<string, string>): SessionState => {
  const options = [...(parameters['options'] ?? '').matchAll(/(?:-c\s*|--)([\w.]+)=((?:\\.|[^\s\\])*)/g)].map(
    ([, name = '', value = '']): [string, string] => [name.replaceAll('-', '_'), value.replace(/\\(.)/g, '$1')],
  )
  return [...Object.entries(parameters).filter(([name]) => FROM_STARTUP.has(name)), ...options]
}
