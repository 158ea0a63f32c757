import type { Citation } from './chat-events.ts'
import { tablesOf } from './connection.ts'
import type { Connection } from './connection.ts'
import { BulkheadError } from './errors.ts'
import { followRun } from './follow-run.ts'
import type { FollowRunOptions } from './follow-run.ts'
import { readEvents } from './read-events.ts'
import type { RunFollower } from './run-follower.ts'
import type { RunEvent } from './run-reducer.ts'

/** A run as lists show it. */
export type RunOverview = {
  /** As tables name it, e.g. in `message_citations.run_id`. */
  id: string
  /** As everything else names it: `run_…`. */
  run_id: string
  agent_id: string | null
  session_id: string
  status: 'pending' | 'running' | 'waiting' | 'completed' | 'failed' | 'cancelled'
  /** What it waits for, when a person has to decide. */
  wait_reason: string | null
  model: string | null
  provider: string | null
  error: string | null
  error_code: string | null
  prompt_tokens: number | null
  completion_tokens: number | null
  total_tokens: number | null
  tool_call_count: number | null
  attempts: number
  created_at: string
  started_at: string | null
  completed_at: string | null
  /** Number of the last event of its log. */
  last_seq: number
}

/** A run with what happened in it. */
export type Run = Pick<
  RunOverview,
  | 'id'
  | 'run_id'
  | 'agent_id'
  | 'session_id'
  | 'status'
  | 'wait_reason'
  | 'model'
  | 'provider'
  | 'error'
  | 'error_code'
  | 'created_at'
  | 'started_at'
  | 'completed_at'
  | 'last_seq'
> & {
  content: string | null
  usage: Record<string, number>
  steps: Record<string, unknown>[]
  tool_calls: {
    step: number
    tool_name: string
    arguments: Record<string, unknown>
    result: string | null
    duration_ms: number
  }[]
  citations: Citation[]
  /** What it was given to answer from. */
  retrieved_context: Record<string, unknown>[]
  [key: string]: unknown
}

const OVERVIEW =
  'id,run_id,agent_id,session_id,status,wait_reason,model,provider,error,error_code,prompt_tokens,completion_tokens,total_tokens,' +
  'tool_call_count,attempts,created_at,started_at,completed_at,last_seq'

/** Runs that are there already: reading, following, cancelling. */
export function runMethods(connection: Connection) {
  const { open, supabase } = connection
  const methods = {
    /**
     * The events of a run that is there already, after a position: first those of its log, then live. Ends with `complete`,
     * or earlier when the server's time for one stream is over or the token has expired (`stream_end`). Throws `not_found`.
     */
    async *streamRun(
      runId: string,
      from: { after?: number; signal?: AbortSignal } = {},
    ): AsyncGenerator<RunEvent, void, undefined> {
      const path = `api/agents/runs/${encodeURIComponent(runId)}/stream?after=${from.after ?? 0}`
      for await (const data of readEvents(await open(path, { method: 'GET', signal: from.signal }))) {
        const event = parseEvent(data)
        if (event !== null) yield event
      }
    },

    /**
     * Follows a run from any device: by Realtime, the log, and with `withStream` also by an event stream. Does nothing until
     * somebody subscribes.
     */
    followRun(runId: string, follow: Omit<FollowRunOptions, 'stream'> & { withStream?: boolean } = {}): RunFollower {
      const { withStream = false, ...rest } = follow
      return followRun(supabase, runId, {
        ...rest,
        ...(withStream ? { stream: (id, after, signal) => methods.streamRun(id, { after, signal }) } : {}),
      })
    },

    /** Stops a run; its provider is cut off within a second. Throws `not_found`, and `run_not_active` for one that is over. */
    async cancelRun(runId: string): Promise<{ status: string }> {
      return (await connection.call(`api/agents/runs/${encodeURIComponent(runId)}/cancel`, {
        method: 'POST',
        body: {},
      })) as {
        status: string
      }
    },

    /** One's own runs, the newest first. */
    async listRuns(
      filter: { agentId?: string; status?: RunOverview['status']; limit?: number; offset?: number } = {},
    ): Promise<RunOverview[]> {
      const offset = filter.offset ?? 0
      let query = tablesOf(connection, 'ai').from('agent_runs').select(OVERVIEW)
      if (filter.agentId) query = query.eq('agent_id', filter.agentId)
      if (filter.status) query = query.eq('status', filter.status)
      return await connection.query<RunOverview[]>(
        query
          .order('created_at', { ascending: false })
          .order('id')
          .range(offset, offset + (filter.limit ?? 50) - 1),
      )
    },

    /** A run with its steps, calls and citations. Throws `not_found`. */
    async getRun(runId: string): Promise<Run> {
      return (await connection.call(`api/agents/runs/${encodeURIComponent(runId)}`, { method: 'GET' })) as Run
    },

    /**
     * A part of a run's log, in order; an empty one when there is no more. Throws `not_found`.
     * @param page events after position `after` (default 0), `limit` of them (default and most: 500).
     */
    async runEvents(runId: string, page: { after?: number; limit?: number } = {}): Promise<RunEvent[]> {
      const ai = tablesOf(connection, 'ai')
      const [run] = await connection.query<{ id: string }[]>(ai.from('agent_runs').select('id').eq('run_id', runId))
      if (!run) throw new BulkheadError('Run not found.', { code: 'not_found', status: 404 })
      const rows = await connection.query<{ seq: number; payload: Record<string, unknown>; created_at: string }[]>(
        ai
          .from('run_events')
          .select('seq,payload,created_at')
          .eq('run_id', run.id)
          .gt('seq', page.after ?? 0)
          .order('seq')
          .limit(Math.min(page.limit ?? 500, 500)),
      )
      return rows.map((row) => ({ ts: row.created_at, ...row.payload, run_id: runId, seq: row.seq }))
    },
  }
  return methods
}

function parseEvent(data: string): RunEvent | null {
  try {
    const value: unknown = JSON.parse(data)
    return typeof value === 'object' && value !== null ? (value as RunEvent) : null
  } catch {
    return null
  }
}
