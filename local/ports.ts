import { createServer } from 'node:net'
import { StartProblem } from './start-problem.ts'

export type PortWish = { port: number; purpose: string; variable: string }

/**
 * Makes sure that the ports can be taken, before anything that costs time is started. Port 0 (any) always can.
 * @throws StartProblem that names the port and the variable that chooses another one
 */
export async function requireFreePorts(wishes: PortWish[]): Promise<void> {
  for (const { port, purpose, variable } of wishes) {
    const code = await whyTaken(port)
    if (code === null) continue
    const why = code === 'EACCES' ? 'needs more rights than this process has' : 'is used by another program'
    throw new StartProblem(
      `Port ${port} (${purpose}) ${why}.\n` +
        `Stop that program, or choose another port: ${variable}=${suggest(port)} npm start`,
    )
  }
}

/** The error code of listening on a loopback port; null when that works. */
function whyTaken(port: number): Promise<string | null> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'unknown'))
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(null)))
  })
}

/** Another port in the same range that is easy to remember: 54321 → 55321, 80 → 10080. */
function suggest(port: number): number {
  return port < 1024 ? port + 10_000 : port + 1_000 < 65_536 ? port + 1_000 : port - 1_000
}
