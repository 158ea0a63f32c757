import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { createBackoff } from '../process/backoff.ts'
import type { ProcessGuard } from '../process/guard.ts'
import { launch, type LaunchedProcess } from '../process/launch.ts'
import { allowedHosts, denoArguments, denoBinary, isDenoNoise, listeningPort } from './deno-command.ts'

const BOOT_LIMIT_MS = 30_000
/** How long requests that the code before a reload is answering may go on. */
const DRAIN_LIMIT_MS = 5_000
const STOP_GRACE_MS = 1_000

export type FunctionSpec = {
  name: string
  root: string
  env: Record<string, string>
  denoBin: string | undefined
  denoDir: string
  /** True: a function that cannot start waits for a change of its files instead of trying again and again. */
  watch: boolean
  guard: ProcessGuard
  log: (line: string) => void
}

/** The right to send one request to a port; `done` says that its answer has ended. */
export type PortLease = { port: number; done: () => void }

export interface FunctionProcess {
  readonly pid: number | undefined
  /** Waits while the function is starting. Null: it is down, and will be started again by itself. */
  acquire(): Promise<PortLease | null>
  /** Starts the function's present code and, once that listens, retires the process before it. */
  reload(): Promise<void>
  stop(): Promise<void>
}

/** One process: the code as it was when it started. */
type Generation = {
  process: LaunchedProcess
  startedAt: number
  /** Null when it ended before it listened. */
  port: Promise<number | null>
  requests: number
  onIdle: () => void
}

/** Runs one function in a Deno process and starts it again when it ends. */
export function startFunctionProcess(spec: FunctionSpec): FunctionProcess {
  const backoff = createBackoff()
  const alive = new Set<Generation>()
  let stopped = false
  let restart: NodeJS.Timeout | undefined
  let reloading: Promise<void> = Promise.resolve()
  let current = begin()

  function begin(): Generation {
    let listen: (port: number | null) => void = () => {}
    const port = new Promise<number | null>((resolve) => (listen = resolve))
    const child = launch({
      command: denoBinary(spec.denoBin),
      args: denoArguments(join(spec.root, spec.name, 'index.ts'), allowedHosts(spec.env)),
      env: {
        ...spec.env,
        DENO_DIR: spec.denoDir,
        DENO_NO_UPDATE_CHECK: '1',
        NO_COLOR: '1',
        SB_EXECUTION_ID: randomUUID(),
        SUPABASE_FUNCTION_SLUG: spec.name,
      },
      guard: spec.guard,
      log: spec.log,
      onLine(line) {
        const found = listeningPort(line)
        if (found !== null) listen(found)
        return found !== null || isDenoNoise(line)
      },
    })
    const limit = setTimeout(() => {
      spec.log(`did not start within ${BOOT_LIMIT_MS / 1000} s`)
      void child.stop(0)
    }, BOOT_LIMIT_MS)
    void port.then(() => clearTimeout(limit))
    const generation: Generation = { process: child, startedAt: Date.now(), port, requests: 0, onIdle: () => {} }
    alive.add(generation)
    void child.exited.then(() => {
      alive.delete(generation)
      listen(null)
      if (generation === current) void replaceEnded(generation)
    })
    return generation
  }

  async function replaceEnded(ended: Generation): Promise<void> {
    if (stopped) return
    const { code, signal } = await ended.process.exited
    const how = signal ?? `code ${code}`
    if (spec.watch && (await ended.port) === null) {
      spec.log(`cannot start (${how}); waiting for a change of its files`)
      return
    }
    const wait = backoff.next(Date.now() - ended.startedAt)
    spec.log(`ended (${how}); starts again in ${wait} ms`)
    restart = setTimeout(() => (current = begin()), wait)
  }

  async function replaceRunning(): Promise<void> {
    if (stopped) return
    clearTimeout(restart)
    const next = begin()
    await next.port
    const old = current
    current = next
    if (!next.process.running) await replaceEnded(next)
    if (old.requests > 0) {
      const drained = new Promise<void>((resolve) => (old.onIdle = resolve))
      await Promise.race([drained, new Promise((resolve) => setTimeout(resolve, DRAIN_LIMIT_MS).unref())])
    }
    await old.process.stop(STOP_GRACE_MS)
  }

  return {
    get pid() {
      return current.process.pid
    },
    async acquire() {
      const generation = current
      const port = await generation.port
      if (port === null || !generation.process.running) return null
      generation.requests++
      let open = true
      const done = () => {
        if (!open) return
        open = false
        if (--generation.requests === 0) generation.onIdle()
      }
      return { port, done }
    },
    reload() {
      reloading = reloading.then(replaceRunning)
      return reloading
    },
    async stop() {
      stopped = true
      clearTimeout(restart)
      await Promise.all([...alive].map((generation) => generation.process.stop(STOP_GRACE_MS)))
    },
  }
}
