import { useQuery } from '@tanstack/react-query'
import type { Citation, RunEvent } from '../../../../client/index.ts'
import { type Supabase, useBackend } from '../../app/backend.ts'
import { dataOf } from '../../lib/errors.ts'
import { activityOf, type Activity, type CallView } from './activity.ts'

export const PAGE = 30

/** As a filter of the list offers them; `active` is whatever is not over. */
export type StatusFilter = 'all' | 'active' | 'completed' | 'failed' | 'cancelled'

export const ACTIVE_STATUSES = ['pending', 'running', 'waiting']
export const isActiveStatus = (status: string | undefined): boolean => ACTIVE_STATUSES.includes(status ?? '')

const LIST_COLUMNS =
  'id, run_id, agent_id, user_id, status, wait_reason, model, provider, error_code, total_tokens, tool_call_count, tool_call_error_count, ' +
  'created_at, started_at, completed_at, input_messages'

export type RunRow = {
  id: string
  run_id: string
  agent_id: string | null
  user_id: string | null
  status: string
  wait_reason: string | null
  model: string | null
  provider: string | null
  error_code: string | null
  total_tokens: number | null
  tool_call_count: number
  tool_call_error_count: number
  created_at: string
  started_at: string | null
  completed_at: string | null
  input_messages: unknown
}

/** The runs that the person may read, the latest first, with how many steps each has made. */
export function useRuns(filter: StatusFilter, offset: number) {
  const { supabase } = useBackend()
  return useQuery({
    queryKey: ['runs', 'list', filter, offset],
    queryFn: async ({ signal }): Promise<{ rows: (RunRow & { steps: number })[]; total: number }> => {
      let query = supabase
        .schema('ai')
        .from('agent_runs')
        .select(LIST_COLUMNS, { count: 'exact' })
        .eq('rolled_back', false)
      if (filter === 'active') query = query.in('status', ACTIVE_STATUSES)
      else if (filter !== 'all') query = query.eq('status', filter)
      const answer = await query
        .order('created_at', { ascending: false })
        .order('id')
        .range(offset, offset + PAGE - 1)
        .abortSignal(signal)
        .overrideTypes<RunRow[], { merge: false }>()
      const rows = dataOf(answer)
      const steps =
        rows.length === 0
          ? []
          : dataOf(
              await supabase
                .schema('ai')
                .from('run_steps')
                .select('run_id')
                .in(
                  'run_id',
                  rows.map(({ id }) => id),
                )
                .limit(1000)
                .abortSignal(signal),
            )
      const counts = Map.groupBy(steps, ({ run_id }) => run_id)
      return {
        rows: rows.map((row) => ({ ...row, steps: counts.get(row.id)?.length ?? 0 })),
        total: answer.count ?? rows.length,
      }
    },
    placeholderData: (previous) => previous,
    refetchInterval: (query) => (query.state.data?.rows.some(({ status }) => isActiveStatus(status)) ? 3_000 : 30_000),
    refetchOnWindowFocus: true,
  })
}

const DETAIL_COLUMNS =
  `${LIST_COLUMNS}, session_id, content, error, prompt_tokens, completion_tokens, reasoning_tokens, cached_tokens, attempts, last_seq, ` +
  'multitask_strategy, rolled_back, cancel_requested_at, invalid_citation_count, tool_call_duration_ms_total, chat_message_id, streams'

export type RunDetail = RunRow & {
  session_id: string
  content: string | null
  error: string | null
  prompt_tokens: number | null
  completion_tokens: number | null
  reasoning_tokens: number | null
  cached_tokens: number | null
  attempts: number
  last_seq: number
  multitask_strategy: string
  rolled_back: boolean
  cancel_requested_at: string | null
  invalid_citation_count: number
  tool_call_duration_ms_total: number
  chat_message_id: string | null
  streams: boolean
}

/** One run, by its public id (`run_…`) or by the one that other tables refer to. Null: it is gone, or somebody else's. */
export function useRun(id: string) {
  const { supabase } = useBackend()
  return useQuery({
    queryKey: ['runs', 'one', id],
    queryFn: async ({ signal }): Promise<RunDetail | null> => {
      const isPublic = /^run_[0-9a-f]{12}$/.test(id)
      if (!isPublic && !/^[0-9a-f-]{36}$/i.test(id)) return null
      const rows = dataOf(
        await supabase
          .schema('ai')
          .from('agent_runs')
          .select(DETAIL_COLUMNS)
          .eq(isPublic ? 'run_id' : 'id', id)
          .limit(1)
          .abortSignal(signal)
          .overrideTypes<RunDetail[], { merge: false }>(),
      )
      return rows[0] ?? null
    },
    refetchInterval: (query) => (isActiveStatus(query.state.data?.status) ? 2_000 : false),
    refetchOnWindowFocus: true,
  })
}

