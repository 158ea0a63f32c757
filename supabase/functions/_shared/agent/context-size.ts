import type { ChatMessage, ChatProvider, ChatRequest } from '../providers/index.ts'

/** Characters that are taken for one token. */
export const CHARS_PER_TOKEN = 4
/** Tokens kept free for the answer when the request names no limit. */
const DEFAULT_OUTPUT_TOKENS = 8192
/** Tokens kept free because the estimate is one. */
const MAX_BUFFER_TOKENS = 8000

/** Characters of one message, with the calls it holds. */
export function messageChars(message: ChatMessage): number {
  const calls = message.role === 'assistant' ? (message.toolCalls ?? []) : []
  return message.content.length + calls.reduce((sum, call) => sum + call.name.length + call.arguments.length, 0)
}

/** Tokens that a prompt may take in this model's window: what is left beside the answer and a margin. */
export function promptBudget(chat: ChatProvider, request: Pick<ChatRequest, 'model' | 'maxTokens'>): number {
  const window = chat.contextWindow(request.model)
  const output = Math.min(request.maxTokens ?? DEFAULT_OUTPUT_TOKENS, Math.floor(window / 2))
  return Math.max(0, window - output - Math.min(MAX_BUFFER_TOKENS, Math.floor(window / 10)))
}

/** Tokens of what goes along with every request whatever its messages: instructions, passages, tools. Estimated. */
export function fixedTokens(request: Pick<ChatRequest, 'system' | 'context' | 'tools'>): number {
  const passages = request.context.reduce((sum, item) => sum + item.text.length, 0)
  const tools = request.tools === undefined || request.tools.length === 0 ? 0 : JSON.stringify(request.tools).length
  return Math.ceil((request.system.length + passages + tools) / CHARS_PER_TOKEN)
}

/** Tokens of messages. Estimated. */
export function messageTokens(messages: readonly ChatMessage[]): number {
  return Math.ceil(messages.reduce((sum, message) => sum + messageChars(message), 0) / CHARS_PER_TOKEN)
}
