import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync, existsSync, mkdirSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { parseStartArguments } from '../../local/arguments.ts'
import { acquireDataLock, DataLockedError } from '../../local/data-lock.ts'
import { readStackConfig } from '../../local/config.ts'
import { createLifetime } from '../../local/lifetime.ts'
import { requireFreePorts } from '../../local/ports.ts'
import { createBackoff } from '../../local/process/backoff.ts'
import { startGuard } from '../../local/process/guard.ts'
import { launch } from '../../local/process/launch.ts'
import { processIdentity } from '../../local/process/identity.ts'
import { confirmReset, removeLocalData } from '../../local/reset.ts'
import { startEverything } from '../../local/start.ts'
import { userEnvironment } from '../../local/user-env.ts'
import { startWorkerProcess } from '../../local/worker-process.ts'
import { childrenOf } from '../support/child-processes.ts'
import { eventually } from '../support/eventually.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'bulkhead-parts-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

describe('lifetime', () => {
  test('undoes steps once, the last first, and goes on after one that fails', async () => {
    const undone: string[] = []
    const problems: unknown[] = []
    const lifetime = createLifetime((error) => problems.push(error))
    await lifetime.onEnd(() => undone.push('first'))
    await lifetime.onEnd(() => Promise.reject(new Error('stuck')))
    await lifetime.onEnd(() => undone.push('last'))
    await Promise.all([lifetime.end(), lifetime.end()])
    expect(undone).toEqual(['last', 'first'])
    expect(problems).toEqual([new Error('stuck')])
  })

  test('a step that is taken after the end has begun is undone at once', async () => {
    const undone: string[] = []
    const lifetime = createLifetime(() => {})
    expect(lifetime.signal.aborted).toBe(false)
    await lifetime.end()
    expect(lifetime.signal.aborted).toBe(true)
    await lifetime.onEnd(() => undone.push('late'))
    expect(undone).toEqual(['late'])
  })
})

test('a start that is ended in the middle keeps the data folder until it is over', { timeout: 120_000 }, async () => {
  const config = { ...readStackConfig({ BULKHEAD_DATA_DIR: folder }, process.cwd()), apiPort: 0, dbPort: 0 }
  const lifetime = createLifetime(() => {})
  let isOver = false
  const starting = startEverything({ config, rootDir: process.cwd(), watch: false, lifetime })
    .catch(() => {})
    .finally(() => (isOver = true))
  await eventually(() => expect(existsSync(join(folder, 'database'))).toBe(true), 30_000)
  expect(isOver).toBe(false)
  await lifetime.end()
  await new Promise(setImmediate)
  expect({ isOver, isLocked: existsSync(join(folder, 'lock.json')) }).toEqual({ isOver: true, isLocked: false })
  await starting
})

