import type OpenAI from 'openai'
import type { ChatRequest, ToolCall, Usage } from './index.ts'
import { estimateTokens } from './text.ts'

/** Tokens of one call, beyond those of any model: a number above it is a mistake, and sums of such numbers cannot be stored. */
const MAX_COUNT = 10_000_000

/** Whether a provider's number of tokens is one. */
export const isCount = (value: unknown): value is number =>
  Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= MAX_COUNT
const countOf = (value: unknown): number => (isCount(value) ? value : 0)

/** Usage as the provider counted it; null when it did not. */
export function countedUsage(usage: OpenAI.CompletionUsage | null | undefined): Usage | null {
  if (!isCount(usage?.prompt_tokens) || !isCount(usage.completion_tokens)) return null
  const { prompt_tokens, completion_tokens, total_tokens } = usage
  // Servers that do not count may say so with zeros; no request is without a prompt.
  if (prompt_tokens + completion_tokens === 0) return null
  return {
    prompt_tokens,
    completion_tokens,
    total_tokens: isCount(total_tokens) ? total_tokens : prompt_tokens + completion_tokens,
    reasoning_tokens: countOf(usage.completion_tokens_details?.reasoning_tokens),
    cached_tokens: countOf(usage.prompt_tokens_details?.cached_tokens),
  }
}

/** Usage of a call that nobody counted, estimated from the texts that went in and came out. */
export function estimateUsage(request: ChatRequest, answer: string, calls: readonly ToolCall[]): Usage {
  const callText = (made: readonly ToolCall[]) => made.map((call) => call.name + call.arguments).join('')
  const prompt = [
    request.system,
    ...request.messages.map((message) =>
      message.role === 'assistant' ? message.content + callText(message.toolCalls ?? []) : message.content,
    ),
    ...request.context.map((item) => item.text),
    ...(request.tools ?? []).map((tool) => tool.name + tool.description + JSON.stringify(tool.inputSchema)),
  ]
  const promptTokens = prompt.reduce((sum, text) => sum + estimateTokens(text), 0)
  const completionTokens = estimateTokens(answer + callText(calls))
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    reasoning_tokens: 0,
    cached_tokens: 0,
  }
}
