import type { Env } from '../env.ts'
import { optional } from '../env.ts'
import { GTE_SMALL, createGteSmallEmbedder } from './gte-small.ts'
import { OFFLINE_CHAT_MODEL, createOfflineAnswerer } from './offline-answerer.ts'
import { OFFLINE_EMBEDDING_MODEL, createOfflineEmbedder } from './offline-embedder.ts'
import { createOpenAiChat, createOpenAiEmbedder } from './openai.ts'
import { rerankerFromEnv } from './reranker.ts'
import type { Reranker } from './reranker.ts'

/** Takes the tokens of one request, as a provider counted them. */
export type OnUsage = (tokens: number) => void

/** Turns texts into vectors. Vectors of different `model`s must never be compared. */
export interface Embedder {
  /** Stored with every vector. */
  readonly model: string
  /** Length of its vectors; 0 when only the provider knows. */
  readonly dimensions: number
  /**
   * One vector of unit length per text, in the order given.
   * @param onUsage gets the tokens of each request that the provider has counted; not called where it counts none.
   * @throws AppError `upstream_failed`, `upstream_timeout` or `rate_limited`.
   */
  embed(texts: string[], signal?: AbortSignal, onUsage?: OnUsage): Promise<number[][]>
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

/** A tool as a model is told about it. */
export type ToolDefinition = {
  name: string
  description: string
  /** JSON Schema of an object. */
  inputSchema: Record<string, unknown>
}

/** A call that a model wants made. `arguments` is the text it wrote, which may not even be JSON. */
export type ToolCall = { id: string; name: string; arguments: string }

/** An image beside a message, for providers that take some. */
export type ChatImage = { label: string; mediaType: 'image/png'; base64: string }

/** One message of a conversation with tools. */
export type ChatMessage =
  | { role: 'user'; content: string; images?: readonly ChatImage[] }
  | { role: 'assistant'; content: string; toolCalls?: ToolCall[] }
  | { role: 'tool'; toolCallId: string; name: string; content: string }

/** What a model is asked. `system` holds the agent's instructions only; the provider adds the context. */
export type ChatRequest = {
  model?: string
  system: string
  messages: ChatMessage[]
  /** Tools it may call; none when absent or empty. */
  tools?: ToolDefinition[]
  /** `response_format` of the OpenAI API, e.g. `{ type: 'json_schema', json_schema: {...} }`. */
  responseFormat?: Record<string, unknown>
  reasoningEffort?: 'low' | 'medium' | 'high'
  context: ContextItem[]
  /** Whether the answer should carry `[n]` marks. */
  citations: boolean
  temperature?: number
  /** Tokens the answer may have. */
  maxTokens?: number
  /** Whoever asks tries again itself, and at once where it has another model for it: the provider does not. */
  isRetriedByCaller?: boolean
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
  /** A whole call, once its arguments have arrived. */
  | { type: 'tool_call'; call: ToolCall }
  /** finishReason: `stop`, `tool_calls`, `length` (cut off by maxTokens), `content_filter`, or what the provider says. */
  | { type: 'done'; usage: Usage; finishReason: string }

/** Answers a conversation, as a stream. */
export interface ChatProvider {
  /** Who answers, e.g. `openai` or `offline`; stored with every answer. */
  readonly name: string
  /** Model used when a request names none. */
  readonly model: string
  /** Whether it passes images of messages on; absent: it reads their text alone. */
  readonly takesImages?: boolean
  /** Tokens that images may add to this request beyond its text, estimated: held back with those of the text. Absent: none. */
  imageTokens?(request: ChatRequest): number
  /** The model that a request naming this one will really be answered by. */
  modelFor(requested: string | null | undefined): string
  /** Tokens that prompt and answer of this model may have together, as far as is known. */
  contextWindow(model: string | null | undefined): number
  /**
   * Ends with exactly one `done`; calls of tools come before it.
   * @throws AppError `upstream_failed`, `upstream_timeout`, `rate_limited` or `context_length_exceeded`.
   */
  stream(request: ChatRequest, signal: AbortSignal): AsyncIterable<ChatEvent>
}

/** Deps of functions that let a model answer. */
export type WithChat = { chat: ChatProvider }

/** The active providers. */
export type Providers = WithChat & {
  /** What new vectors are made with. */
  embedder: Embedder
  /**
   * Whoever can embed with the model of this name, as it is stored with vectors, or null: then vectors of that model can
   * be kept, but not asked for.
   */
  embedderFor(model: string): Embedder | null
  /** Null: results stay in the order search gives them. */
  reranker: Reranker | null
  /** One line for the start message: which models answer and embed. */
  describe(): string
}

const hasOpenAi = (env: Env) =>
  optional(env, 'OPENAI_API_KEY') !== undefined || optional(env, 'OPENAI_BASE_URL') !== undefined

function configuredEmbedder(env: Env): Embedder {
  const model = optional(env, 'EMBEDDING_MODEL')
  if (model === GTE_SMALL) return createGteSmallEmbedder()
  return hasOpenAi(env) && model !== OFFLINE_EMBEDDING_MODEL ? createOpenAiEmbedder(env) : createOfflineEmbedder()
}

/** An embedder for a model other than the configured one, e.g. while a knowledge base still has vectors of the one before. */
function otherEmbedder(env: Env, model: string): Embedder | null {
  if (model === OFFLINE_EMBEDDING_MODEL) return createOfflineEmbedder()
  if (model === GTE_SMALL) {
    try {
      return createGteSmallEmbedder()
    } catch {
      return null
    }
  }
  if (!hasOpenAi(env)) return null
  // `name@256`: vectors that were asked for at another length than the model's own.
  const [, name = model, dimensions = ''] = /^(.+)@(\d{1,5})$/.exec(model) ?? []
  return createOpenAiEmbedder({ ...env, EMBEDDING_MODEL: name, EMBEDDING_DIMENSIONS: dimensions })
}

/** Embedders that are kept for models other than the configured one. */
const MAX_OTHER_EMBEDDERS = 16

function embedderResolver(env: Env, configured: Embedder): Providers['embedderFor'] {
  const others = new Map<string, Embedder | null>()
  return (model) => {
    if (model === configured.model) return configured
    let embedder = others.get(model)
    if (embedder === undefined) {
      embedder = otherEmbedder(env, model)
      if (others.size >= MAX_OTHER_EMBEDDERS) others.clear()
      others.set(model, embedder)
    }
    return embedder
  }
}

/**
 * Chooses providers: an OpenAI-compatible endpoint when OPENAI_API_KEY or OPENAI_BASE_URL is set, `gte-small` where
 * EMBEDDING_MODEL asks for it, else the offline pair, which needs no key and no network. EMBEDDING_MODEL and CHAT_MODEL may
 * also name the offline models, to mix both. A reranker is there where RERANK_URL or RERANK_MODEL names one.
 * @throws Error when the environment asks for something this runtime does not have.
 */
export function providersFromEnv(env: Env): Providers {
  const embedder = configuredEmbedder(env)
  const chat =
    hasOpenAi(env) && optional(env, 'CHAT_MODEL') !== OFFLINE_CHAT_MODEL
      ? createOpenAiChat(env)
      : createOfflineAnswerer()
  return {
    chat,
    embedder,
    embedderFor: embedderResolver(env, embedder),
    reranker: rerankerFromEnv(env),
    describe: () => `answers: ${chat.name} (${chat.model}), embeddings: ${embedder.model}`,
  }
}