describe('process guard', () => {
  test('kills what is under it, with its own children, when its owner is gone; not what was taken out', async () => {
    // The owner of the guard is a process of its own that can be killed.
    const script = `
      import { startGuard } from './local/process/guard.ts'
      import { spawn } from 'node:child_process'
      const guard = startGuard()
      const run = (command) => spawn('/bin/sh', ['-c', command], { detached: true, stdio: 'ignore' }).pid
      const kept = run('sleep 60 & wait')
      const released = run('exec sleep 60')
      guard.add(kept); guard.add(released); guard.remove(released)
      setTimeout(() => console.log(kept, released), 100)
      setInterval(() => {}, 1000)`
    const owner = spawn(process.execPath, ['--input-type=module-typescript', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const line = await new Promise<string>((resolve) =>
      owner.stdout.once('data', (data: Buffer) => resolve(data.toString())),
    )
    const [kept = 0, released = 0] = line.trim().split(' ').map(Number)
    const [grandchild = 0] = childrenOf(kept)
    owner.kill('SIGKILL')
    await eventually(() => expect([kept, grandchild].map(processIdentity)).toEqual([null, null]))
    expect(processIdentity(released)).not.toBeNull()
    process.kill(released, 'SIGKILL')
  })
})

describe('a launched process', () => {
  const guard = startGuard()
  const sh = (command: string, log: (line: string) => void = () => {}) =>
    launch({ command: '/bin/sh', args: ['-c', command], env: {}, guard, log })

  test('that ignores SIGTERM is killed after the grace time', async () => {
    const lines: string[] = []
    const child = sh(`trap '' TERM; echo ready; while :; do sleep 0.1; done`, (line) => lines.push(line))
    await eventually(() => expect(lines).toEqual(['ready']))
    await child.stop(200)
    expect(await child.exited).toEqual({ code: null, signal: 'SIGKILL' })
    expect(child.running).toBe(false)
  })

  test('logs whole lines of both streams and tells how it ended', async () => {
    const lines: string[] = []
    const child = sh('printf "one\\ntw"; sleep 0.05; printf "o\\n"; echo three >&2; exit 7', (line) => lines.push(line))
    expect(await child.exited).toEqual({ code: 7, signal: null })
    await eventually(() => expect(lines.sort()).toEqual(['one', 'three', 'two']))
  })

  test('stop after the end does nothing', async () => {
    const child = sh('exit 0')
    await child.exited
    await child.stop(0)
  })
})

describe('the worker’s process', () => {
  test('is started again when it ends, and asked to end by stop', async () => {
    const entry = join(folder, 'worker.ts')
    writeFileSync(
      entry,
      // Listening before it says that it has begun: the test stops it as soon as it does.
      `process.on('SIGTERM', () => { console.log('asked to end'); process.exit(0) })
       console.log('begin ' + process.env.NAME)
       setInterval(() => {}, 1000)`,
    )
    const lines: string[] = []
    const guard = startGuard()
    const worker = startWorkerProcess({ env: { NAME: 'w' }, guard, entry, log: (line) => lines.push(line) })
    await eventually(() => expect(lines).toEqual(['begin w']))
    process.kill(worker.pid!, 'SIGKILL')
    await eventually(() => expect(lines).toEqual(['begin w', 'ended (SIGKILL); starts again in 250 ms', 'begin w']))
    await worker.restart()
    await eventually(() => expect(lines.filter((line) => line === 'begin w')).toHaveLength(3))
    await worker.stop()
    await eventually(() => expect(lines.at(-1)).toBe('asked to end'))
    guard.stop()
  })
})

test('waits grow to half a minute and start over after a healthy run', () => {
  const backoff = createBackoff()
  expect(Array.from({ length: 9 }, () => backoff.next(0))).toEqual([
    250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000,
  ])
  expect(backoff.next(60_000)).toBe(250)
})

test('arguments: known ones are read, unknown ones refused with the usage', () => {
  const none = { watch: false, reset: false, resetOnly: false, yes: false, help: false }
  expect(parseStartArguments([])).toEqual(none)
  expect(parseStartArguments(['--watch', '--reset', '-y'])).toEqual({ ...none, watch: true, reset: true, yes: true })
  expect(() => parseStartArguments(['--port', '1'])).toThrow(/--port[\s\S]*BULKHEAD_API_PORT/)
})

test('a taken port is named with its purpose and a variable; free ones and 0 are let through', async () => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const any = { port: 0, purpose: 'API', variable: 'BULKHEAD_API_PORT' }
  await requireFreePorts([any])
  await expect(requireFreePorts([any, { port, purpose: 'database', variable: 'BULKHEAD_DB_PORT' }])).rejects.toThrow(
    new RegExp(`^Port ${port} \\(database\\) is used by another program[^]*BULKHEAD_DB_PORT=\\d+ npm start$`),
  )
  server.close()
})

describe('settings of the user', () => {
  test('the shell wins over the file; reserved and unknown names stay out', () => {
    const file = join(folder, '.env')
    writeFileSync(file, 'OPENAI_API_KEY=file\nMY_SECRET="of a function"\nSUPABASE_URL=http://elsewhere\n')
    const shell = { OPENAI_API_KEY: 'shell', CHAT_MODEL: '', HOME: '/root', AWS_SECRET_ACCESS_KEY: 'x' }
    expect(userEnvironment(shell, file)).toEqual({ OPENAI_API_KEY: 'shell', MY_SECRET: 'of a function' })
  })

  test('no file is no problem', () => {
    expect(userEnvironment({ CHAT_MODEL: 'm' }, join(folder, 'missing'))).toEqual({ CHAT_MODEL: 'm' })
  })
})

describe('reset', () => {
  test('removes what the stack keeps and nothing else', () => {
    for (const name of ['database', 'storage', 'photos']) mkdirSync(join(folder, name))
    writeFileSync(join(folder, 'signing-key.json'), '{}')
    removeLocalData(folder)
    expect(['database', 'storage', 'signing-key.json', 'photos'].map((name) => existsSync(join(folder, name)))).toEqual(
      [false, false, false, true],
    )
  })

  test('is refused while a stack holds the folder', () => {
    mkdirSync(join(folder, 'database'))
    const lock = acquireDataLock(folder)
    expect(() => removeLocalData(folder)).toThrow(DataLockedError)
    expect(existsSync(join(folder, 'database'))).toBe(true)
    lock.release()
  })

  test('of nothing needs no confirmation', async () => {
    expect(await confirmReset(folder)).toBe(true)
    expect(await confirmReset(join(folder, 'missing'))).toBe(true)
  })
})
