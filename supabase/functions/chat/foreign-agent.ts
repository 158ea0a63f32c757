import { createAnswerFilter } from '../_shared/answer-filter.ts'
import { citationOf, citationsFor } from '../_shared/citations.ts'
import { AppError, describeError, fromPostgrest } from '../_shared/errors.ts'
import type { ContextItem } from '../_shared/providers/index.ts'
import { holdRunLease, runLost, startRunHere } from '../_shared/runs.ts'
import type { StartedRun } from '../_shared/runs.ts'
import { addressesIn, sanitizeMarkdown } from '../_shared/sanitize.ts'
import type { Emit } from '../_shared/sse.ts'
import { turnFailure } from './failure.ts'
import type { Answer, Send, TurnContext } from './turn.ts'

/** Events whose meaning we give ourselves; what else a foreign agent sends is passed on, made harmless. */
const OWN_KINDS = ['session', 'start', 'content_delta', 'chunk', 'stream_end', 'complete', 'error']

/**
 * Lets a foreign agent answer. It gets the context by value and nothing that says who is asking; its text is filtered here,
 * and the run with its citations is kept here.
 * @throws AppError, SseReadError when there is no whole answer; `answer` then holds what there was.
 */
export async function answerFromForeignAgent(
  context: TurnContext,
  items: ContextItem[],
  answer: Answer,
  send: Send,
  signal: AbortSignal,
): Promise<void> {
  const { deps, turn, message } = context
  const remoteId = await remoteAgentId(context)
  const run = await startRunHere(context.db, {
    agentId: turn.agent_id,
    sessionId: context.agentSessionId,
    message,
    model: remoteId,
    provider: 'agent',
    context: items,
    chatMessageId: turn.message_id,
  })
  answer.runUuid = run.id
  // Without numbers: these events are in no log, so that a stream that breaks off cannot be read on.
  const emit: Emit = (event, fields) => send({ event, type: event, ...fields, ts: new Date().toISOString() })
  emit('start', {
    run_id: run.run_id,
    session_id: turn.session_id,
    context_handler_id: null,
    reasoning_requested: false,
    citation_candidates: items.map(citationOf),
  })
  const knownTexts = [message, ...items.map((item) => item.text)]
  const filter = createAnswerFilter({ keys: new Set(items.map((item) => item.key)), knownTexts })
  const give = (text: string) => {
    if (text === '') return
    answer.content += text
    emit('content_delta', { delta: text })
  }
  const stop = new AbortController()
  const release = holdRunLease(deps, run, stop)
  try {
    const usage = await relay(
      context,
      remoteId,
      items,
      { give: (text) => give(filter.push(text)), emit, knownTexts },
      AbortSignal.any([signal, stop.signal]),
    )
    give(filter.end())
    answer.citations = citationsFor(filter.used(), items)
    const complete = completeEvent(run, answer, items.length, usage, filter.invalidCount())
    const isStored = await deps.ledger.finishRun({
      runId: run.id,
      leaseToken: run.lease_token,
      status: 'completed',
      content: answer.content,
      usage,
      citations: answer.citations,
      invalidCitationCount: filter.invalidCount(),
      rest: { firstSeq: 1, events: [complete], journal: [] },
    })
    if (!isStored) throw runLost()
    emit('chunk', { content: answer.content })
    answer.complete = complete
  } catch (error) {
    give(filter.end())
    answer.citations = citationsFor(filter.used(), items)
    const cause: unknown = stop.signal.aborted ? stop.signal.reason : error
    await failRun(context, run, answer, cause)
    throw cause
  } finally {
    release()
  }
}

type Usage = Record<string, number>
type Relay = { give: (text: string) => void; emit: Emit; knownTexts: string[] }

