import OpenAI from 'openai'
import { AppError } from '../errors.ts'
import type { Env } from '../env.ts'
import { optional } from '../env.ts'
import type { ChatEvent, ChatProvider, ChatRequest, Embedder, Usage } from './index.ts'
import { systemPrompt } from './prompt.ts'
import { estimateTokens } from './text.ts'

const DEFAULT_CHAT_MODEL = 'gpt-4o-mini'
const DEFAULT_EMBEDDING_MODEL = 'text-embedding-3-small'
/** Until the response headers, per attempt. */
const REQUEST_TIMEOUT_MS = 30_000
/** Between two pieces of a stream; the SDK's own timeout ends with the headers. */
const STALL_TIMEOUT_MS = 60_000
const EMBEDDING_BATCH = 64

/** Timeouts in milliseconds; tests shorten them. */
export type OpenAiTimeouts = { requestMs?: number; stallMs?: number; maxRetries?: number }

function createSdk(env: Env, timeouts: OpenAiTimeouts): OpenAI {
  return new OpenAI({
    // Given in full, so that the SDK looks for nothing in the environment itself.
    apiKey: optional(env, 'OPENAI_API_KEY') ?? 'none',
    baseURL: optional(env, 'OPENAI_BASE_URL') ?? 'https://api.openai.com/v1',
    organization: null,
    project: null,
    logLevel: 'off',
    maxRetries: timeouts.maxRetries ?? 2,
    timeout: timeouts.requestMs ?? REQUEST_TIMEOUT_MS,
  })
}

/** What a failed call means. Texts of the provider stay in the log: they may quote keys and prompts. */
function providerError(error: unknown): AppError {
  if (error instanceof AppError) return error
  if (error instanceof OpenAI.APIConnectionTimeoutError) {
    return new AppError('upstream_timeout', 'The model provider did not answer in time.', { cause: error })
  }
  if (error instanceof OpenAI.APIError) {
    if (error.code === 'context_length_exceeded') {
      return new AppError('context_length_exceeded', 'The prompt is too long for the model.', { cause: error })
    }
    if (error.status === 429) {
      return new AppError('rate_limited', 'The model provider refuses more requests for now.', { cause: error })
    }
    if (error.status !== undefined) {
      return new AppError('upstream_failed', `The model provider refused the request (HTTP ${error.status}).`, {
        cause: error,
      })
    }
  }
  return new AppError('upstream_failed', 'The connection to the model provider broke off.', { cause: error })
}

function usageOf(usage: OpenAI.CompletionUsage | null | undefined, request: ChatRequest, answer: string): Usage {
  if (!usage) {
    const texts = [request.system, ...request.messages.map((m) => m.content), ...request.context.map((i) => i.text)]
    const promptTokens = texts.reduce((sum, text) => sum + estimateTokens(text), 0)
    const completionTokens = estimateTokens(answer)
    return {
      prompt_tokens: promptTokens,
      completion_tokens: completionTokens,
      total_tokens: promptTokens + completionTokens,
      reasoning_tokens: 0,
      cached_tokens: 0,
    }
  }
  return {
    prompt_tokens: usage.prompt_tokens,
    completion_tokens: usage.completion_tokens,
    total_tokens: usage.total_tokens,
    reasoning_tokens: usage.completion_tokens_details?.reasoning_tokens ?? 0,
    cached_tokens: usage.prompt_tokens_details?.cached_tokens ?? 0,
  }
}

/** Reasoning text, under the names that compatible servers use. */
const reasoningOf = (delta: object): string => {
  const { reasoning_content: content, reasoning } = delta as { reasoning_content?: unknown; reasoning?: unknown }
  return typeof content === 'string' ? content : typeof reasoning === 'string' ? reasoning : ''
}

