import { cutText } from '../cut-text.ts'
import { AppError } from '../errors.ts'
import type { ChatMessage, ChatProvider, ChatRequest } from '../providers/index.ts'
import { checkArguments } from './arguments.ts'
import { CHARS_PER_TOKEN, fixedTokens, messageTokens, promptBudget } from './context-size.ts'
import { askModel } from './provider-call.ts'
import type { ProviderAccess } from './provider-call.ts'

/** What is asked, of which model, and the form of the answer. */
export type ObjectQuestion = {
  /** Instructions. Nothing of a document or of what a person wrote belongs in here. */
  system: string
  /** What the model is told to do, after the document. */
  ask: string
  /** JSON Schema of the answer, an object. */
  schema: Record<string, unknown>
  /** Names the schema to the provider: letters, digits and underscores. */
  schemaName: string
  /** Null: the provider's own. */
  model: string | null
  /** Tokens that the answer may have. */
  maxTokens: number
  /** Absent: the model's own. */
  reasoningEffort?: ChatRequest['reasoningEffort'] | undefined
}

/** JSON Schema of an object that has all of these properties and no other. */
export const objectSchema = (properties: Record<string, unknown>): Record<string, unknown> => ({
  type: 'object',
  properties,
  required: Object.keys(properties),
  additionalProperties: false,
})

/** A document, or its beginning. */
export type AskedDocument = { name: string; text: string; isWhole: boolean }

/** An answer of the form asked for, or why there is none. `note` says what to know about it. */
export type ObjectAnswer = (
  | { object: Record<string, unknown>; error: null }
  | { object: null; error: { code: string; message: string } }
) & { note: string | null }

/** Characters of a document that are read at most, however much the model could. */
const MAX_TEXT_CHARS = 200_000
/** A text so short that halving it again is of no use. */
const MIN_TEXT_CHARS = 2_000
/** Tries to get an answer of the right form. */
const MAX_ASKINGS = 2

const requestOf = (question: ObjectQuestion, document: AskedDocument | null): ChatRequest => ({
  ...(question.model === null ? {} : { model: question.model }),
  system: question.system,
  messages: [{ role: 'user', content: question.ask }],
  // Providers put it under a heading that says it holds no instructions.
  context: document === null ? [] : [{ key: 1, text: document.text, sourceName: document.name, meta: {} }],
  citations: false,
  maxTokens: question.maxTokens,
  ...(question.reasoningEffort === undefined ? {} : { reasoningEffort: question.reasoningEffort }),
  responseFormat: {
    type: 'json_schema',
    json_schema: { name: question.schemaName, strict: true, schema: question.schema },
  },
})

/**
 * Characters of a document that fit into the model's window beside the question, images if any, and an answer to correct.
 * @param imageTokens of images that the provider does not count yet; absent: those that it says it adds.
 */
export function textLimit(chat: ChatProvider, question: ObjectQuestion, imageTokens?: number): number {
  const request = requestOf(question, { name: '', text: '', isWhole: true })
  const ofImages = imageTokens ?? chat.imageTokens?.(request) ?? 0
  const taken = fixedTokens(request) + messageTokens(request.messages) + ofImages + question.maxTokens
  const free = (promptBudget(chat, request) - taken) * CHARS_PER_TOKEN
  return Math.min(Math.max(free, MIN_TEXT_CHARS), MAX_TEXT_CHARS)
}

const FENCE = '```'

/** What stands in the code fence around an answer, or all of it. Without a pattern, whose time would grow with the square of the text. */
function withoutFence(answer: string): string {
  const text = answer.trim()
  const begin = text.indexOf('\n') + 1
  const isFenced = ['', 'json'].some((language) => text.slice(0, begin).trimEnd() === `${FENCE}${language}`)
  return isFenced && text.endsWith(FENCE) ? text.slice(begin, -FENCE.length) : text
}

/** The object in an answer, also where a model has put a code fence around it. */
function readAnswer(text: string, schema: Record<string, unknown>): ReturnType<typeof checkArguments> {
  let value: unknown
  try {
    value = JSON.parse(withoutFence(text))
  } catch {
    return { ok: false, problem: 'it is not JSON.', args: {} }
  }
  const checked = checkArguments(schema, value)
  return checked.ok ? checked : { ...checked, problem: checked.problem.replace(/^Invalid arguments: /, '') }
}

const failure = (code: string, message: string, note: string | null): ObjectAnswer => ({
  object: null,
  error: { code, message },
  note,
})

async function askOnce(
  access: ProviderAccess,
  question: ObjectQuestion,
  document: AskedDocument | null,
): Promise<ObjectAnswer> {
  const note =
    document === null || document.isWhole
      ? null
      : `Only the first ${document.text.length} characters of the document were read.`
  const request = requestOf(question, document)
  let messages: ChatMessage[] = request.messages
  let problem = ''
  for (let asking = 1; asking <= MAX_ASKINGS; asking++) {
    let text = ''
    let finishReason = ''
    await askModel(access, asking, { ...request, messages }, (event) => {
      if (event.type === 'delta') text += event.text
      else if (event.type === 'done') finishReason = event.finishReason
    })
    if (finishReason === 'content_filter') {
      return failure('refused', 'The provider of the model refused to answer about this document.', note)
    }
    if (finishReason === 'length') {
      return failure(
        'answer_cut_off',
        `The answer needs more than ${question.maxTokens} tokens: raise max_tokens.`,
        note,
      )
    }
    const read = readAnswer(text, question.schema)
    if (read.ok) return { object: read.args, error: null, note }
    problem = read.problem
    const correction = `This answer does not fit the form: ${problem} Answer again, with the JSON object only.`
    messages = [...request.messages, { role: 'assistant', content: text }, { role: 'user', content: correction }]
  }
  return failure('invalid_answer', `The model's answer does not fit the form asked for: ${problem}`, note)
}

/**
 * Asks a model for an object of a certain form, about a document or without one. An answer that does not fit is asked for once
 * more; a text that is too long for the model after all is halved until it is not.
 * @throws AppError what the provider throws, `budget_exceeded`, or the reason of a stop: nothing about this one document.
 */
export async function askForObject(
  access: ProviderAccess,
  question: ObjectQuestion,
  document: AskedDocument | null,
): Promise<ObjectAnswer> {
  const limit = textLimit(access.chat, question)
  let asked =
    document !== null && document.text.length > limit
      ? { ...document, text: cutText(document.text, limit), isWhole: false }
      : document
  for (;;) {
    try {
      return await askOnce(access, question, asked)
    } catch (error) {
      if (!(error instanceof AppError) || error.code !== 'context_length_exceeded') throw error
      if (asked === null || asked.text.length < 2 * MIN_TEXT_CHARS) {
        return failure('context_length_exceeded', error.message, null)
      }
      asked = { ...asked, text: cutText(asked.text, Math.floor(asked.text.length / 2)), isWhole: false }
    }
  }
}
