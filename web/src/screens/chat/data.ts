import { useInfiniteQuery, useQuery } from '@tanstack/react-query'
import type { Citation } from '../../../../client/index.ts'
import { type Supabase, useBackend } from '../../app/backend.ts'
import { dataOf } from '../../lib/errors.ts'
import { rowsOf } from '../../lib/rows-of.ts'

export type Session = { id: string; title: string | null; agent_id: string | null; updated_at: string }

/** The run behind an answer, as far as the chat shows it. */
export type TurnRun = {
  id: string
  run_id: string
  status: string
  wait_reason: string | null
  tool_call_count: number
  total_tokens: number | null
  model: string | null
  created_at: string
}

/** The answer as it is stored. */
export type Answer = {
  id: string
  content: string
  status: string
  error: { message: string; code: string } | null
  citations: Citation[]
}

/** A question, what is at work on it, and its answer once there is one. */
export type Turn = {
  /** Id of the question. */
  id: string
  question: string
  createdAt: string
  run: TurnRun | null
  answer: Answer | null
}

export type Conversation = { session: Session; turns: Turn[]; hasEarlier: boolean }

const SESSIONS_PAGE = 40
/** Questions and answers that are read at once, the latest first. */
export const MESSAGES_PAGE = 60
const ACTIVE = new Set(['pending', 'running', 'waiting'])

export const isActive = (run: Pick<TurnRun, 'status'> | null): boolean => run !== null && ACTIVE.has(run.status)

/** The person's conversations of this tenant, the latest first. Who else there is, sees none of them. */
export function useSessions() {
  const { supabase, user, tenant } = useBackend()
  return useInfiniteQuery({
    queryKey: ['chat', 'sessions'],
    initialPageParam: 0,
    queryFn: async ({ pageParam, signal }): Promise<Session[]> =>
      dataOf(
        await supabase
          .from('chat_sessions')
          .select('id, title, agent_id, updated_at')
          .eq('user_id', user.id)
          .eq('tenant_id', tenant.id)
          .order('updated_at', { ascending: false })
          .order('id')
          .range(pageParam, pageParam + SESSIONS_PAGE - 1)
          .abortSignal(signal),
      ),
    getNextPageParam: (last, all) => (last.length === SESSIONS_PAGE ? all.length * SESSIONS_PAGE : null),
    refetchOnWindowFocus: true,
  })
}

/** One conversation with its latest `limit` messages. While something is under way it is read again and again. */
export function useConversation(sessionId: string | null, limit: number) {
  const { supabase } = useBackend()
  return useQuery({
    queryKey: ['chat', 'conversation', sessionId, limit],
    enabled: sessionId !== null,
    queryFn: ({ signal }) => readConversation(supabase, sessionId ?? '', limit, signal),
    // Realtime tells earlier; this is for questions that no run has begun for yet, and for when it is down.
    refetchInterval: (query) => (query.state.data?.turns.some((turn) => turn.answer === null) ? 3_000 : 30_000),
    refetchOnWindowFocus: true,
    placeholderData: (previous) => (previous?.session.id === sessionId ? previous : undefined),
  })
}

type MessageRow = {
  id: string
  role: string
  content: string | null
  status: string
  payload: unknown
  run_id: string | null
  reply_to_id: string | null
  created_at: string
}

async function readConversation(
  supabase: Supabase,
  sessionId: string,
  limit: number,
  signal: AbortSignal,
): Promise<Conversation | null> {
  const [session, messages] = await Promise.all([
    supabase.from('chat_sessions').select('id, title, agent_id, updated_at').eq('id', sessionId).abortSignal(signal),
    supabase
      .from('chat_messages')
      .select('id, role, content, status, payload, run_id, reply_to_id, created_at')
      .eq('session_id', sessionId)
      .neq('role', 'event')
      .order('created_at', { ascending: false })
      .order('id', { ascending: false })
      .limit(limit)
      .abortSignal(signal),
  ])
  const found = dataOf(session)[0]
  if (!found) return null
  const rows: MessageRow[] = dataOf(messages).toReversed()
  const questions = rows.filter(({ role }) => role === 'user')
  const answers = rows.filter(({ role }) => role === 'assistant')
  const [runs, citations] = await Promise.all([
    runsOf(
      supabase,
      questions.map(({ id }) => id),
      signal,
    ),
    citationsOf(
      supabase,
      answers.flatMap(({ run_id }) => run_id ?? []),
      signal,
    ),
  ])
  const turns = questions.map((question): Turn => {
    const answer = answers.find(({ reply_to_id }) => reply_to_id === question.id)
    return {
      id: question.id,
      question: question.content ?? '',
      createdAt: question.created_at,
      run: runs.get(question.id) ?? null,
      answer: answer ? answerOf(answer, citations) : null,
    }
  })
  return { session: found, turns, hasEarlier: rows.length === limit }
}

