import { NO_USAGE } from '../agent/usage.ts'
import type { Db } from '../context.ts'
import { unwrap } from '../errors.ts'
import type { AppError } from '../errors.ts'
import { RUN_COLUMNS, citationsOf, presentRun, toolCallsOf } from '../run-rows.ts'
import type { RunRow } from '../run-rows.ts'
import type { RunEvent } from '../run-ledger.ts'
import type { NumberedEvent } from './event-log.ts'

/** The last words of a stream that ends without its run: they are in no log, so they have no number. */
export type Farewell = RunEvent & { seq?: never }

/**
 * The end of a stream whose viewer may not see the run any more, or that has failed itself: `error`, then `complete`. They tell
 * nothing of the run but that. With a number somebody who reads on after it, another time, would miss what the log has there.
 * @param run as the viewer knows it from `start`.
 */
export function farewell(run: { run_id: string; session_id: string }, failure: AppError): [Farewell, Farewell] {
  const ids = { run_id: run.run_id, context_handler_id: null }
  const told = { error: failure.message, code: failure.code, ts: new Date().toISOString() }
  return [
    { event: 'error', type: 'error', ...ids, ...told, message: failure.message },
    {
      event: 'complete',
      type: 'complete',
      ...ids,
      session_id: run.session_id,
      content: '',
      retrieved_items: 0,
      is_new_session: false,
      status: 'failed',
      steps: 0,
      tool_calls: [],
      usage: NO_USAGE,
      ...told,
    },
  ]
}

/**
 * `complete` of a run that is over and whose log is gone, as far as the run itself has kept it; null when there is nothing
 * after this number.
 * @param db under the token of somebody who may read the run.
 * @param run internal and public ids.
 * @throws AppError when it cannot be read.
 */
export async function completeWithoutLog(
  db: Db,
  run: { id: string; session_id: string },
  after: number,
): Promise<NumberedEvent | null> {
  const [row] = unwrap<RunRow[]>(
    await db.schema('ai').from('agent_runs').select(RUN_COLUMNS).eq('id', run.id).limit(1).returns<RunRow[]>(),
  )
  if (row === undefined || row.last_seq <= after) return null
  const [citations, toolCalls] = await Promise.all([citationsOf(db, [row.id]), toolCallsOf(db, [row.id])])
  const { usage, tool_calls } = presentRun(row, toolCalls.get(row.id))
  return {
    event: 'complete',
    type: 'complete',
    run_id: row.run_id,
    session_id: run.session_id,
    context_handler_id: row.context_handler_id,
    content: row.content ?? '',
    retrieved_items: row.retrieved_context.length,
    is_new_session: false,
    status: row.status,
    steps: row.steps.length,
    tool_calls,
    usage,
    error: row.error,
    ...(row.error_code === null ? {} : { code: row.error_code }),
    citations: citations.get(row.id) ?? [],
    invalid_citation_count: row.invalid_citation_count,
    provider: row.provider,
    model: row.model,
    // It stands for all that is not there any more.
    from_seq: after + 1,
    seq: row.last_seq,
    ts: row.completed_at ?? row.created_at,
  }
}
