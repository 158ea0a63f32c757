import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import process from 'node:process'

export type StackProcess = {
  child: ChildProcess
  pid: number
  /** Everything printed so far. */
  output: () => string
  /** The value of a line of the banner, e.g. 'API URL'. */
  printed: (label: string) => string
  exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>
}

const READY_LIMIT_MS = 60_000

/**
 * Runs `local/main.ts` as its users do, in a process of its own, with only the given environment besides PATH and where
 * compiled code is kept. Ports are chosen by the system unless the environment says otherwise. Whoever starts it ends it.
 */
export function spawnStack(env: Record<string, string>, args: string[] = []): StackProcess {
  const child = spawn(process.execPath, ['local/main.ts', ...args], {
    env: {
      PATH: process.env.PATH ?? '',
      NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? '',
      BULKHEAD_API_PORT: '0',
      BULKHEAD_DB_PORT: '0',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let text = ''
  child.stdout.on('data', (chunk: Buffer) => (text += chunk))
  child.stderr.on('data', (chunk: Buffer) => (text += chunk))
  const exited = once(child, 'close').then(([code, signal]) => ({ code, signal }))
  const printed = (label: string) => {
    const value = new RegExp(`^ *${label}: (.+)$`, 'm').exec(text)?.[1]
    if (!value) throw new Error(`"${label}" was not printed:\n${text}`)
    return value.trim()
  }
  return { child, pid: child.pid ?? 0, output: () => text, printed, exited }
}

/** Waits until the stack says that it is ready. @throws with its output when it ends or takes too long. */
export async function untilReady(stack: StackProcess): Promise<StackProcess> {
  const end = Date.now() + READY_LIMIT_MS
  let gone = false
  void stack.exited.then(() => (gone = true))
  while (!/^Ready in /m.test(stack.output())) {
    if (gone || Date.now() > end) throw new Error(`The stack did not become ready:\n${stack.output()}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  return stack
}
