import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { acquireDataLock, DataLockedError } from '../../local/data-lock.ts'
import { processIdentity } from '../../local/process/identity.ts'

let folder: string
const started: ChildProcessWithoutNullStreams[] = []

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'bulkhead-lock-'))
})
afterEach(() => {
  for (const child of started.splice(0)) child.kill('SIGKILL')
  rmSync(folder, { recursive: true })
})

/** Starts another process that takes the lock; gives it and its first word. */
async function contender(): Promise<{ child: ChildProcessWithoutNullStreams; word: string }> {
  const child = spawn(process.execPath, ['tests/fixtures/hold-data-lock.ts', folder])
  started.push(child)
  const [output] = (await once(child.stdout, 'data')) as [Buffer]
  return { child, word: output.toString().trim() }
}

test('a folder that is free is taken, created if need be, and given free again', () => {
  const inner = join(folder, 'a', 'b')
  const lock = acquireDataLock(inner)
  expect(existsSync(lock.file)).toBe(true)
  lock.release()
  lock.release()
  expect(readdirSync(inner)).toEqual([])
})

test('while another process holds it, the refusal names that process and its note', async () => {
  const { child } = await contender()
  expect(() => acquireDataLock(folder)).toThrow(DataLockedError)
  try {
    acquireDataLock(folder)
  } catch (error) {
    expect((error as DataLockedError).holder).toMatchObject({ pid: child.pid, note: 'http://127.0.0.1:1' })
    expect((error as Error).message).toContain(`process ${child.pid}`)
  }
})

test('when that process ends by itself, the folder is free', async () => {
  const { child } = await contender()
  child.stdin.end()
  await once(child, 'exit')
  expect(readdirSync(folder)).toEqual([])
})

test('the lock of a process that was killed is replaced', async () => {
  const { child } = await contender()
  child.kill('SIGKILL')
  await once(child, 'exit')
  expect(existsSync(join(folder, 'lock.json'))).toBe(true)
  acquireDataLock(folder).release()
})

test('the lock of a dead process is stale even when its pid belongs to somebody else now', () => {
  const holder = { pid: process.ppid, identity: 'another start time', started_at: '', note: '' }
  writeFileSync(join(folder, 'lock.json'), JSON.stringify(holder))
  acquireDataLock(folder).release()
})

test('an unreadable lock is replaced', () => {
  for (const text of ['', '{"pid":', '[]', 'null', '{"pid":"1"}']) {
    writeFileSync(join(folder, 'lock.json'), text)
    acquireDataLock(folder).release()
  }
  expect(readdirSync(folder)).toEqual([])
})

test('release leaves a lock that is no longer ours', () => {
  const lock = acquireDataLock(folder)
  writeFileSync(lock.file, 'of somebody else')
  lock.release()
  expect(readFileSync(lock.file, 'utf8')).toBe('of somebody else')
})

test('of eight processes that find the same stale lock exactly one gets it', async () => {
  for (let round = 0; round < 3; round++) {
    const stale = { pid: process.pid, identity: 'gone', started_at: '', note: '' }
    writeFileSync(join(folder, 'lock.json'), JSON.stringify(stale))
    const words = (await Promise.all(Array.from({ length: 8 }, contender))).map(({ word }) => word)
    expect(words.filter((word) => word === 'held')).toHaveLength(1)
    expect(words.filter((word) => word === 'DataLockedError')).toHaveLength(7)
    for (const child of started.splice(0)) child.kill('SIGKILL')
  }
})

test('a process has an identity while it runs and none afterwards', async () => {
  const child = spawn('sleep', ['60'])
  const identity = processIdentity(child.pid!)
  expect(identity).toMatch(/\d/)
  expect(processIdentity(child.pid!)).toBe(identity)
  expect(identity).not.toBe(processIdentity(process.ppid))
  child.kill('SIGKILL')
  await once(child, 'exit')
  expect(processIdentity(child.pid!)).toBeNull()
})
