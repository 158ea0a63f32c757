import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { ProcessGuard } from './guard.ts'

export type Exit = { code: number | null; signal: NodeJS.Signals | null }

export type LaunchSpec = {
  command: string
  args: string[]
  cwd?: string
  /** The whole environment of the process; nothing is inherited. */
  env: Record<string, string>
  guard: ProcessGuard
  /** Called with each line of output, without its line break. A true result keeps it out of `log`. */
  onLine?: (line: string) => boolean
  log: (line: string) => void
}

export interface LaunchedProcess {
  readonly pid: number | undefined
  readonly running: boolean
  /** Settles when the process has ended; it never rejects (a command that cannot be run ends with code null). */
  readonly exited: Promise<Exit>
  /** Asks with SIGTERM, insists with SIGKILL after `graceMs` (0: at once), and waits for the end. */
  stop(graceMs: number): Promise<void>
}

/** Starts one process in a group of its own (a Ctrl-C in the terminal reaches only us) and under guard. */
export function launch(spec: LaunchSpec): LaunchedProcess {
  const child = spawn(spec.command, spec.args, {
    ...(spec.cwd === undefined ? {} : { cwd: spec.cwd }),
    env: spec.env,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const { pid } = child
  if (pid !== undefined) spec.guard.add(pid)

  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => {
      if (!spec.onLine?.(line)) spec.log(line)
    })
  }

  const exited = new Promise<Exit>((resolve) => {
    child.once('error', (error) => {
      spec.log(`cannot run ${spec.command}: ${error.message}`)
      resolve({ code: null, signal: null })
    })
    child.once('exit', (code, signal) => {
      if (pid !== undefined) {
        killGroup(pid) // helpers that the process itself started
        spec.guard.remove(pid)
      }
      resolve({ code, signal })
    })
  })

  const isRunning = () => pid !== undefined && child.exitCode === null && child.signalCode === null

  return {
    pid,
    get running() {
      return isRunning()
    },
    exited,
    async stop(graceMs) {
      if (pid === undefined || !isRunning()) return
      if (graceMs > 0) child.kill('SIGTERM')
      else killGroup(pid)
      const timer = setTimeout(() => killGroup(pid), graceMs)
      await exited
      clearTimeout(timer)
    },
  }
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // the group is empty
  }
}
