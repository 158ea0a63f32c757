import process from 'node:process'
import { parentOf, processIdentity } from './process/identity.ts'

/** npm passes a Ctrl-C on to us that the terminal has sent us already; a person's second one comes later than this. */
const SAME_KEYPRESS_MS = 400
const PARENT_CHECK_MS = 1_000

export type ShutdownHandlers = {
  /** The first request to stop. */
  stop: (reason: string) => void
  /** A second Ctrl-C while stopping. */
  force: () => void
}

/**
 * Listens for what should end the stack: Ctrl-C, SIGTERM, a closed terminal and, when npm started us, the end of npm
 * (killed, it cannot pass a signal on). Returns a function that stops listening.
 */
export function watchForShutdown({ stop, force }: ShutdownHandlers): () => void {
  let requestedAt: number | null = null
  const request = (reason: string) => {
    const again = requestedAt !== null
    if (again && reason === 'SIGINT' && Date.now() - (requestedAt as number) > SAME_KEYPRESS_MS) force()
    if (again) return
    requestedAt = Date.now()
    stop(reason)
  }
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  const handlers = signals.map((signal) => [signal, () => request(signal)] as const)
  for (const [signal, handler] of handlers) process.on(signal, handler)

  const parent = process.ppid
  // Started in another way, outliving the parent may be what is wanted (nohup, setsid, a service manager).
  const npm = process.env.npm_command ? npmBehind() : null
  const parentCheck = setInterval(() => {
    if (process.ppid !== parent || (npm && processIdentity(npm.pid) !== npm.identity)) request('the end of npm')
  }, PARENT_CHECK_MS)
  parentCheck.unref()
  if (!process.env.npm_command) clearInterval(parentCheck)

  return () => {
    clearInterval(parentCheck)
    for (const [signal, handler] of handlers) process.off(signal, handler)
  }
}

/** npm, where it is not our parent: it runs a script in a shell, and some shells wait for what they run instead of becoming it. */
function npmBehind(): { pid: number; identity: string | null } | null {
  const shell = parentOf(process.pid)
  if (!shell || !/ -c .*local\/main\.ts/.test(shell.command)) return null
  const pid = parentOf(shell.pid)?.pid
  return pid === undefined ? null : { pid, identity: processIdentity(pid) }
}