/** Reads the foreign stream to its `complete`. @returns the usage it reports. */
async function relay(
  context: TurnContext,
  agentId: string,
  items: ContextItem[],
  { give, emit, knownTexts }: Relay,
  signal: AbortSignal,
): Promise<Usage> {
  const { deps, caller, message, agentSessionId, requestId } = context
  const allowed = addressesIn(knownTexts)
  // Deltas and the final chunk both carry the text; only one of them counts.
  let source: 'content_delta' | 'chunk' | null = null
  const contextItems = items.map((item) => ({
    text: item.text,
    meta: { ...item.meta, ...(item.sourceName === undefined ? {} : { source_name: item.sourceName }) },
  }))
  const messageId = context.turn.message_id
  const call = { agentId, message, messageId, sessionId: agentSessionId, contextItems, caller, requestId }
  for await (const event of deps.agentEndpoint.stream(call, signal)) {
    const text = event['delta'] ?? event['content']
    if ((event.event === 'content_delta' || event.event === 'chunk') && typeof text === 'string') {
      source ??= event.event
      if (source === event.event) give(text)
    } else if (event.event === 'complete') {
      if (event['status'] === 'failed') throw new AppError('upstream_failed', 'The agent failed.')
      if (source === null && typeof event['content'] === 'string') give(event['content'])
      return usageOf(event['usage'])
    } else if (mayPass(event.event)) {
      const { event: kind, type: _type, seq: _seq, ts: _ts, ...fields } = event
      emit(kind, harmless(fields, allowed, 0) as Record<string, unknown>)
    }
  }
  throw new AppError('upstream_failed', 'The answer was cut off.')
}

/**
 * Whether events of a foreign agent's kind may be passed on. Only plain names, so that none can turn into one of ours; and no
 * deltas, which would have to be made harmless together: their texts come whole as well.
 */
const mayPass = (kind: string) => /^[a-z_]{1,60}$/.test(kind) && !kind.endsWith('_delta') && !OWN_KINDS.includes(kind)

/** All texts of a value, sanitized. */
function harmless(value: unknown, allowed: ReadonlySet<string>, depth: number): unknown {
  if (typeof value === 'string') return sanitizeMarkdown(value, allowed)
  if (typeof value !== 'object' || value === null) return value
  if (depth > 20) return null
  if (Array.isArray(value)) return value.map((entry) => harmless(entry, allowed, depth + 1))
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, harmless(entry, allowed, depth + 1)]))
}

const USAGE_FIELDS = ['prompt_tokens', 'completion_tokens', 'total_tokens', 'reasoning_tokens', 'cached_tokens']

function usageOf(value: unknown): Usage {
  const counts = Object(value) as Record<string, unknown>
  const usage: Usage = {}
  for (const field of USAGE_FIELDS) {
    const count = counts[field]
    usage[field] = typeof count === 'number' && Number.isInteger(count) && count >= 0 && count < 2 ** 31 ? count : 0
  }
  return usage
}

/** The id the foreign server knows the agent by: `settings.remote_agent_id`, else ours. */
async function remoteAgentId({ db, turn }: TurnContext): Promise<string> {
  const { data, error } = await db
    .schema('ai')
    .from('agents')
    .select('settings')
    .eq('id', turn.agent_id)
    .maybeSingle<{ settings: Record<string, unknown> }>()
  if (error) throw fromPostgrest(error)
  const remote = data?.settings['remote_agent_id']
  return typeof remote === 'string' && /^[A-Za-z0-9_-]{1,100}$/.test(remote) ? remote : turn.agent_id
}

async function failRun(
  { deps, requestId }: TurnContext,
  run: StartedRun,
  answer: Answer,
  cause: unknown,
): Promise<void> {
  const { message, code } = turnFailure(cause)
  const complete = { ...completeEvent(run, answer, 0, {}, 0), status: 'failed', error: message, code }
  try {
    await deps.ledger.finishRun({
      runId: run.id,
      leaseToken: run.lease_token,
      status: 'failed',
      content: answer.content,
      usage: {},
      error: 'The answer was not finished.',
      errorCode: code,
      citations: answer.citations,
      rest: { firstSeq: 1, events: [complete], journal: [] },
    })
  } catch (error) {
    deps.log.error('finish_run_failed', { request_id: requestId, run_id: run.run_id, error: describeError(error) })
  }
}

function completeEvent(run: StartedRun, answer: Answer, itemCount: number, usage: Usage, invalidCount: number) {
  return {
    event: 'complete',
    type: 'complete',
    run_id: run.run_id,
    context_handler_id: null,
    content: answer.content,
    retrieved_items: itemCount,
    is_new_session: run.is_new_session,
    status: 'completed',
    steps: 1,
    tool_calls: [],
    usage,
    error: null,
    citations: answer.citations,
    invalid_citation_count: invalidCount,
    provider: 'agent',
    ts: new Date().toISOString(),
  }
}
