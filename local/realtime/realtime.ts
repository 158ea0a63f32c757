import type http from 'node:http'
import type { ResolveApiKey, TokenAuthority } from '../auth/tokens.ts'
import type { Database } from '../database/database.ts'
import { Authorizer } from './authorization.ts'
import { DatabaseFeed } from './database-feed.ts'
import { createRoutes } from './http-routes.ts'
import type { Hub } from './hub.ts'
import { consoleLog, DEFAULT_LIMITS, type RealtimeLimits, type RealtimeLog } from './options.ts'
import { RateWindow } from './rate-window.ts'
import { freshen, RecheckLoop, staleChannels } from './recheck.ts'
import { Rooms } from './rooms.ts'
import { Connections } from './upgrade.ts'
import { startUpkeep } from './upkeep.ts'

export type { RealtimeLimits, RealtimeLog } from './options.ts'

export type RealtimeDeps = {
  db: Database
  tokens: TokenAuthority
  resolveApiKey: ResolveApiKey
  log?: RealtimeLog
  limits?: Partial<RealtimeLimits>
}

export type Realtime = {
  /** Answers the HTTP endpoints under /realtime/v1 (and /socket, and none). */
  fetch: (request: Request) => Promise<Response>
  /** Serves WebSocket upgrades of `server` on /realtime/v1/websocket and /socket/websocket. */
  attach: (server: http.Server) => void
  /** Settles when partitions exist and rows of realtime.messages are heard; rejects when LISTEN failed. */
  ready: Promise<void>
  /** Closes every socket with 1012 and stops listening, once. The database and the servers stay open. */
  close: () => Promise<void>
}

/**
 * A Realtime gateway over the database it is given: channels, authorization by the policies on realtime.messages,
 * broadcast between clients, from HTTP and from the database, presence. It starts at once.
 */
export const createRealtime = ({
  db,
  tokens,
  resolveApiKey,
  log = consoleLog,
  limits: chosen,
}: RealtimeDeps): Realtime => {
  const limits: RealtimeLimits = { ...DEFAULT_LIMITS, ...chosen }
  const authorizer = new Authorizer(db)
  const events = new RateWindow(limits.eventsPerSecond)
  const rooms = new Rooms({
    events,
    stale: (channels) => staleChannels(channels, limits.verdictMaxAgeMs),
    freshen: (channels) =>
      freshen(authorizer, channels).then(
        () => undefined,
        (error: unknown) => {
          log.warn('recheck_failed', { error: String(error) })
          for (const channel of channels) channel.breakOff() // unknown is not allowed
        },
      ),
  })
  const upkeep = startUpkeep(db, limits.upkeepIntervalMs, log)
  const feed = new DatabaseFeed({ db, rooms, events, maxPayloadBytes: limits.maxPayloadBytes, log })
  const recheck = new RecheckLoop({ db, authorizer, channels: () => rooms.privateChannels(), log })
  recheck.start(limits.recheckIntervalMs)
  const joins = new RateWindow(limits.joinsPerSecond)
  const hub: Hub = { db, tokens, resolveApiKey, authorizer, rooms, feed, events, joins, limits, log }
  const connections = new Connections(hub)
  const routes = createRoutes(hub)
  const ready = Promise.all([feed.ready, upkeep.done]).then(() => undefined)
  ready.catch(() => undefined) // the feed has logged it; callers that wait see it too

  let closed: Promise<void> | null = null

  return {
    fetch: async (request) => routes.fetch(request),
    attach: (server) => connections.attach(server),
    ready,
    close: () =>
      (closed ??= (async () => {
        await connections.close()
        await Promise.all([feed.close(), recheck.close(), upkeep.close()])
      })()),
  }
}
