import type { Db } from '../context.ts'
import { unwrap } from '../errors.ts'
import { isUuid } from '../ids.ts'
import type { ChatMessage } from '../providers/index.ts'

/** Turns of a conversation that are read: what was said long before explains no question. */
const MAX_TURNS = 3

type RunRow = { input_messages: unknown; content: string | null }

/**
 * The last completed turns of a session, oldest first, as far as the holder of `db`'s token may read them; none of one that
 * does not exist.
 * @param sessionId its public id.
 * @throws AppError what the database refuses.
 */
export async function sessionHistory(db: Db, tenantId: string, sessionId: string): Promise<ChatMessage[]> {
  const ai = db.schema('ai')
  const sessions = unwrap<{ id: string }[]>(
    await ai.from('agent_sessions').select('id').eq('tenant_id', tenantId).eq('session_id', sessionId).limit(1),
  )
  const [session] = sessions
  if (session === undefined) return []
  const runs = unwrap<RunRow[]>(
    await ai
      .from('agent_runs')
      .select('input_messages,content')
      .eq('session_id', session.id)
      .eq('status', 'completed')
      .eq('rolled_back', false)
      .order('created_at', { ascending: false })
      .limit(MAX_TURNS)
      .returns<RunRow[]>(),
  )
  return runs.toReversed().flatMap(({ input_messages: input, content }): ChatMessage[] => {
    const asked = (Array.isArray(input) ? Object(input.at(-1)) : {}) as { content?: unknown }
    return [
      ...(typeof asked.content === 'string' ? [{ role: 'user' as const, content: asked.content }] : []),
      ...(content === null ? [] : [{ role: 'assistant' as const, content }]),
    ]
  })
}

type MessageRow = { role: 'user' | 'assistant'; content: string }

/** The last messages of a chat before the one that is asked now, as `sessionHistory`. */
export async function chatHistory(db: Db, chatSessionId: string, messageId: string): Promise<ChatMessage[]> {
  if (!isUuid(chatSessionId) || !isUuid(messageId)) return []
  const messages = unwrap<MessageRow[]>(
    await db
      .from('chat_messages')
      .select('role,content')
      .eq('session_id', chatSessionId)
      .in('role', ['user', 'assistant'])
      .eq('status', 'complete')
      .neq('id', messageId)
      .order('created_at', { ascending: false })
      .limit(2 * MAX_TURNS)
      .returns<MessageRow[]>(),
  )
  return messages.toReversed()
}
