import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createClient } from '@supabase/supabase-js'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { openNative } from '../../local/database/native.ts'
import { createSnapshot } from '../../local/database/snapshot.ts'
import { processIdentity } from '../../local/process/identity.ts'
import { hasDatabase, startStack } from '../../local/stack.ts'
import { childrenOf } from '../support/child-processes.ts'
import { eventually } from '../support/eventually.ts'
import { PROJECT, SNAPSHOTS } from '../support/stack.ts'
import { spawnStack, untilReady, type StackProcess } from '../support/stack-process.ts'

// The stack as its users run it: a process of its own, ended by signals. The tests share one data folder and run in the
// order in which they stand, because what is to be seen is how each start finds what the one before has left; and what one
// has started the next goes on with, because each start takes seconds.
const folder = mkdtempSync(join(tmpdir(), 'bulkhead-process-'))
const stacks: StackProcess[] = []

function start(env: Record<string, string> = {}, args: string[] = []): StackProcess {
  const stack = spawnStack({ BULKHEAD_DATA_DIR: folder, ...env }, args)
  stacks.push(stack)
  return stack
}

const allGone = (pids: number[]) =>
  eventually(() => expect(pids.filter((pid) => processIdentity(pid) !== null)).toEqual([]))

async function countTenants(stack: StackProcess): Promise<number> {
  const client = createClient(stack.printed('API URL'), stack.printed('Secret key'), {
    auth: { persistSession: false },
  })
  const { count, error } = await client.from('tenants').select('*', { count: 'exact', head: true })
  expect(error).toBeNull()
  return count ?? -1
}

const endAll = async () => {
  for (const stack of stacks.splice(0)) {
    stack.child.kill('SIGKILL')
    await stack.exited
  }
}
afterAll(async () => {
  await endAll()
  rmSync(folder, { recursive: true, force: true })
})

describe('one stack', { timeout: 120_000 }, () => {
  afterAll(endAll)
  /** The stack that runs from one test into the next. */
  let stack: StackProcess

  test('reset asks for a confirmation that nobody is there to give', async () => {
    // What is to be reset: a stack that has been used. Quicker than one of a process of its own.
    const used = await startStack({
      dataDir: folder,
      apiPort: 0,
      dbPort: 0,
      snapshot: await createSnapshot(PROJECT, SNAPSHOTS),
    })
    await used.db.query(`insert into public.tenants (name) values ('Made before the reset')`)
    await used.stop()
    const refused = start({}, ['--reset'])
    expect(await refused.exited).toMatchObject({ code: 1 })
    expect(refused.output()).toContain('--yes')
    expect(hasDatabase(folder)).toBe(true)
  })

  test('with --yes it begins anew; kill -9 while the database is being made: the next start makes it anew', async () => {
    for (const [args, waitMs] of [
      [['--reset', '--yes'], 1_000],
      [[], 2_500],
    ] as const) {
      const doomed = start({}, [...args])
      await eventually(() => expect(doomed.output()).toContain('Starting for the first time'))
      await eventually(() => expect(existsSync(join(folder, 'database'))).toBe(true))
      await new Promise((resolve) => setTimeout(resolve, waitMs))
      doomed.child.kill('SIGKILL')
      await doomed.exited
    }
  })

  test('the first start prints addresses, keys, seeded users and providers, and answers', async () => {
    stack = await untilReady(start())
    expect(stack.printed('API URL')).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
    expect(stack.printed('DB URL')).toMatch(/^postgresql:\/\/postgres:postgres@127\.0\.0\.1:\d+\/postgres$/)
    expect(stack.printed('Publishable key')).toMatch(/^sb_publishable_/)
    expect(stack.printed('Providers')).toContain('bulkhead-extractive')
    expect(stack.output()).toContain('owner@harbor.example')
    expect(await countTenants(stack)).toBe(2)
    const unknown = await fetch(`${stack.printed('API URL')}/functions/v1/unknown`)
    expect(unknown.status).toBe(404)
  })

  test('after kill -9 nothing lingers, and the next start finds the data and replaces the lock', async () => {
    const client = createClient(stack.printed('API URL'), stack.printed('Secret key'), {
      auth: { persistSession: false },
    })
    expect((await client.from('tenants').insert({ name: 'Written just before' })).error).toBeNull()
    const children = childrenOf(stack.pid)
    expect(children.length).toBeGreaterThanOrEqual(4) // three functions and the worker, beside the guard
    stack.child.kill('SIGKILL')
    await stack.exited
    await allGone(children)
    expect(existsSync(join(folder, 'lock.json'))).toBe(true)

    stack = await untilReady(start())
    expect(await countTenants(stack)).toBe(3)
  })

  test('while it runs, another copy on the same data is refused with the reason', async () => {
    const second = start()
    expect(await second.exited).toMatchObject({ code: 1 })
    expect(second.output()).toContain(`process ${stack.pid}`)
    expect(second.output()).toContain('BULKHEAD_DATA_DIR')
    expect(await countTenants(stack)).toBe(3)
  })

  test('Ctrl-C stops everything within seconds, gives the folder free and ends with 0', async () => {
    const children = childrenOf(stack.pid)
    stack.child.kill('SIGINT')
    stack.child.kill('SIGINT') // npm passes the key press on a second time; that is not a second one
    expect(await stack.exited).toEqual({ code: 0, signal: null })
    await allGone(children)
    expect(existsSync(join(folder, 'lock.json'))).toBe(false)
  })

  test('Ctrl-C in the middle of a start leaves nothing behind that hinders the next one', async () => {
    const stopped = start()
    await eventually(() => expect(existsSync(join(folder, 'lock.json'))).toBe(true))
    stopped.child.kill('SIGINT')
    expect(await stopped.exited).toEqual({ code: 0, signal: null })
    stack = await untilReady(start())
    expect(await countTenants(stack)).toBe(3)
  })

  test('SIGTERM stops it as Ctrl-C does', async () => {
    stack.child.kill('SIGTERM')
    expect(await stack.exited).toEqual({ code: 0, signal: null })
    expect(existsSync(join(folder, 'lock.json'))).toBe(false)
  })

  test.each([
    ['', `"${process.execPath}" local/main.ts; exit`],
    [
      ', and the shell that it runs scripts in lives on',
      `/bin/sh -c '"${process.execPath}" local/main.ts; exit'; exit`,
    ],
  ])('the end of npm is the end of the stack, even when npm cannot say so%s', async (_, script) => {
    // The outer shell stands for npm: it starts the stack, waits for it, and is killed.
    const env = {
      PATH: process.env.PATH ?? '',
      NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? '',
      BULKHEAD_DATA_DIR: folder,
      BULKHEAD_API_PORT: '0',
      BULKHEAD_DB_PORT: '0',
    }
    const shell = spawn('/bin/sh', ['-c', script], {
      env: { ...env, npm_command: 'run-script' },
      stdio: 'ignore',
    })
    const holder = () => JSON.parse(readFileSync(join(folder, 'lock.json'), 'utf8')) as { pid: number }
    await eventually(() => expect(processIdentity(holder().pid)).not.toBeNull(), 30_000)
    const { pid } = holder()
    shell.kill('SIGKILL')
    await eventually(() => expect(processIdentity(pid)).toBeNull(), 60_000)
    expect(existsSync(join(folder, 'lock.json'))).toBe(false)
  })
})

