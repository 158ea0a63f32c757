import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'

/** A request the gate has stopped. */
export type Held = {
  /** Lets the request through to the server; its answer is still withheld. Resolves when the server has answered. */
  letThrough(): Promise<void>
}

export type Gate = {
  url: string
  /** Stops the `nth` coming call of a database function. */
  hold(name: string, nth?: number): Promise<Held>
  /** How often a database function has been called. */
  calls(name: string): number
  stop(): Promise<void>
}

/** A proxy before the project's URL that can stop single calls, so that a process can be killed exactly there. */
export async function startGate(target: string): Promise<Gate> {
  const counts = new Map<string, number>()
  const waiting: { name: string; at: number; resolve: (held: Held) => void }[] = []
  const server = http.createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const name = /\/rpc\/(\w+)/.exec(request.url ?? '')?.[1] ?? ''
    counts.set(name, (counts.get(name) ?? 0) + 1)
    const forward = async () => {
      const headers = Object.fromEntries(
        Object.entries(request.headers).filter(
          ([key]) => !/^(host|connection|content-length|transfer-encoding)$/.test(key),
        ),
      )
      return fetch(`${target}${request.url}`, {
        method: request.method ?? 'GET',
        headers: headers as Record<string, string>,
        ...(chunks.length > 0 ? { body: Buffer.concat(chunks) } : {}),
      })
    }
    const index = waiting.findIndex((each) => each.name === name && each.at === counts.get(name))
    const [held] = index < 0 ? [] : waiting.splice(index, 1)
    if (held) {
      held.resolve({ letThrough: async () => void (await (await forward()).arrayBuffer()) })
      return
    }
    try {
      const answer = await forward()
      response.writeHead(
        answer.status,
        Object.fromEntries(
          [...answer.headers].filter(
            ([key]) => !/^(content-encoding|content-length|transfer-encoding|connection)$/.test(key),
          ),
        ),
      )
      response.end(Buffer.from(await answer.arrayBuffer()))
    } catch {
      response.destroy()
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    hold: (name, nth = 1) =>
      new Promise((resolve) => waiting.push({ name, at: (counts.get(name) ?? 0) + nth, resolve })),
    calls: (name) => counts.get(name) ?? 0,
    async stop() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