/** The conversation that a run answered in; null for one that was started elsewhere. */
export function useSessionOf(messageId: string | null) {
  const { supabase } = useBackend()
  return useQuery({
    queryKey: ['runs', 'session-of', messageId],
    enabled: messageId !== null,
    queryFn: async ({ signal }) =>
      dataOf(
        await supabase
          .from('chat_messages')
          .select('session_id')
          .eq('id', messageId ?? '')
          .abortSignal(signal),
      )[0]?.session_id ?? null,
    staleTime: Infinity,
  })
}

/** What the marks of a run's answer stand for; known when the run is over. */
export function useCitationsOf(runId: string, isOver: boolean) {
  const { supabase } = useBackend()
  return useQuery({
    queryKey: ['runs', 'citations', runId],
    enabled: isOver,
    queryFn: async ({ signal }) =>
      dataOf(
        await supabase
          .schema('ai')
          .from('message_citations')
          .select('citation_key, item_id, source_id, text_excerpt, meta')
          .eq('run_id', runId)
          .order('citation_key')
          .abortSignal(signal),
      ) as Citation[],
  })
}

export type StepUsage = {
  step: number | null
  kind: string
  model: string | null
  prompt_tokens: number
  completion_tokens: number
  total_tokens: number
  is_estimate: boolean
}

/** What each call to a model has used, as it was booked. */
export function useUsageOf(runId: string, isActive: boolean) {
  const { supabase } = useBackend()
  return useQuery({
    queryKey: ['runs', 'usage', runId, isActive],
    queryFn: async ({ signal }): Promise<StepUsage[]> =>
      dataOf(
        await supabase
          .schema('ai')
          .from('usage_entries')
          .select('step, kind, model, prompt_tokens, completion_tokens, total_tokens, is_estimate')
          .eq('run_id', runId)
          .order('created_at')
          .limit(500)
          .abortSignal(signal),
      ),
    refetchInterval: isActive ? 3_000 : false,
  })
}

/** Rows of the log that are read at once. */
const LOG_PAGE = 500

/** The log of a run without the pieces of its answer. @throws what supabase-js answers. */
export async function readLog(supabase: Supabase, runId: string, signal: AbortSignal): Promise<RunEvent[]> {
  const events: RunEvent[] = []
  for (let after = 0; ; ) {
    const rows = dataOf(
      await supabase
        .schema('ai')
        .from('run_events')
        .select('seq, payload, created_at')
        .eq('run_id', runId)
        .not('type', 'in', '(content_delta,reasoning_delta)')
        .gt('seq', after)
        .order('seq')
        .limit(LOG_PAGE)
        .abortSignal(signal),
    )
    for (const { seq, payload, created_at } of rows) {
      events.push({ ts: created_at, ...(payload as Record<string, unknown>), seq })
    }
    const last = rows.at(-1)
    if (!last || rows.length < LOG_PAGE) return events
    after = last.seq
  }
}

/** What a run has done: from its log, or where that is gone, from the calls that are kept with it. */
export async function readActivity(supabase: Supabase, runId: string, signal: AbortSignal): Promise<Activity> {
  const activity = activityOf(await readLog(supabase, runId, signal))
  if (activity.steps.length > 0) return activity
  const rows = dataOf(
    await supabase
      .schema('ai')
      .from('tool_call_events')
      .select('call_id, tool_name, arguments, result, status, duration_ms, step, occurred_at')
      .eq('agent_run_id', runId)
      .order('occurred_at')
      .limit(500)
      .abortSignal(signal),
  )
  const steps = Map.groupBy(rows, ({ step }) => step ?? 1)
  return {
    warnings: [],
    steps: [...steps].map(([step, calls]) => ({
      ...{ step, startedAt: null, endedAt: null, finishReason: null, reasoning: '', notes: [] },
      calls: calls.map(
        (call): CallView => ({
          callId: call.call_id,
          toolName: call.tool_name,
          arguments: call.arguments,
          status: /^(error|failed)/.test(call.status) ? 'failed' : 'finished',
          result: call.result,
          durationMs: call.duration_ms,
          approvalId: null,
        }),
      ),
    })),
  }
}
