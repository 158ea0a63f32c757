import type OpenAI from 'openai'
import type { ChatImage, ChatMessage, ChatRequest, ToolCall } from './index.ts'
import { isJsonObject } from './openai-tool-calls.ts'
import { systemPrompt } from './prompt.ts'

/** What a chat completion is asked for, as a stream. */
type Body = OpenAI.ChatCompletionCreateParamsStreaming

/**
 * A call as a message of the past. What the model wrote need not be a name or JSON, but endpoints refuse a whole
 * conversation for one that is not; the result beside it says what was wrong.
 */
const wireCall = (call: ToolCall): OpenAI.ChatCompletionMessageFunctionToolCall => ({
  id: call.id,
  type: 'function',
  function: {
    name: call.name.replace(/[^\w-]/g, '_').slice(0, 64) || '_',
    arguments: isJsonObject(call.arguments) ? call.arguments : '{}',
  },
})

const wireImage = ({ label, mediaType, base64 }: ChatImage): OpenAI.ChatCompletionContentPart[] => [
  { type: 'text', text: label },
  { type: 'image_url', image_url: { url: `data:${mediaType};base64,${base64}` } },
]

function wireMessage(message: ChatMessage): OpenAI.ChatCompletionMessageParam {
  if (message.role === 'tool') {
    return { role: 'tool', tool_call_id: message.toolCallId, content: message.content }
  }
  if (message.role === 'assistant' && message.toolCalls && message.toolCalls.length > 0) {
    // Beside calls, an empty text is refused by some endpoints and null by none.
    return { role: 'assistant', content: message.content || null, tool_calls: message.toolCalls.map(wireCall) }
  }
  if (message.role === 'user' && message.images && message.images.length > 0) {
    return { role: 'user', content: [{ type: 'text', text: message.content }, ...message.images.flatMap(wireImage)] }
  }
  return { role: message.role, content: message.content }
}

const wireTools = (request: ChatRequest): Pick<Body, 'tools'> =>
  request.tools === undefined || request.tools.length === 0
    ? {}
    : {
        tools: request.tools.map(({ name, description, inputSchema }) => ({
          type: 'function',
          function: { name, description, parameters: inputSchema },
        })),
      }

/**
 * The body of a request. Settings that were not asked for are not sent: not every model knows them.
 * @param isOpenAi newer OpenAI models refuse `max_tokens`, other servers do not know its new name.
 */
export function requestBody(request: ChatRequest, model: string, isOpenAi: boolean): Body {
  const { temperature, maxTokens, reasoningEffort, responseFormat } = request
  return {
    model,
    messages: [
      { role: 'system', content: systemPrompt(request.system, request.context, request.citations) },
      ...request.messages.map(wireMessage),
    ],
    stream: true,
    stream_options: { include_usage: true },
    ...wireTools(request),
    ...(temperature === undefined ? {} : { temperature }),
    ...(reasoningEffort === undefined ? {} : { reasoning_effort: reasoningEffort }),
    // Its form is the API's own and was checked where it came in; the endpoint has the last word.
    ...(responseFormat === undefined
      ? {}
      : { response_format: responseFormat as unknown as NonNullable<Body['response_format']> }),
    ...(maxTokens === undefined ? {} : { [isOpenAi ? 'max_completion_tokens' : 'max_tokens']: maxTokens }),
  }
}
