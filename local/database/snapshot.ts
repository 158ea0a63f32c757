import { createHash, randomBytes } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  rmdirSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { readProjectConfig } from '../config.ts'
import { bootstrapScripts } from './bootstrap.ts'
import { Snapshot } from './snapshot-file.ts'
import { readMigrations } from './migrations.ts'
import { openNative } from './native.ts'
import { openPglite } from './pglite.ts'
import { prepareDatabase } from './prepare.ts'

// A prepared database (platform objects, migrations, seed) that starts a copy of itself in about a second.

const DAY_MS = 24 * 60 * 60 * 1000
const LOCK_STALE_MS = 3 * 60 * 1000

/** Another one when snapshots are made in another way. */
const FORMAT = 'checkpointed'

/** Of an installed package. Not through its entry point: packages need not export their package.json. */
const packageVersion = (name: string): string => {
  for (let folder = import.meta.dirname; ; folder = path.dirname(folder)) {
    const file = path.join(folder, 'node_modules', name, 'package.json')
    if (existsSync(file)) return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
    if (folder === path.dirname(folder)) throw new Error(`The package ${name} is not installed.`)
  }
}

/** Names everything a prepared database is made of: another text anywhere gives another key. */
export const snapshotKey = (projectDir: string): string => {
  const hash = createHash('sha256')
  const add = (...parts: string[]) => parts.forEach((part) => hash.update(`${part.length}:${part}`))
  add(FORMAT, packageVersion('@electric-sql/pglite'), packageVersion('@supabase/lite'))
  for (const { name, sql } of bootstrapScripts()) add(name, sql)
  for (const { file, sql } of readMigrations(projectDir)) add(file, sql)
  for (const seed of readProjectConfig(projectDir).seedFiles) {
    const file = path.resolve(projectDir, seed)
    add(seed, existsSync(file) ? readFileSync(file, 'utf8') : '')
  }
  return hash.digest('hex').slice(0, 20)
}

const removeOld = (folder: string): void => {
  for (const name of readdirSync(folder)) {
    const file = path.join(folder, name)
    if (name.endsWith('.tar') && Date.now() - statSync(file).mtimeMs > DAY_MS) rmSync(file, { force: true })
  }
}

/** Lets one process make `file` while others wait for it. */
const madeOnce = async (file: string, make: () => Promise<void>): Promise<void> => {
  const lock = `${file}.lock`
  while (!existsSync(file)) {
    try {
      mkdirSync(lock)
    } catch {
      const since = statSync(lock, { throwIfNoEntry: false })?.mtimeMs
      if (since !== undefined && Date.now() - since > LOCK_STALE_MS) rmSync(lock, { recursive: true, force: true })
      else await sleep(100)
      continue
    }
    try {
      if (!existsSync(file)) await make()
    } finally {
      rmdirSync(lock)
    }
  }
}

/**
 * A PGlite snapshot of the project's prepared database, made on first use and kept in `folder`.
 * Pass it to `openPglite` or `startStack` as `snapshot`.
 */
export const createSnapshot = async (projectDir: string, folder: string): Promise<Snapshot> => {
  mkdirSync(folder, { recursive: true })
  const file = path.join(folder, `${snapshotKey(projectDir)}.tar`)
  await madeOnce(file, async () => {
    const database = await openPglite()
    try {
      await prepareDatabase(database, projectDir, readProjectConfig(projectDir), true)
      // So that a copy has nothing to recover from the log, and a log that is empty.
      await database.exec('select pg_switch_wal(); checkpoint')
      const dump = await database.engine.dumpDataDir('none')
      const draft = `${file}.${process.pid}`
      writeFileSync(draft, Buffer.from(await dump.arrayBuffer()))
      renameSync(draft, file)
    } finally {
      await database.close()
    }
    removeOld(folder)
  })
  let snapshot = opened.get(file)
  if (!snapshot) opened.set(file, (snapshot = new Snapshot(file)))
  return snapshot
}

