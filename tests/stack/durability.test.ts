import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, test } from 'vitest'
import { openPglite } from '../../local/database/pglite.ts'
import { prepareDatabase } from '../../local/database/prepare.ts'
import { FIXTURE_PROJECT } from '../support/stack-project.ts'

const WRITER = fileURLToPath(new URL('../fixtures/write-until-killed.ts', import.meta.url))
const folder = mkdtempSync(path.join(os.tmpdir(), 'bulkhead-durability-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Lets a process write until it has committed `rows` more rows, then kills it. @returns the ids it reported. */
const writeAndKill = async (dataDir: string, rows: number): Promise<number[]> => {
  const child = spawn(process.execPath, [WRITER, dataDir, FIXTURE_PROJECT], { stdio: ['ignore', 'pipe', 'pipe'] })
  let errors = ''
  child.stderr.on('data', (data) => (errors += String(data)))
  const exited = new Promise<string | null>((resolve) => child.on('exit', (_, signal) => resolve(signal)))
  const ids: number[] = []
  for await (const line of createInterface({ input: child.stdout })) {
    ids.push(Number(line))
    if (ids.length === rows) child.kill('SIGKILL')
  }
  expect([await exited, errors]).toEqual(['SIGKILL', ''])
  return ids
}

test('kill -9 in the middle of writing, three times: every committed row is there, and the schema is not applied again', async () => {
  const dataDir = path.join(folder, 'database')
  const committed: number[] = []
  for (const rows of [50, 200, 20]) committed.push(...(await writeAndKill(dataDir, rows)))
  expect(committed.length).toBeGreaterThanOrEqual(270)
  const db = await openPglite({ dataDir })
  try {
    expect(await prepareDatabase(db, FIXTURE_PROJECT, { seedFiles: ['./seed.sql'] }, true)).toEqual({
      migrations: [],
      seeds: [],
    })
    const [found] = await db.query(
      `select (select count(*)::int from public.attempts where id = any ($1::bigint[])) as attempts,
         (select count(*)::int from auth.users) as people`,
      [committed],
    )
    expect(found).toEqual({ attempts: committed.length, people: 2 })
  } finally {
    await db.close()
  }
})

test('kill -9 at any moment of the first start: the next one begins anew', async () => {
  const dataDir = path.join(folder, 'first-start')
  for (const ms of [250, 700, 1200, 2000, 3500]) {
    const child = spawn(process.execPath, [WRITER, dataDir, FIXTURE_PROJECT], { stdio: 'ignore' })
    const exited = new Promise((resolve) => child.on('exit', resolve))
    await sleep(ms)
    child.kill('SIGKILL')
    await exited
  }
  const db = await openPglite({ dataDir })
  try {
    await prepareDatabase(db, FIXTURE_PROJECT, { seedFiles: ['./seed.sql'] }, true)
    expect(await db.query('select count(*)::int as people from auth.users')).toEqual([{ people: 2 }])
  } finally {
    await db.close()
  }
})
