import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { afterAll, describe, expect, test } from 'vitest'
import { applyMigrations, applySeeds, foreignMigrations } from '../../local/database/migrations.ts'
import { splitStatements } from '../../local/database/statements.ts'
import { supabaseCli } from '../../scripts/support/supabase-cli.ts'
import { FIXTURE_PROJECT } from '../support/stack-project.ts'
import { useStack } from '../support/stack.ts'

const folder = mkdtempSync(path.join(os.tmpdir(), 'bulkhead-migrations-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Runs the Supabase CLI on a project; its settings go to a folder of ours and it sends no telemetry. */
const supabase = async (workdir: string, ...args: string[]) => {
  const env = { ...process.env, HOME: folder, SUPABASE_TELEMETRY_DISABLED: '1', DO_NOT_TRACK: '1' }
  const { stdout, stderr } = await promisify(execFile)(supabaseCli(), [...args, '--workdir', workdir], { env })
  return stdout + stderr
}

/** An empty project: the stack brings the platform's objects, the test the migrations. */
const emptyProject = path.join(folder, 'empty')
mkdirSync(emptyProject)
const stack = useStack({ projectDir: emptyProject })

describe('statements', () => {
  test.each([
    ['select 1; select 2;', ['select 1', 'select 2']],
    ["select ';'; select E'\\';'; select ''';';", ["select ';'", "select E'\\';'", "select ''';'"]],
    ['select $$a;b$$; select $x$ ; $$ ; $x$;', ['select $$a;b$$', 'select $x$ ; $$ ; $x$']],
    ['-- a; b\nselect 1; /* c; /* d; */ e; */ select 2', ['-- a; b\nselect 1', '/* c; /* d; */ e; */ select 2']],
    [
      'create rule r as on delete to v do instead (select 1; select 2); select 3',
      ['create rule r as on delete to v do instead (select 1; select 2)', 'select 3'],
    ],
    [
      'create function f() returns int language sql begin atomic select case when true then 1 end; select 2; end; select 3',
      [
        'create function f() returns int language sql begin atomic select case when true then 1 end; select 2; end',
        'select 3',
      ],
    ],
    ['select "a;b" from t$1; select a$b$c from t;', ['select "a;b" from t$1', 'select a$b$c from t']],
    [' ;; \n; select 1 ;;', ['select 1']],
    ['begin; select 1; end;', ['begin', 'select 1', 'end']],
    ["select 'not closed; still", ["select 'not closed; still"]],
    ['', []],
  ])('%j', (sql, statements) => {
    expect(splitStatements(sql)).toEqual(statements)
  })
})

const record = () =>
  stack.db.query('select version, name, statements from supabase_migrations.schema_migrations order by version')
const seeds = () => stack.db.query('select path, hash from supabase_migrations.seed_files')
const forget = () =>
  stack.db.exec(`drop schema ai cascade; drop schema public cascade; create schema public;
    grant usage on schema public to anon, authenticated, service_role;
    truncate supabase_migrations.schema_migrations, supabase_migrations.seed_files;
    delete from auth.users`)

test('are applied and recorded exactly as the Supabase CLI does, seed included', { timeout: 120_000 }, async () => {
  const workdir = path.join(folder, 'cli')
  cpSync(FIXTURE_PROJECT, path.join(workdir, 'supabase'), { recursive: true })
  const remote = `--remote=${stack.dbUrl}?sslmode=disable`

  expect(await applyMigrations(stack.db, FIXTURE_PROJECT)).toHaveLength(2)
  expect(await applySeeds(stack.db, FIXTURE_PROJECT, ['./seed.sql'])).toEqual(['supabase/seed.sql'])
  const ours = { migrations: await record(), seeds: await seeds() }
  expect(ours.migrations.map(({ version, name }) => [version, name])).toEqual([
    ['20260101000000', 'create_notes'],
    ['20260101000100', 'create_functions'],
  ])
  const listed = await supabase(workdir, 'migration', 'list', remote)
  expect(listed.match(/`(\d{14})` \| `\1`/g)).toHaveLength(2)
  expect(await supabase(workdir, 'db', 'push', remote, '--yes')).toMatch(/up to date/i)

  await forget()
  await supabase(workdir, 'db', 'push', remote, '--include-seed', '--yes')
  const theirs = { migrations: await record(), seeds: await seeds() }
  expect(theirs).toEqual(ours)

  // And the other way round: after the CLI there is nothing left for us to do.
  expect(await applyMigrations(stack.db, FIXTURE_PROJECT)).toEqual([])
  expect(await applySeeds(stack.db, FIXTURE_PROJECT, ['./seed.sql'])).toEqual([])
  await forget()
})

test('can be ended in between, by whatever comes in meanwhile, and go on later; those of others are known', async () => {
  const project = path.join(folder, 'ended')
  mkdirSync(path.join(project, 'migrations'), { recursive: true })
  const files = ['20260103000000_first.sql', '20260103000001_second.sql', '20260103000002_third.sql']
  files.forEach((file, index) =>
    writeFileSync(path.join(project, 'migrations', file), `create table public.ended_${index} (id int);`),
  )
  let asked = 0
  const endsAfterOne = {
    throwIfAborted() {
      if (++asked > 1) throw new DOMException('It was aborted.', 'AbortError')
    },
  } as AbortSignal
  await expect(applyMigrations(stack.db, project, endsAfterOne)).rejects.toThrow(/aborted/)
  // A Ctrl-C comes from outside: others have their turn between two migrations.
  let turns = 0
  let next: NodeJS.Immediate
  const takeTurn = () => {
    turns++
    next = setImmediate(takeTurn)
  }
  takeTurn()
  expect(await applyMigrations(stack.db, project)).toEqual(files.slice(1))
  clearImmediate(next!)
  expect(turns).toBeGreaterThan(files.length - 1)
  expect(await foreignMigrations(stack.db, project)).not.toContain('20260103000001_second')
  rmSync(path.join(project, 'migrations', files[1] ?? ''))
  expect(await foreignMigrations(stack.db, project)).toContain('20260103000001_second')
  await stack.db.exec(`drop table public.ended_0, public.ended_1, public.ended_2;
    delete from supabase_migrations.schema_migrations where version like '20260103%'`)
})

describe('a migration that fails', () => {
  const project = path.join(folder, 'failing')
  mkdirSync(path.join(project, 'migrations'), { recursive: true })
  const write = (name: string, sql: string) => writeFileSync(path.join(project, 'migrations', name), sql)

  test('names file, statement and reason, leaves nothing of itself, and can be mended', async () => {
    write('20260102000000_first.sql', 'create table public.first_one (id int);')
    write(
      '20260102000001_second.sql',
      'create table public.second_one (id int); set search_path to nowhere;\nselect broken();',
    )
    write('not a migration.sql', 'select broken()')
    const error = (await applyMigrations(stack.db, project).catch((reason: unknown) => reason)) as Error
    expect(error.message).toMatch(/20260102000001_second\.sql: function broken\(\) does not exist \(SQLSTATE 42883\)/)
    expect(error.message).toContain('At statement 3:\nselect broken()')
    expect((await record()).map(({ version }) => version)).toEqual(['20260102000000'])
    expect(
      await stack.db.query(`select to_regclass('public.second_one') as t, current_setting('search_path') as path`),
    ).toEqual([{ t: null, path: '"$user", public, extensions' }])
    write('20260102000001_second.sql', 'create table public.second_one (id int);')
    expect(await applyMigrations(stack.db, project)).toEqual(['20260102000001_second.sql'])
    expect(await applyMigrations(stack.db, project)).toEqual([])
  })
})

test('a seed runs once, even if it changes', async () => {
  const project = path.join(folder, 'seeded')
  mkdirSync(project)
  writeFileSync(path.join(project, 'seed.sql'), 'create table public.seeded as select 1 as n;')
  expect(await applySeeds(stack.db, project, ['./seed.sql', './missing.sql'])).toEqual(['supabase/seed.sql'])
  writeFileSync(path.join(project, 'seed.sql'), 'insert into public.seeded values (2);')
  expect(await applySeeds(stack.db, project, ['./seed.sql'])).toEqual([])
  expect(await stack.db.query('select n from public.seeded')).toEqual([{ n: 1 }])
})