/** By file: what one process starts again and again is read once. */
const opened = new Map<string, Snapshot>()

const databaseUrl = (serverUrl: string, name: string): string => {
  const url = new URL(serverUrl)
  url.pathname = `/${name}`
  return url.toString()
}

export type DatabaseCopy = {
  url: string
  /** Removes the copy, cutting off whoever still uses it. */
  drop(): Promise<void>
}

const COPY_PREFIX = 'bulkhead_test_'
const TEMPLATE_PREFIX = 'bulkhead_template_'

/**
 * The same on a native server: a template database is made on first use, and this makes a copy of it.
 * @param serverUrl of a superuser; its database is used for administration only.
 */
export const copyFromTemplate = async (projectDir: string, serverUrl: string): Promise<DatabaseCopy> => {
  const admin = postgres(serverUrl, { max: 1, onnotice: () => {} })
  const template = TEMPLATE_PREFIX + snapshotKey(projectDir)
  const name = `${COPY_PREFIX}${Date.now()}_${randomBytes(4).toString('hex')}`
  try {
    // One at a time: making the template, and dropping what crashed runs left behind.
    await admin`select pg_advisory_lock(hashtext('bulkhead template'))`
    await removeLeftovers(admin)
    const [existing] = await admin`select datistemplate from pg_database where datname = ${template}`
    if (!existing?.['datistemplate']) {
      await admin.unsafe(`drop database if exists ${template} with (force)`)
      await admin.unsafe(`create database ${template}`)
      const database = await openNative({ url: databaseUrl(serverUrl, template), poolSize: 2 })
      try {
        await prepareDatabase(database, projectDir, readProjectConfig(projectDir), true)
      } finally {
        await database.close()
      }
      await admin.unsafe(`comment on database ${template} is '${Date.now()}'`)
      await admin.unsafe(`alter database ${template} is_template true`)
    }
    await admin.unsafe(`create database ${name} template ${template}`)
    await copyRoleSettings(admin, template, name)
    await admin`select pg_advisory_unlock(hashtext('bulkhead template'))`
  } finally {
    await admin.end()
  }
  return {
    url: databaseUrl(serverUrl, name),
    async drop() {
      const again = postgres(serverUrl, { max: 1, onnotice: () => {} })
      await again.unsafe(`drop database if exists ${name} with (force)`)
      await again.end()
    },
  }
}

/** What `alter role ... in database ... set` has set is not in the database, so that a copy is made without it. */
const copyRoleSettings = async (admin: postgres.Sql, from: string, to: string): Promise<void> => {
  const rows = await admin<{ statement: string }[]>`
    select format(
      'alter role %s in database %I set %s = %L',
      setrole::regrole, ${to}::text, split_part(setting, '=', 1), substr(setting, strpos(setting, '=') + 1)
    ) as statement
    from pg_db_role_setting
    cross join unnest(setconfig) as setting
    where setrole <> 0 and setdatabase = (select oid from pg_database where datname = ${from})`
  for (const { statement } of rows) await admin.unsafe(statement)
}

/** Drops copies and templates that are more than a day old: the runs they were for are over. */
const removeLeftovers = async (admin: postgres.Sql): Promise<void> => {
  const rows = await admin<{ name: string; created: string | null; template: boolean }[]>`
    select datname as name, datistemplate as template,
      coalesce(shobj_description(oid, 'pg_database'), (regexp_match(datname, '_test_(\\d+)_'))[1]) as created
    from pg_database
    where datname like ${`${COPY_PREFIX}%`} or datname like ${`${TEMPLATE_PREFIX}%`}`
  for (const { name, created, template } of rows) {
    if (Date.now() - Number(created ?? Date.now()) < DAY_MS) continue
    if (template) await admin.unsafe(`alter database ${name} is_template false`)
    await admin.unsafe(`drop database if exists ${name} with (force)`)
  }
}
