import type { Sql } from '../database/database.ts'
import { MESSAGE_COLUMNS, storedBody, type StoredMessage } from './database-feed.ts'
import type { Broadcast } from './messages.ts'

/**
 * The newest `limit` messages of a private topic since `since` (milliseconds since the epoch), oldest first.
 * Rows of one transaction share their time, so the place in the table decides between them; upstream leaves that open.
 */
export const readReplay = async (
  db: Sql,
  topic: string,
  { since, limit }: { since: number; limit: number },
): Promise<(Broadcast & { meta: { id: string; replayed: true } })[]> => {
  const rows = await db.query<StoredMessage>(
    `select ${MESSAGE_COLUMNS}
     from realtime.messages
     where messages.topic = $1
       and messages.private
       and messages.extension = 'broadcast'
       and messages.event is not null
       and (messages.payload is not null or messages.binary_payload is not null)
       and messages.inserted_at >= to_timestamp($2::float8 / 1000) at time zone 'utc'
       and messages.inserted_at < (now() + interval '1 minute') at time zone 'utc'
     order by messages.inserted_at desc, messages.ctid desc
     limit $3::int`,
    [topic, since, limit],
  )
  return rows.reverse().flatMap((row) => {
    const body = storedBody(row)
    if (body === null || row.event === null) return []
    return [{ event: row.event, body, framing: 'text' as const, meta: { id: row.id, replayed: true as const } }]
  })
}