/** Chat through any OpenAI-compatible endpoint: OPENAI_BASE_URL, OPENAI_API_KEY, CHAT_MODEL. */
export function createOpenAiChat(env: Env, timeouts: OpenAiTimeouts = {}): ChatProvider {
  const sdk = createSdk(env, timeouts)
  const model = optional(env, 'CHAT_MODEL') ?? DEFAULT_CHAT_MODEL
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
    let answer = ''
    let usage: OpenAI.CompletionUsage | null | undefined
    let finishReason: string | null = null
    try {
      const maxTokens = request.maxTokens === undefined ? {} : { max_tokens: request.maxTokens }
      const pieces = await sdk.chat.completions.create(
        {
          model: modelFor(request.model),
          messages: [
            { role: 'system', content: systemPrompt(request.system, request.context, request.citations) },
            ...request.messages,
          ],
          stream: true,
          stream_options: { include_usage: true },
          ...(request.temperature === undefined ? {} : { temperature: request.temperature }),
          // Newer OpenAI models refuse the old name, other servers do not know the new one.
          ...(isOpenAi && request.maxTokens !== undefined ? { max_completion_tokens: request.maxTokens } : maxTokens),
        },
        { signal: AbortSignal.any([signal, watchdog.signal]) },
      )
      wait()
      for await (const piece of pieces) {
        wait()
        usage = piece.usage ?? usage
        const choice = piece.choices[0]
        if (!choice) continue
        finishReason = choice.finish_reason ?? finishReason
        const reasoning = reasoningOf(choice.delta ?? {})
        if (reasoning !== '') yield { type: 'reasoning', text: reasoning }
        const text = choice.delta?.content
        if (text) {
          answer += text
          yield { type: 'delta', text }
        }
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
    yield { type: 'done', usage: usageOf(usage, request, answer), finishReason }
  }
  return { name: 'openai', model, modelFor, stream }
}

function unitVector(vector: readonly number[]): number[] {
  let sum = 0
  for (const component of vector) sum += component * component
  const norm = Math.sqrt(sum)
  if (!Number.isFinite(norm) || norm === 0) {
    throw new AppError('upstream_failed', 'The embedding provider sent a vector that cannot be used.')
  }
  return vector.map((component) => component / norm)
}

/** Embeddings through any OpenAI-compatible endpoint: EMBEDDING_MODEL, optionally EMBEDDING_DIMENSIONS. */
export function createOpenAiEmbedder(env: Env, timeouts: OpenAiTimeouts = {}): Embedder {
  const sdk = createSdk(env, timeouts)
  const model = optional(env, 'EMBEDDING_MODEL') ?? DEFAULT_EMBEDDING_MODEL
  const dimensions = Number(optional(env, 'EMBEDDING_DIMENSIONS') ?? 0)
  if (!Number.isInteger(dimensions) || dimensions < 0) throw new Error('EMBEDDING_DIMENSIONS is not a whole number.')

  async function embedBatch(input: string[], signal: AbortSignal | undefined): Promise<number[][]> {
    let answer: OpenAI.CreateEmbeddingResponse
    try {
      answer = await sdk.embeddings.create(
        // `float`: not every compatible server honours the SDK's default, base64.
        { model, input, encoding_format: 'float', ...(dimensions > 0 ? { dimensions } : {}) },
        signal ? { signal } : {},
      )
    } catch (error) {
      signal?.throwIfAborted()
      throw providerError(error)
    }
    const vectors = [...answer.data].sort((a, b) => a.index - b.index).map((entry) => entry.embedding)
    if (vectors.length !== input.length || vectors.some((vector) => vector.length !== vectors[0]?.length)) {
      throw new AppError('upstream_failed', 'The embedding provider sent another number of vectors than asked for.')
    }
    return vectors.map(unitVector)
  }
  return {
    // Vectors shortened to another length are another space.
    model: dimensions > 0 ? `${model}@${dimensions}` : model,
    dimensions,
    async embed(texts, signal) {
      const vectors: number[][] = []
      for (let from = 0; from < texts.length; from += EMBEDDING_BATCH) {
        // An empty input is refused by the API; a space has no meaning either.
        const batch = texts.slice(from, from + EMBEDDING_BATCH).map((text) => text.trim() || ' ')
        vectors.push(...(await embedBatch(batch, signal)))
      }
      return vectors
    },
  }
}
