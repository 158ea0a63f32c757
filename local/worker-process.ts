import { fileURLToPath } from 'node:url'
import { createBackoff } from './process/backoff.ts'
import type { ProcessGuard } from './process/guard.ts'
import { launch } from './process/launch.ts'

export type WorkerOptions = {
  /** The whole environment of the worker. */
  env: Record<string, string>
  guard: ProcessGuard
  log: (line: string) => void
  /** Program to run. Default: worker/main.ts. */
  entry?: string
}

export interface WorkerProcess {
  readonly pid: number | undefined
  /** Stops the worker as `stop` does and starts it with its present code. */
  restart(): Promise<void>
  /** Lets the worker finish or hand back what it is doing (a few seconds at most) and ends it. */
  stop(): Promise<void>
}

/** A job that is cut off here is picked up again when its lease runs out, so waiting long has no point. */
const STOP_GRACE_MS = 3_000
const WORKER_ENTRY = fileURLToPath(new URL('../worker/main.ts', import.meta.url))

/** Runs the ingestion worker in a process of its own, and starts it again when it ends. */
export function startWorkerProcess(options: WorkerOptions): WorkerProcess {
  const backoff = createBackoff()
  let stopped = false
  let timer: NodeJS.Timeout | undefined
  let current = begin()

  function begin() {
    const startedAt = Date.now()
    const { env, guard, log } = options
    const child = launch({ command: process.execPath, args: [options.entry ?? WORKER_ENTRY], env, guard, log })
    void child.exited.then(({ code, signal }) => {
      if (stopped || child !== current) return
      const wait = backoff.next(Date.now() - startedAt)
      log(`ended (${signal ?? `code ${code}`}); starts again in ${wait} ms`)
      timer = setTimeout(() => (current = begin()), wait)
    })
    return child
  }

  return {
    get pid() {
      return current.pid
    },
    async restart() {
      if (stopped) return
      clearTimeout(timer)
      const old = current
      current = begin()
      await old.stop(STOP_GRACE_MS)
    },
    async stop() {
      stopped = true
      clearTimeout(timer)
      await current.stop(STOP_GRACE_MS)
    },
  }
}
