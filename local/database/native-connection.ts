import postgres from 'postgres'
import { PARSERS, SERIALIZERS } from './values.ts'

export type Client = postgres.Sql<Record<string, never>>

/** How long a connection may take to end; a query under way is then cut off. */
const END_SECONDS = 1

const typeName = (oid: number): string => `oid_${oid}`
const types = Object.fromEntries(
  Object.entries(PARSERS).map(([oid, parse]) => [
    typeName(Number(oid)),
    { to: Number(oid), from: [Number(oid)], serialize: SERIALIZERS[Number(oid)] ?? String, parse },
  ]),
)

/** The code of errors about a connection that is gone; the driver's own, too. */
export const closedError = (): Error =>
  Object.assign(new Error('The connection to the database was closed.'), { code: 'CONNECTION_CLOSED' })

type Handlers = { onClose: () => void; onNotify?: (channel: string, payload: string) => void }

/** One connection, made with the first statement, and never made anew: `onClose` says that it is gone, or did not come about. */
export const connect = (url: string, { onClose, onNotify }: Handlers): Client =>
  postgres(url, {
    max: 1,
    // Both would end the connection within a transaction.
    idle_timeout: null as never,
    max_lifetime: null,
    connect_timeout: 5,
    onnotice: () => {},
    onclose: onClose,
    ...(onNotify && { onnotify: onNotify }),
    connection: { application_name: 'bulkhead', search_path: '"$user", public, extensions', TimeZone: 'UTC' },
    types: types as never,
  }) as unknown as Client

/** Ends a connection. */
export const end = (client: Client): Promise<void> => client.end({ timeout: END_SECONDS }).catch(() => {})
