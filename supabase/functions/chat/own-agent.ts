import type { Citation } from '../_shared/citations.ts'
import { AppError, ERROR_STATUS, fromPostgrest } from '../_shared/errors.ts'
import type { ErrorCode } from '../_shared/errors.ts'
import type { ContextItem } from '../_shared/providers/index.ts'
import { SseReadError } from '../_shared/sse.ts'
import type { AgentEvent } from './agent-endpoint.ts'
import type { Answer, Send, TurnContext } from './turn.ts'

/**
 * Lets our own api answer. The asker's identity goes along, so context goes by reference and is read again there; the api
 * keeps the run, its citations and what was filtered out, and the database stores the answer when the run ends. A stream that
 * ends before its run, or that nobody reads any more, leaves `answer.openRun`.
 * @throws AppError, SseReadError when there is no whole answer and no run either; `answer` then holds what there was.
 */
export async function answerFromOwnAgent(
  context: TurnContext,
  items: ContextItem[],
  answer: Answer,
  send: Send,
  signal: AbortSignal,
): Promise<void> {
  const { deps, turn, caller, message, agentSessionId, requestId } = context
  const events = deps.agentEndpoint.stream(
    {
      agentId: turn.agent_id,
      message,
      sessionId: agentSessionId,
      messageId: turn.message_id,
      maySearch: context.knowledgeBaseIds === null,
      contextItems: items.map(({ itemId, meta: { score, section_chunks, images } }) => ({
        item_id: itemId,
        meta: {
          score,
          ...(section_chunks === undefined ? {} : { section_chunks }),
          ...(images === undefined ? {} : { images }),
        },
      })),
      caller,
      requestId,
      left: context.left,
    },
    signal,
  )
  let runId: string | null = null
  let lastSeq = 0
  let ended: AgentEvent | null = null
  try {
    for await (const event of events) {
      if (typeof event['run_id'] === 'string') runId = event['run_id']
      if (event.event === 'stream_end') {
        ended = event
        break
      }
      if (typeof event['seq'] === 'number') lastSeq = event['seq']
      if (event.event === 'complete') {
        // Held back until the message is stored: after it, nothing else may come.
        answer.complete = event
        break
      }
      if (event.event === 'content_delta' && typeof event['delta'] === 'string') answer.content += event['delta']
      // The agent knows its own session; the client knows the person's.
      send('session_id' in event ? { ...event, session_id: turn.session_id } : event)
    }
    // One without a number is of the stream alone, and not of its run.
    if (typeof answer.complete?.['seq'] !== 'number') throw new AppError('upstream_failed', 'The answer was cut off.')
  } catch (error) {
    // What was not refused may have begun: then it goes on, and its answer is stored whoever finishes it.
    if (!(error instanceof SseReadError) && !(error instanceof AppError && error.status >= 500)) throw error
    const run = await runOf(context, { chat_message_id: turn.message_id })
    // The token by which it would be found may have expired: then what the stream itself said counts. And where nobody reads it
    // any more, it was left, and did not end.
    const publicId = run?.run_id ?? (ended === null && !context.left.aborted ? null : runId)
    if (publicId === null) {
      if (answer.complete === null) throw error
      return take(answer, answer.complete as AgentEvent)
    }
    answer.complete = null
    const reason = ended?.['reason'] === 'token_expired' ? 'token_expired' : 'time_limit'
    answer.openRun = { run_id: publicId, after: lastSeq, reason }
    return
  }
  if (runId !== null) answer.runUuid = (await runOf(context, { run_id: runId }))?.id ?? null
  take(answer, answer.complete as AgentEvent)
}

function take(answer: Answer, complete: AgentEvent): void {
  if (typeof complete['content'] === 'string') answer.content = complete['content']
  if (Array.isArray(complete['citations'])) answer.citations = complete['citations'] as Citation[]
  if (complete['status'] === 'completed') return
  const code = complete['code']
  answer.status = 'failed'
  answer.error = {
    message: typeof complete['error'] === 'string' ? complete['error'] : 'The agent failed.',
    code: typeof code === 'string' && Object.hasOwn(ERROR_STATUS, code) ? (code as ErrorCode) : 'upstream_failed',
  }
}

/** The run of this public id, or the one that answers this message. */
async function runOf(
  { db, deps, requestId }: TurnContext,
  match: { run_id: string } | { chat_message_id: string },
): Promise<{ id: string; run_id: string } | null> {
  const { data, error } = await db
    .schema('ai')
    .from('agent_runs')
    .select('id,run_id')
    .match(match)
    .limit(1)
    .maybeSingle<{ id: string; run_id: string }>()
  // The answer is worth storing without its run as well.
  if (error) deps.log.error('run_lookup_failed', { request_id: requestId, code: fromPostgrest(error).code })
  return data
}
