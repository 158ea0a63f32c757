import type { ResolveApiKey, TokenAuthority } from '../auth/tokens.ts'
import type { Database } from '../database/database.ts'
import type { Authorizer } from './authorization.ts'
import type { DatabaseFeed } from './database-feed.ts'
import type { RealtimeLimits, RealtimeLog } from './options.ts'
import type { RateWindow } from './rate-window.ts'
import type { Rooms } from './rooms.ts'

/** What sockets, channels and the HTTP endpoints share. */
export type Hub = {
  db: Database
  tokens: TokenAuthority
  resolveApiKey: ResolveApiKey
  authorizer: Authorizer
  rooms: Rooms
  feed: DatabaseFeed
  events: RateWindow
  joins: RateWindow
  limits: RealtimeLimits
  log: RealtimeLog
}