describe('what keeps it from starting is said', { timeout: 60_000 }, () => {
  afterEach(endAll)
  let taken: number
  const server = createServer()
  beforeAll(async () => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    taken = (server.address() as AddressInfo).port
  })
  afterAll(() => void server.close())

  test.each([
    ['BULKHEAD_API_PORT', 'API'],
    ['BULKHEAD_DB_PORT', 'database'],
  ])('a taken port, with the variable that changes it: %s', async (variable, purpose) => {
    const stack = start({ [variable]: String(taken) })
    expect(await stack.exited).toMatchObject({ code: 1 })
    expect(stack.output()).toContain(`Port ${taken} (${purpose})`)
    expect(stack.output()).toContain(`${variable}=`)
    expect(stack.output()).not.toContain('    at ')
    expect(existsSync(join(folder, 'lock.json'))).toBe(false)
  })

  test('a setting that makes no sense', async () => {
    const stack = start({ BULKHEAD_API_PORT: 'eighty' })
    expect(await stack.exited).toMatchObject({ code: 1 })
    expect(stack.output()).toContain('BULKHEAD_API_PORT is not a port: eighty')
  })

  test('an argument that does not exist, with those that do', async () => {
    const stack = start({}, ['--rest'])
    expect(await stack.exited).toMatchObject({ code: 1 })
    expect(stack.output()).toContain("Unknown option '--rest'")
    expect(stack.output()).toContain('npm run reset')
  })

  test('a database server that is not there', async () => {
    const stack = start({ DATABASE_URL: 'postgresql://postgres@127.0.0.1:1/postgres' })
    expect(await stack.exited).toMatchObject({ code: 1 })
    expect(stack.output()).toContain('127.0.0.1:1')
    expect(stack.output()).not.toContain('    at ')
  })
})

const serverUrl = process.env.TEST_DATABASE_URL
if (!serverUrl) console.log('process: the start on a native PostgreSQL is left out, TEST_DATABASE_URL is not set')
else {
  describe('on a native PostgreSQL', { timeout: 120_000 }, () => {
    afterAll(endAll)
    const name = `bulkhead_process_${Date.now()}`
    const url = new URL(serverUrl)
    url.pathname = `/${name}`
    const onServer = async (sql: string) => {
      const server = await openNative({ url: serverUrl, poolSize: 1 })
      await server.query(sql)
      await server.close()
    }
    beforeAll(() => onServer(`create database ${name}`))
    afterAll(() => onServer(`drop database ${name} with (force)`))

    test('the first start prepares the empty database, and one after kill -9 finds the data', async () => {
      const first = await untilReady(start({ DATABASE_URL: url.href }))
      expect(first.printed('DB URL')).toBe(url.href)
      expect(first.printed('Database')).toBe('native PostgreSQL')
      expect(await countTenants(first)).toBe(2)
      const client = createClient(first.printed('API URL'), first.printed('Secret key'), {
        auth: { persistSession: false },
      })
      expect((await client.from('tenants').insert({ name: 'Written just before' })).error).toBeNull()
      const children = childrenOf(first.pid)
      first.child.kill('SIGKILL')
      await first.exited
      await allGone(children)
      expect(await countTenants(await untilReady(start({ DATABASE_URL: url.href })))).toBe(3)
    })
  })
}
