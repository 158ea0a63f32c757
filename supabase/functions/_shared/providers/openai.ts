import type OpenAI from 'openai'
import type { Env } from '../env.ts'
import { optional } from '../env.ts'
import { AppError } from '../errors.ts'
import { configuredContextWindow, knownContextWindow } from './context-windows.ts'
import type { ChatEvent, ChatProvider, ChatRequest } from './index.ts'
import type { OpenAiTimeouts } from './openai-client.ts'
import { createSdk, providerError } from './openai-client.ts'
import { requestBody } from './openai-request.ts'
import { createToolCallAssembler } from './openai-tool-calls.ts'
import { countedUsage, estimateUsage } from './usage.ts'

export { createOpenAiEmbedder } from './openai-embedder.ts'

const DEFAULT_CHAT_MODEL = 'gpt-4o-mini'
/** Between two pieces of a stream; the SDK's own timeout ends with the headers. */
const STALL_TIMEOUT_MS = 60_000
/** Characters of text and reasoning in one answer. Far more than models write; one that does not stop is not stored as it grows. */
const MAX_ANSWER_CHARS = 2_000_000

/** Other servers' words for why an answer ended. */
const FINISH_REASONS: Readonly<Record<string, string>> = {
  end_turn: 'stop',
  eos: 'stop',
  function_call: 'tool_calls',
  max_tokens: 'length',
  safety: 'content_filter',
  stop_sequence: 'stop',
  tool_use: 'tool_calls',
}

/** Why the answer ended, in the words of ChatEvent; what no word is becomes `unknown`. */
function finishReasonOf(said: string): string {
  const reason = said.toLowerCase()
  if (Object.hasOwn(FINISH_REASONS, reason)) return FINISH_REASONS[reason] ?? reason
  return /^[a-z_]{1,40}$/.test(reason) ? reason : 'unknown'
}

/** Servers do not agree on whether an answer with calls is a `stop`. */
function agreedReason(reason: string, hasCalls: boolean): string {
  if (reason === 'stop' && hasCalls) return 'tool_calls'
  return reason === 'tool_calls' && !hasCalls ? 'stop' : reason
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '')

/** The texts of a delta: answer (a refusal is one, too) and reasoning, which has two names. */
function textsOf(delta: object): { text: string; reasoning: string } {
  const { content, refusal, reasoning_content, reasoning } = delta as Record<string, unknown>
  return {
    text: textOf(content) + textOf(refusal),
    reasoning: textOf(reasoning_content) || textOf(reasoning),
  }
}

const callIdsOf = (request: ChatRequest): string[] =>
  request.messages.flatMap((message) =>
    message.role === 'assistant' ? (message.toolCalls ?? []).map((call) => call.id) : [],
  )

/**
 * Chat through any OpenAI-compatible endpoint: OPENAI_BASE_URL, OPENAI_API_KEY, CHAT_MODEL, CHAT_CONTEXT_WINDOW.
 * @throws Error when CHAT_CONTEXT_WINDOW is no number of tokens.
 */
export function createOpenAiChat(env: Env, timeouts: OpenAiTimeouts = {}): ChatProvider {
  const sdk = createSdk(env, timeouts)
  const model = optional(env, 'CHAT_MODEL') ?? DEFAULT_CHAT_MODEL
  const window = configuredContextWindow(env)
  const isOpenAi = new URL(sdk.baseURL).hostname === 'api.openai.com'
  const stallMs = timeouts.stallMs ?? STALL_TIMEOUT_MS
  const modelFor = (requested: string | null | undefined) => requested || model

  async function* stream(request: ChatRequest, signal: AbortSignal): AsyncGenerator<ChatEvent> {
    const watchdog = new AbortController()
    let timer: ReturnType<typeof setTimeout> | undefined
    const wait = () => {
      clearTimeout(timer)
      timer = setTimeout(() => watchdog.abort(), stallMs)
    }
    const assembler = createToolCallAssembler(callIdsOf(request))
    let answer = ''
    let chars = 0
    let usage: OpenAI.CompletionUsage | null | undefined
    let finishReason: string | null = null
    try {
      const pieces = await sdk.chat.completions.create(requestBody(request, modelFor(request.model), isOpenAi), {
        signal: AbortSignal.any([signal, watchdog.signal]),
        // Tools are offered by a loop, which does so as well.
        ...(request.isRetriedByCaller || (request.tools && request.tools.length > 0) ? { maxRetries: 0 } : {}),
      })
      wait()
      for await (const piece of pieces) {
        wait()
        usage = piece.usage ?? usage
        // Not every server sends choices with its usage.
        const choice = piece.choices?.[0]
        if (!choice) continue
        finishReason = choice.finish_reason ?? finishReason
        const { text, reasoning } = textsOf(choice.delta ?? {})
        chars += text.length + reasoning.length
        if (chars > MAX_ANSWER_CHARS) {
          throw new AppError('upstream_failed', 'The model provider sent an answer that is too large.')
        }
        if (reasoning !== '') yield { type: 'reasoning', text: reasoning }
        if (text !== '') {
          answer += text
          yield { type: 'delta', text }
        }
        assembler.push(choice.delta ?? {})
      }
    } catch (error) {
      if (!signal.aborted && !watchdog.signal.aborted) throw providerError(error)
    } finally {
      clearTimeout(timer)
    }
    // The SDK ends the loop quietly when a stream is aborted; a cut-off answer must not pass for a whole one.
    signal.throwIfAborted()
    if (watchdog.signal.aborted) {
      throw new AppError('upstream_timeout', 'The model provider stopped sending.')
    }
    if (finishReason === null) throw new AppError('upstream_failed', 'The connection to the model provider broke off.')
    const reason = finishReasonOf(finishReason)
    const calls = assembler.finish(reason !== 'stop' && reason !== 'tool_calls')
    for (const call of calls) yield { type: 'tool_call', call }
    yield {
      type: 'done',
      usage: countedUsage(usage) ?? estimateUsage(request, answer, calls),
      finishReason: agreedReason(reason, calls.length > 0),
    }
  }
  return {
    name: 'openai',
    model,
    takesImages: true,
    modelFor,
    contextWindow: (requested) => window ?? knownContextWindow(modelFor(requested)),
    stream,
  }
}
