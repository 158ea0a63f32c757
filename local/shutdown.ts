import process from 'node:process'

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
  const parentCheck = setInterval(() => {
    if (process.ppid !== parent) request('the end of npm')
  }, PARENT_CHECK_MS)
  parentCheck.unref()
  // Started in another way, outliving the parent may be what is wanted (nohup, setsid, a service manager).
  if (!process.env.npm_command) clearInterval(parentCheck)

  return () => {
    clearInterval(parentCheck)
    for (const [signal, handler] of handlers) process.off(signal, handler)
  }
}
