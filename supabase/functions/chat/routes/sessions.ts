import { Hono } from 'hono'
import { z } from 'zod'
import { actsOn } from '../../_shared/context.ts'
import type { Db } from '../../_shared/context.ts'
import { AppError, fromPostgrest, missing, unwrap } from '../../_shared/errors.ts'
import { parseQuery, uuidParam } from '../../_shared/http.ts'
import { behindCursor, decodeCursor, encodeCursor } from '../../_shared/ids.ts'
import type { Cursor } from '../../_shared/ids.ts'
import { citationsOf } from '../../_shared/run-rows.ts'
import type { ChatEnv } from '../env.ts'

const SESSION_COLUMNS = 'id,tenant_id,agent_id,title,created_at,updated_at'

type SessionRow = {
  id: string
  tenant_id: string
  agent_id: string | null
  title: string | null
  created_at: string
  updated_at: string
}

type MessageRow = {
  id: string
  role: 'user' | 'assistant'
  content: string
  status: 'complete' | 'failed'
  payload: Record<string, unknown>
  run_id: string | null
  created_at: string
}

const page = {
  limit: z.coerce.number().int().min(1).max(100).default(50),
  cursor: z.string().optional(),
}
const sessionsQuery = z.object(page)
const messagesQuery = z.object({ ...page, order: z.enum(['asc', 'desc']).default('asc') })

function position(cursor: string | undefined): Cursor | null {
  if (cursor === undefined) return null
  const decoded = decodeCursor(cursor)
  if (decoded === null) throw new AppError('invalid_request', 'The cursor is not one of this list.')
  return decoded
}

async function findSession(db: Db, id: string): Promise<SessionRow> {
  const { data, error } = await db.from('chat_sessions').select(SESSION_COLUMNS).eq('id', id).maybeSingle<SessionRow>()
  if (error) throw fromPostgrest(error)
  if (data === null) throw missing('session')
  return data
}

/** A person's conversations and their messages. */
export const sessions = new Hono<ChatEnv>()
  .get('/', actsOn(), async (c) => {
    const { limit, cursor } = parseQuery(c, sessionsQuery)
    const from = position(cursor)
    let query = c.var.db.from('chat_sessions').select(SESSION_COLUMNS)
    if (from !== null) query = query.or(behindCursor(from, 'updated_at', true))
    const rows = unwrap(
      await query
        .order('updated_at', { ascending: false })
        .order('id', { ascending: false })
        .limit(limit + 1)
        .returns<SessionRow[]>(),
    )
    const shown = rows.slice(0, limit)
    const last = rows.length > limit ? shown.at(-1) : undefined
    return c.json({ sessions: shown, next_cursor: last ? encodeCursor({ at: last.updated_at, id: last.id }) : null })
  })
  .get('/:id', actsOn(), async (c) => c.json(await findSession(c.var.db, uuidParam(c, 'id', 'session'))))
  .get('/:id/messages', actsOn(), async (c) => {
    const { limit, cursor, order } = parseQuery(c, messagesQuery)
    const from = position(cursor)
    const ascending = order === 'asc'
    const session = await findSession(c.var.db, uuidParam(c, 'id', 'session'))
    let query = c.var.db
      .from('chat_messages')
      .select('id,role,content,status,payload,run_id,created_at')
      .eq('session_id', session.id)
      .neq('role', 'event')
    if (from !== null) query = query.or(behindCursor(from, 'created_at', !ascending))
    const rows = unwrap(
      await query
        .order('created_at', { ascending })
        .order('id', { ascending })
        .limit(limit + 1)
        .returns<MessageRow[]>(),
    )
    const shown = rows.slice(0, limit)
    const last = rows.length > limit ? shown.at(-1) : undefined
    const runIds = shown.map((row) => row.run_id).filter((id) => id !== null)
    const citations = await citationsOf(c.var.db, runIds)
    return c.json({
      session_id: session.id,
      messages: shown.map(({ payload, run_id, ...message }) => ({
        ...message,
        citations: (run_id !== null && citations.get(run_id)) || [],
        ...(message.status === 'failed' ? { error: payload['error'] ?? null, code: payload['code'] ?? null } : {}),
      })),
      next_cursor: last ? encodeCursor({ at: last.created_at, id: last.id }) : null,
    })
  })