function answerOf(row: MessageRow, citations: Map<string, Citation[]>): Answer {
  const payload = (row.payload ?? {}) as { error?: unknown; code?: unknown; citations?: unknown }
  const told = Array.isArray(payload.citations) ? (payload.citations as Citation[]) : []
  return {
    id: row.id,
    content: row.content ?? '',
    status: row.status,
    error:
      typeof payload.error === 'string'
        ? { message: payload.error, code: typeof payload.code === 'string' ? payload.code : 'upstream_failed' }
        : null,
    citations: citations.get(row.run_id ?? '') ?? told,
  }
}

async function runsOf(supabase: Supabase, questionIds: string[], signal: AbortSignal): Promise<Map<string, TurnRun>> {
  const rows = await rowsOf(questionIds, async (some) =>
    dataOf(
      await supabase
        .schema('ai')
        .from('agent_runs')
        .select('id, run_id, status, wait_reason, tool_call_count, total_tokens, model, created_at, chat_message_id')
        .in('chat_message_id', some)
        .order('created_at')
        .abortSignal(signal),
    ),
  )
  return new Map(rows.map((run) => [run.chat_message_id ?? '', run]))
}

async function citationsOf(
  supabase: Supabase,
  runIds: string[],
  signal: AbortSignal,
): Promise<Map<string, Citation[]>> {
  const byRun = new Map<string, Citation[]>()
  const rows = await rowsOf(runIds, async (some) =>
    dataOf(
      await supabase
        .schema('ai')
        .from('message_citations')
        .select('run_id, citation_key, item_id, source_id, text_excerpt, meta')
        .in('run_id', some)
        .order('citation_key')
        .abortSignal(signal),
    ),
  )
  for (const { run_id, ...citation } of rows) {
    byRun.set(run_id, [...(byRun.get(run_id) ?? []), citation as Citation])
  }
  return byRun
}

/**
 * Whether there is a document to answer from, and questions about headings of the latest ones: what the tenant's documents
 * are about is known by them only.
 */
export function useSuggestions() {
  const { supabase } = useBackend()
  return useQuery({
    queryKey: ['chat', 'suggestions'],
    queryFn: async ({ signal }): Promise<{ hasDocuments: boolean; suggestions: string[] }> => {
      const ai = supabase.schema('ai')
      const sources = dataOf(
        await ai
          .from('sources')
          .select('id')
          .eq('extraction_status', 'extracted')
          .order('created_at', { ascending: false })
          .limit(3)
          .abortSignal(signal),
      )
      if (sources.length === 0) return { hasDocuments: false, suggestions: [] }
      const ids = sources.map(({ id }) => id)
      const chunks = dataOf(
        await ai
          .from('chunks')
          .select('source_id, chunk_index, meta')
          .in('source_id', ids)
          .lte('chunk_index', 3)
          .order('chunk_index')
          .limit(50)
          .abortSignal(signal),
      )
      const headings = ids.flatMap((id) =>
        chunks.flatMap((chunk) => (chunk.source_id === id ? headingOf(chunk.meta) : [])).slice(0, 1),
      )
      return { hasDocuments: true, suggestions: [...new Set(headings)].map((heading) => `What about “${heading}”?`) }
    },
    staleTime: 10_000,
  })
}

/** The innermost heading above a passage, if it is short enough to ask about. */
function headingOf(meta: unknown): string[] {
  const path = (meta as { heading_path?: unknown } | null)?.heading_path
  const heading: unknown = Array.isArray(path) ? path.at(-1) : null
  return typeof heading === 'string' && heading.trim() !== '' && heading.length <= 60 ? [heading.trim()] : []
}
