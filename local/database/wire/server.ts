import net from 'node:net'
import type { PgliteDatabase } from '../pglite.ts'
import { WireConnection } from './connection.ts'

export type WireServerOptions = {
  database: PgliteDatabase
  /** 0 takes any free one. */
  port: number
  idleInTransactionMs?: number
}

export type WireServer = {
  port: number
  /** Ends all connections and waits until they have given the session back. */
  close(): Promise<void>
}

/**
 * Lets ordinary Postgres clients (psql, drivers, the Supabase CLI, the worker) use PGlite, as the user postgres and
 * without a password, on the loopback interface.
 * @throws when the port is taken.
 */
export const startWireServer = async ({
  database,
  port,
  idleInTransactionMs = 30_000,
}: WireServerOptions): Promise<WireServer> => {
  const connections = new Set<WireConnection>()
  let nextId = 1
  const server = net.createServer((socket) => {
    const connection = new WireConnection(socket, { id: nextId++, database, idleInTransactionMs })
    connections.add(connection)
    void connection.closed.then(() => connections.delete(connection))
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', () => {
      server.off('error', reject)
      resolve()
    })
  })
  return {
    port: (server.address() as net.AddressInfo).port,
    async close() {
      const stopped = new Promise<void>((resolve) => server.close(() => resolve()))
      for (const connection of connections) connection.destroy()
      await Promise.all([...connections].map(({ closed }) => closed))
      await stopped
    },
  }
}
