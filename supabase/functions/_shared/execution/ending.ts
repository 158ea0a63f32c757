import type { Deps } from '../context.ts'
import { AppError, describeError } from '../errors.ts'
import type { WithChat } from '../providers/index.ts'
import type { Emit } from '../sse.ts'
import type { EventLog } from './event-log.ts'
import { failed } from './outcome.ts'
import type { Execution, RunOutcome } from './outcome.ts'

/** The last events of a run. */
function tellEnd(deps: WithChat, execution: Execution, outcome: RunOutcome, emit: Emit): void {
  const { run, request, contextHandlerId } = execution
  if (outcome.status === 'failed') {
    emit('error', {
      error: outcome.error,
      message: outcome.error,
      code: outcome.errorCode,
      run_id: run.run_id,
      context_handler_id: contextHandlerId,
    })
  }
  emit('complete', {
    run_id: run.run_id,
    session_id: run.session_id,
    context_handler_id: contextHandlerId,
    content: outcome.content,
    retrieved_items: outcome.retrievedItems,
    is_new_session: run.is_new_session,
    status: outcome.status,
    steps: outcome.steps.length,
    tool_calls: outcome.toolCalls.map(({ step, tool_name, arguments: args, result, duration_ms, call_id }) => ({
      step,
      call_id,
      tool_name,
      arguments: args,
      result,
      duration_ms,
    })),
    usage: outcome.usage,
    error: outcome.error,
    ...(outcome.errorCode === null ? {} : { code: outcome.errorCode }),
    ...(outcome.citations === null
      ? {}
      : { citations: outcome.citations, invalid_citation_count: outcome.invalidCitationCount }),
    provider: deps.chat.name,
    // Who answered, as the run itself says it; a fallback model has been told of by `model_fallback`.
    model: outcome.steps.at(-1)?.model ?? deps.chat.modelFor(request.model),
    ...(execution.retrievalWarning === null ? {} : { warning: execution.retrievalWarning }),
    ...(outcome.warnings.length === 0 ? {} : { warnings: outcome.warnings }),
  })
}

/** Stores the end: outcome and last events in one transaction. @returns false when the lease is lost. */
function write(
  deps: Deps & WithChat,
  execution: Execution,
  outcome: RunOutcome,
  log: EventLog,
  events: Record<string, unknown>[],
): Promise<boolean> {
  const lease = { runId: execution.run.id, leaseToken: execution.run.lease_token }
  tellEnd(deps, execution, outcome, log.emit)
  return log.end(
    (rest) =>
      deps.ledger.finishRun({
        ...lease,
        status: outcome.status,
        content: outcome.content,
        usage: outcome.usage,
        ...(outcome.error === null ? {} : { error: outcome.error }),
        ...(outcome.errorCode === null ? {} : { errorCode: outcome.errorCode }),
        citations: outcome.citations ?? [],
        invalidCitationCount: outcome.invalidCitationCount,
        rest,
        trace: { steps: outcome.steps, events, reasoningSteps: outcome.reasoning, toolCalls: outcome.toolCalls },
      }),
    (isStored) => isStored,
  )
}

/**
 * Ends a run. An answer that cannot be stored must not pass for a finished run: then it ends as failed, without it.
 * @param events kept with the run.
 * @returns the outcome that was stored; null when the lease is lost, or nothing could be stored at all.
 */
export async function endRun(
  deps: Deps & WithChat,
  execution: Execution,
  outcome: RunOutcome,
  log: EventLog,
  events: Record<string, unknown>[],
): Promise<RunOutcome | null> {
  const { run } = execution
  log.hold()
  const before = log.lastSeq()
  try {
    return (await write(deps, execution, outcome, log, events)) ? outcome : null
  } catch (error) {
    if (log.isLost()) return null
    deps.log.error('finish_run_failed', { run_id: run.run_id, error: describeError(error) })
    log.rewind(before)
    const unstored = failed(
      { ...outcome, content: '', citations: outcome.citations === null ? null : [], toolCalls: [] },
      new AppError('unavailable', 'The answer could not be stored.'),
    )
    return (await write(deps, execution, unstored, log, events)) ? unstored : null
  }
}
