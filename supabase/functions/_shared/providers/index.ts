import type { Env } from '../env.ts'
import { optional } from '../env.ts'
import { createGteSmallEmbedder } from './gte-small.ts'
import { OFFLINE_CHAT_MODEL, createOfflineAnswerer } from './offline-answerer.ts'
import { OFFLINE_EMBEDDING_MODEL, createOfflineEmbedder } from './offline-embedder.ts'
import { createOpenAiChat, createOpenAiEmbedder } from './openai.ts'

/** Turns texts into vectors. Vectors of different `model`s must never be compared. */
export interface Embedder {
  /** Stored with every vector. */
  readonly model: string
  /** Length of its vectors; 0 when only the provider knows. */
  readonly dimensions: number
  /**
   * One vector of unit length per text, in the order given.
   * @throws AppError `upstream_failed`, `upstream_timeout` or `rate_limited`.
   */
  embed(texts: string[], signal?: AbortSignal): Promise<number[][]>
}

/** A passage given to the model. `key` is the number by which the answer cites it. */
export type ContextItem = {
  key: number
  text: string
  itemId?: string
  sourceId?: string
  sourceName?: string
  meta: Record<string, unknown>
}

/** What a model is asked. `system` holds the agent's instructions only; the provider adds the context. */
export type ChatRequest = {
  model?: string
  system: string
  messages: { role: 'user' | 'assistant'; content: string }[]
  context: ContextItem[]
  /** Whether the answer should carry `[n]` marks. */
  citations: boolean
  temperature?: number
  /** Tokens the answer may have. */
  maxTokens?: number
}

/** Tokens a call used, as the provider counted them. */
export type Usage = {
  prompt_tokens: number
  completion_tokens: number
  total_tokens: number
  reasoning_tokens: number
  cached_tokens: number
}

export type ChatEvent =
  | { type: 'delta'; text: string }
  | { type: 'reasoning'; text: string }
  | { type: 'done'; usage: Usage; finishReason: string }

/** Answers a conversation, as a stream. */
export interface ChatProvider {
  /** Who answers, e.g. `openai` or `offline`; stored with every answer. */
  readonly name: string
  /** Model used when a request names none. */
  readonly model: string
  /** The model that a request naming this one will really be answered by. */
  modelFor(requested: string | null | undefined): string
  /**
   * Ends with exactly one `done`.
   * @throws AppError `upstream_failed`, `upstream_timeout`, `rate_limited` or `invalid_request` (a prompt that is too long).
   */
  stream(request: ChatRequest, signal: AbortSignal): AsyncIterable<ChatEvent>
}

/** Deps of functions that call models. */
export type WithModels = { chat: ChatProvider; embedder: Embedder }

/** The active providers. */
export type Providers = WithModels & {
  /** One line for the start message: which models answer and embed. */
  describe(): string
}

/**
 * Chooses providers: an OpenAI-compatible endpoint when OPENAI_API_KEY or OPENAI_BASE_URL is set, `gte-small` where
 * EMBEDDING_MODEL asks for it, else the offline pair, which needs no key and no network. EMBEDDING_MODEL and CHAT_MODEL may
 * also name the offline models, to mix both.
 * @throws Error when the environment asks for something this runtime does not have.
 */
export function providersFromEnv(env: Env): Providers {
  const hasOpenAi = optional(env, 'OPENAI_API_KEY') !== undefined || optional(env, 'OPENAI_BASE_URL') !== undefined
  const embeddingModel = optional(env, 'EMBEDDING_MODEL')
  const chatModel = optional(env, 'CHAT_MODEL')
  const embedder =
    embeddingModel === 'gte-small'
      ? createGteSmallEmbedder()
      : hasOpenAi && embeddingModel !== OFFLINE_EMBEDDING_MODEL
        ? createOpenAiEmbedder(env)
        : createOfflineEmbedder()
  const chat = hasOpenAi && chatModel !== OFFLINE_CHAT_MODEL ? createOpenAiChat(env) : createOfflineAnswerer()
  return {
    chat,
    embedder,
    describe: () => `answers: ${chat.name} (${chat.model}), embeddings: ${embedder.model}`,
  }
}
