import { createHash } from 'node:crypto'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import path from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import type { Session, SessionDatabase, Sql } from './database.ts'
import { SESSION_RESET } from './sessions.ts'
import { splitStatements } from './statements.ts'

/** The tables in which the Supabase CLI records what it has done, in its words, so that either may go on after the other. */
const HISTORY_TABLES = `
create schema if not exists supabase_migrations;
create table if not exists supabase_migrations.schema_migrations (version text not null primary key);
alter table supabase_migrations.schema_migrations add column if not exists statements text[];
alter table supabase_migrations.schema_migrations add column if not exists name text;
create table if not exists supabase_migrations.seed_files (path text not null primary key, hash text not null);
`

export type Migration = { version: string; name: string; file: string; sql: string }

/** The migrations of a project folder in the order in which the CLI applies them. Other files are left out. */
export const readMigrations = (projectDir: string): Migration[] => {
  const folder = path.join(projectDir, 'migrations')
  if (!existsSync(folder)) return []
  return readdirSync(folder)
    .flatMap((file) => {
      const [, version, name] = /^([0-9]+)_(.*)\.sql$/.exec(file) ?? []
      return version && name !== undefined ? [{ version, name, file }] : []
    })
    .sort((a, b) => (a.version < b.version ? -1 : a.version > b.version ? 1 : 0))
    .map((migration) => ({ ...migration, sql: readFileSync(path.join(folder, migration.file), 'utf8') }))
}

/**
 * Applies the migrations that are not yet recorded, each in a transaction of its own together with its record.
 * @param signal ends it between two migrations.
 * @returns the files applied.
 * @throws an Error that names file and statement; migrations before it stay applied. AbortError when `signal` ended it.
 */
export const applyMigrations = async (
  database: SessionDatabase,
  projectDir: string,
  signal?: AbortSignal,
): Promise<string[]> => {
  await database.exec(HISTORY_TABLES)
  const recorded = await database.query<{ version: string }>(
    'select version from supabase_migrations.schema_migrations',
  )
  const applied = new Set(recorded.map(({ version }) => version))
  const pending = readMigrations(projectDir).filter(({ version }) => !applied.has(version))
  for (const migration of pending) {
    // PGlite works in this thread, and its answers let nothing else come in between: neither a Ctrl-C nor a timer.
    await turn()
    signal?.throwIfAborted()
    await applyMigration(database, migration)
  }
  if (pending.length > 0) await database.refreshTypes()
  return pending.map(({ file }) => file)
}

/** The migrations that a database has and the project folder has not: those of a newer version, or of another branch. */
export const foreignMigrations = async (database: Sql, projectDir: string): Promise<string[]> => {
  const known = new Set(readMigrations(projectDir).map(({ version }) => version))
  const recorded = await database.query<{ version: string; name: string | null }>(
    'select version, name from supabase_migrations.schema_migrations order by version',
  )
  return recorded.filter(({ version }) => !known.has(version)).map(({ version, name }) => `${version}_${name ?? ''}`)
}

const applyMigration = async (database: SessionDatabase, { version, name, file, sql }: Migration): Promise<void> => {
  const statements = splitStatements(sql)
  await inSession(database, file, async (session) => {
    await runEach(session, file, statements)
    await session.run(
      'insert into supabase_migrations.schema_migrations (version, name, statements) values ($1, $2, $3)',
      [version, name, statements],
    )
  })
}

/**
 * Runs the seed files that are not yet recorded, each once in the life of a database.
 * @param files paths relative to the project folder, as in config.toml.
 * @returns the files run.
 */
export const applySeeds = async (database: SessionDatabase, projectDir: string, files: string[]): Promise<string[]> => {
  const done: string[] = []
  for (const relative of files) {
    const file = path.resolve(projectDir, relative)
    // The CLI records the path as seen from the folder that holds supabase/.
    const record = path.posix.join('supabase', path.relative(projectDir, file).split(path.sep).join('/'))
    if (!existsSync(file)) continue
    const [known] = await database.query('select from supabase_migrations.seed_files where path = $1', [record])
    if (known) continue
    const sql = readFileSync(file)
    await inSession(database, relative, async (session) => {
      await runEach(session, relative, splitStatements(sql.toString('utf8')))
      const hash = createHash('sha256').update(sql).digest('hex')
      await session.run('insert into supabase_migrations.seed_files (path, hash) values ($1, $2)', [record, hash])
    })
    done.push(record)
  }
  return done
}

const inSession = async (
  database: SessionDatabase,
  file: string,
  fn: (session: Session) => Promise<void>,
): Promise<void> => {
  const session = await database.lease()
  try {
    await session.exec('begin')
    await fn(session)
    await session.exec('commit')
  } catch (error) {
    await session.exec('rollback')
    if (error instanceof SqlFileError) throw error
    throw new SqlFileError(`${file}: ${(error as Error).message}`, { cause: error })
  } finally {
    await session.exec(SESSION_RESET)
    await session.release()
  }
}

/** A migration or seed that did not apply; the message is fit to be shown as it is. */
export class SqlFileError extends Error {
  override name = 'SqlFileError'
}

const runEach = async (session: Session, file: string, statements: string[]): Promise<void> => {
  for (const [index, statement] of statements.entries()) {
    try {
      await session.exec(statement)
    } catch (error) {
      const { message, code, detail, hint, where } = error as Error & Record<string, string | undefined>
      const lines = [
        `${file}: ${message}${code ? ` (SQLSTATE ${code})` : ''}`,
        detail && `Detail: ${detail}`,
        hint && `Hint: ${hint}`,
        where && `Where: ${where}`,
        `At statement ${index + 1}:\n${statement.length > 2000 ? `${statement.slice(0, 2000)}\n...` : statement}`,
      ]
      throw new SqlFileError(lines.filter(Boolean).join('\n'), { cause: error })
    }
  }
}
