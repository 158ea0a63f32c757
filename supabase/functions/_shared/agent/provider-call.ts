import { AppError, describeError } from '../errors.ts'
import type { Log } from '../errors.ts'
import type { ChatEvent, ChatProvider, ChatRequest, Usage } from '../providers/index.ts'
import { itemsUntilAborted, untilAborted } from './abort.ts'
import type { Budget, BudgetGrant, BudgetRequest } from './budget.ts'
import { CHARS_PER_TOKEN, fixedTokens, messageTokens } from './context-size.ts'
import { NO_USAGE } from './usage.ts'

/** What a provider is called with. */
export type ProviderAccess = {
  chat: ChatProvider
  budget?: Budget | undefined
  signal: AbortSignal
  log: Log
}

/** HTTP statuses that are about what was sent, not about the provider or its settings. */
const ABOUT_WHAT_WAS_SENT: unknown[] = [400, 413, 422]

/** Whether a provider that answers others has refused this one request. */
export function refusesWhatWasSent(error: AppError): boolean {
  const { status } = Object(error.cause) as { status?: unknown }
  return ABOUT_WHAT_WAS_SENT.includes(status)
}

/** A failed settlement costs no answer: what was reserved stays reserved until the run is over. */
async function settle({ budget, log }: ProviderAccess, { id }: BudgetGrant, usage: Usage | null): Promise<void> {
  if (id === null) return
  try {
    await budget?.settle(id, usage)
  } catch (error) {
    log.error('budget_not_settled', { error: describeError(error) })
  }
}

async function reserve(access: ProviderAccess, want: BudgetRequest): Promise<BudgetGrant> {
  if (!access.budget) return { id: null, maxTokens: want.maxTokens }
  const pending = access.budget.reserve(want)
  try {
    return await untilAborted(pending, access.signal)
  } catch (error) {
    // A grant that comes after the stop is given back.
    pending.then(
      (grant) => settle(access, grant, null),
      () => {},
    )
    throw error
  }
}

/** What an answer that broke off has used, estimated: the provider counts only at the end. */
const estimated = (promptTokens: number, chars: number): Usage => {
  const answer = Math.ceil(chars / CHARS_PER_TOKEN)
  return { ...NO_USAGE, prompt_tokens: promptTokens, completion_tokens: answer, total_tokens: promptTokens + answer }
}

const charsOf = (event: ChatEvent): number => {
  if (event.type === 'done') return 0
  return event.type === 'tool_call' ? event.call.name.length + event.call.arguments.length : event.text.length
}

/**
 * One call of a model provider: its tokens are reserved before and settled after, whatever comes of it.
 * @param take gets every event, `done` last.
 * @returns the tokens used.
 * @throws what the provider throws, AppError `budget_exceeded`, or the reason of a stop.
 */
export async function askModel(
  access: ProviderAccess,
  step: number,
  request: ChatRequest,
  take: (event: ChatEvent) => void,
): Promise<Usage> {
  const { chat, signal } = access
  const promptTokens = fixedTokens(request) + messageTokens(request.messages) + (chat.imageTokens?.(request) ?? 0)
  const wanted = request.maxTokens ?? null
  const grant = await reserve(access, { step, model: chat.modelFor(request.model), promptTokens, maxTokens: wanted })
  const maxTokens = Math.min(grant.maxTokens ?? Infinity, wanted ?? Infinity)
  const granted = maxTokens === Infinity ? request : { ...request, maxTokens }
  let usage: Usage | null = null
  let chars = 0
  try {
    for await (const event of itemsUntilAborted(chat.stream(granted, signal), signal)) {
      chars += charsOf(event)
      if (event.type === 'done') usage = event.usage
      take(event)
      if (event.type === 'done') return event.usage
    }
    throw new AppError('upstream_failed', 'The connection to the model provider broke off.')
  } finally {
    await settle(access, grant, usage ?? (chars === 0 ? null : estimated(promptTokens, chars)))
  }
}
