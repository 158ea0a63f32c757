import type { Citation } from '../_shared/citations.ts'
import { AppError, ERROR_STATUS, fromPostgrest } from '../_shared/errors.ts'
import type { ErrorCode } from '../_shared/errors.ts'
import type { ContextItem } from '../_shared/providers/index.ts'
import type { AgentEvent } from './agent-endpoint.ts'
import type { Answer, Send, TurnContext } from './turn.ts'

/**
 * Lets our own api answer. The asker's identity goes along, so context goes by reference and is read again there; the api
 * keeps the run, its citations and what was filtered out.
 * @throws AppError, SseReadError when there is no whole answer; `answer` then holds what there was.
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
      maySearch: context.knowledgeBaseIds === null,
      contextItems: items.map((item) => ({ item_id: item.itemId, meta: { score: item.meta['score'] } })),
      caller,
      requestId,
    },
    signal,
  )
  let runId: string | null = null
  try {
    for await (const event of events) {
      if (typeof event['run_id'] === 'string') runId = event['run_id']
      if (event.event === 'complete') {
        // Held back until the message is stored: after it, nothing else may come.
        answer.complete = event
        break
      }
      if (event.event === 'content_delta' && typeof event['delta'] === 'string') answer.content += event['delta']
      // The agent knows its own session; the client knows the person's.
      send('session_id' in event ? { ...event, session_id: turn.session_id } : event)
    }
  } finally {
    if (runId !== null) answer.runUuid = await runUuidOf(context, runId)
  }
  if (answer.complete === null) throw new AppError('upstream_failed', 'The answer was cut off.')
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

async function runUuidOf({ db, deps, requestId }: TurnContext, runId: string): Promise<string | null> {
  const { data, error } = await db
    .schema('ai')
    .from('agent_runs')
    .select('id')
    .eq('run_id', runId)
    .maybeSingle<{ id: string }>()
  // The answer is worth storing without its run as well.
  if (error) deps.log.error('run_lookup_failed', { request_id: requestId, code: fromPostgrest(error).code })
  return data?.id ?? null
}
