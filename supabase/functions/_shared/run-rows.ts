import type { Citation } from './citations.ts'
import type { Db } from './context.ts'
import { unwrap } from './errors.ts'

/** Columns of ai.agent_runs that the agent API shows. */
export const RUN_COLUMNS =
  'id,run_id,session_id,agent_id,model,provider,status,wait_reason,last_seq,context_handler_id,input_messages,output_messages,content,' +
  'retrieved_context,error,error_code,prompt_tokens,completion_tokens,total_tokens,reasoning_tokens,cached_tokens,' +
  'invalid_citation_count,steps,events,reasoning_steps,started_at,completed_at,created_at'

/** A row of ai.agent_runs. */
export type RunRow = {
  id: string
  run_id: string
  session_id: string
  agent_id: string | null
  model: string | null
  provider: string | null
  status: string
  /** What a run waits for that waits for a person. */
  wait_reason: string | null
  /** Number of its last event. */
  last_seq: number
  context_handler_id: string | null
  input_messages: { role: string; content: string }[]
  output_messages: { role: string; content: string }[]
  content: string | null
  retrieved_context: unknown[]
  error: string | null
  error_code: string | null
  prompt_tokens: number | null
  completion_tokens: number | null
  total_tokens: number | null
  reasoning_tokens: number | null
  cached_tokens: number | null
  invalid_citation_count: number
  steps: unknown[]
  events: unknown[]
  reasoning_steps: unknown[]
  started_at: string | null
  completed_at: string | null
  created_at: string
}

/** A call of a tool as runs show it. */
export type ToolCallView = {
  step: number
  tool_name: string
  arguments: Record<string, unknown>
  result: string | null
  duration_ms: number
}

/** A run as `GET /api/agents/runs/{run_id}` shows it. What this project does not have is null. */
export function presentRun(row: RunRow, toolCalls: ToolCallView[] = []) {
  const { prompt_tokens, completion_tokens, total_tokens, reasoning_tokens, cached_tokens, ...run } = row
  return {
    ...run,
    parent_orchestration_run_id: null,
    parent_workflow_execution_id: null,
    usage: {
      prompt_tokens: prompt_tokens ?? 0,
      completion_tokens: completion_tokens ?? 0,
      total_tokens: total_tokens ?? 0,
      reasoning_tokens: reasoning_tokens ?? 0,
      cached_tokens: cached_tokens ?? 0,
    },
    tool_calls: toolCalls,
  }
}

/** The tool calls of runs, by run, in the order they were made in. */
export async function toolCallsOf(db: Db, runIds: string[]): Promise<Map<string, ToolCallView[]>> {
  const byRun = new Map<string, ToolCallView[]>()
  if (runIds.length === 0) return byRun
  const rows = unwrap(
    await db
      .schema('ai')
      .from('tool_call_events')
      .select('agent_run_id,step,tool_name,arguments,result,duration_ms')
      .in('agent_run_id', runIds)
      .order('occurred_at')
      .returns<(ToolCallView & { agent_run_id: string })[]>(),
  )
  for (const { agent_run_id, ...call } of rows) byRun.set(agent_run_id, [...(byRun.get(agent_run_id) ?? []), call])
  return byRun
}

/** The citations of runs, by run, in the order of their keys. */
export async function citationsOf(db: Db, runIds: string[]): Promise<Map<string, Citation[]>> {
  const byRun = new Map<string, Citation[]>()
  if (runIds.length === 0) return byRun
  const rows = unwrap(
    await db
      .schema('ai')
      .from('message_citations')
      .select('run_id,citation_key,item_id,source_id,text_excerpt,meta')
      .in('run_id', runIds)
      .order('citation_key')
      .returns<(Citation & { run_id: string })[]>(),
  )
  for (const { run_id, ...citation } of rows) {
    const list = byRun.get(run_id) ?? []
    list.push(citation)
    byRun.set(run_id, list)
  }
  return byRun
}
