import { z } from 'zod'
import { schemaProblem } from '../agent/arguments.ts'
import { AppError } from '../errors.ts'
import { jsonObject, uuid } from '../http.ts'
import { droppedInList, droppedKeys } from '../ignored-input.ts'
import { PRIORITIES } from '../priorities.ts'
import { MULTITASK_STRATEGIES } from '../runs.ts'
import { RETRIEVAL_METHODS } from '../search/hits.ts'
import { metadataFilter } from '../search/options.ts'

const topK = z.number().int().min(1).max(100)

/** A knowledge base to retrieve from before the run; older clients call its id `knowledge_base_id`. */
const choiceFields = z.object({
  id: uuid.optional(),
  knowledge_base_id: uuid.optional(),
  top_k: topK.nullish(),
  similarity_threshold: z.number().min(0).max(1).nullish(),
  filter_metadata: metadataFilter.nullish(),
  retrieval_method: z.enum(RETRIEVAL_METHODS).nullish(),
})
export const knowledgeBaseChoice = choiceFields.transform(({ id, knowledge_base_id, ...rest }, context) => {
  const chosen = id ?? knowledge_base_id
  if (chosen === undefined) context.addIssue({ code: 'custom', message: 'Each of knowledge_bases needs an id' })
  return { ...rest, id: chosen ?? '' }
})
/** Warnings about keys of `knowledge_bases` that are not known. */
export const ignoredInChoices = (choices: unknown): string[] =>
  droppedInList('knowledge_bases', choices, Object.keys(choiceFields.shape))

/** A piece of context: by reference (`item_id`, in older documents `id`) or by value (`text`). */
const contextItem = z.object({
  item_id: z.string().max(200).nullish(),
  id: z.string().max(200).nullish(),
  text: z.string().max(200_000).nullish(),
  source_id: z.string().max(200).nullish(),
  meta: jsonObject.nullish(),
})

/** Further knowledge bases for the knowledge_search of one run; unknown keys are errors here. */
const runtimeKnowledgeBase = z.strictObject({
  id: uuid,
  top_k: topK.nullish(),
  retrieval_method: z.enum(RETRIEVAL_METHODS).nullish(),
  similarity_threshold: z.number().min(0).max(1).nullish(),
  filter_metadata: metadataFilter.nullish(),
  source_ids: z.array(uuid).max(100).nullish(),
  max_context_tokens: z.number().int().min(1).max(200_000).nullish(),
})

/** How the answer should look, as the OpenAI API takes it. */
const responseFormat = z.union([
  z.object({ type: z.enum(['text', 'json_object']) }),
  z.object({
    type: z.literal('json_schema'),
    json_schema: z.looseObject({ name: z.string().min(1).max(64), schema: jsonObject }),
  }),
])

/** Body of `POST /api/agents/{id}/run` and `/run/stream`. */
export const runRequest = z.object({
  message: z
    .string('message is required')
    .max(200_000, 'message may have at most 200000 characters')
    .refine((text) => text.trim() !== '', 'message is required'),
  session_id: z
    .string()
    .regex(/^[A-Za-z0-9_.:@-]{0,200}$/, 'session_id may hold 1 to 200 letters, digits and _ . : @ -')
    .nullish(),
  knowledge_bases: z.array(knowledgeBaseChoice).max(20).nullish(),
  context_handler_id: z.string().max(200).nullish(),
  context_override: z.string().max(1_000_000).nullish(),
  context_items: z.array(contextItem).max(500).nullish(),
  max_context_tokens: z.number().int().min(1).max(1_000_000).nullish(),
  citations_enabled: z.boolean().nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  response_format: responseFormat.nullish(),
  reasoning_requested: z.boolean().nullish(),
  timeout_seconds: z.number().min(1).max(600).nullish(),
  /** False: the run is not offered knowledge_search, because the caller has said what to answer from. */
  knowledge_search: z.boolean().nullish(),
  runtime_knowledge_bases: z.array(runtimeKnowledgeBase).max(10).nullish(),
  /** What becomes of this run, or of the others, while one of the same session is active. Default `queue`. */
  multitask_strategy: z.enum(MULTITASK_STRATEGIES).nullish(),
  /** True: answered at once with 202, carried out by a worker. For `/run` only. */
  background: z.boolean().nullish(),
  /** `low`: should it wait, it is begun after what else the tenant has waiting. Default `normal`. */
  priority: z.enum(PRIORITIES).nullish(),
  /** The caller's own message of a chat that this run answers: its answer is stored there when the run ends. */
  chat_message_id: uuid.nullish(),
})

export type RunRequest = z.output<typeof runRequest>
export type KnowledgeBaseChoice = NonNullable<RunRequest['knowledge_bases']>[number]
export type RuntimeKnowledgeBase = z.output<typeof runtimeKnowledgeBase>
export type ContextItemInput = NonNullable<RunRequest['context_items']>[number]

/** Warnings about what of a run's request has no effect, besides fields that are not known; `sent` is the body before its schema. */
export function ignoredInRun(request: RunRequest, sent: Record<string, unknown>): string[] {
  const empty = (request.context_items ?? []).flatMap(({ item_id, id, text }, index) =>
    (item_id ?? id) || text?.trim() ? [] : [`context_items[${index}] is skipped: it has neither text nor item_id.`],
  )
  const given = Object(sent['response_format']) as Record<string, unknown>
  return [
    ...ignoredInChoices(sent['knowledge_bases']),
    ...droppedInList('context_items', sent['context_items'], Object.keys(contextItem.shape)),
    ...empty.slice(0, 20),
    ...droppedKeys('response_format.', given, ['type', 'json_schema']),
    ...(request.response_format?.type !== 'json_schema' && given['json_schema'] != null
      ? [`response_format.json_schema has no effect with type ${request.response_format?.type}.`]
      : []),
    ...(request.context_override?.trim() && request.citations_enabled
      ? ['citations_enabled has no effect with context_override.']
      : []),
  ]
}

/**
 * Checks what a schema cannot: that at most one kind of context is given, and tools where there are some.
 * @throws AppError `invalid_request`.
 */
export function checkRunRequest(request: RunRequest, streams: boolean): void {
  const contexts = [
    request.knowledge_bases,
    request.context_handler_id,
    request.context_override,
    request.context_items,
  ].filter((value) => (Array.isArray(value) ? value.length > 0 : Boolean(value)))
  if (contexts.length > 1) {
    throw new AppError(
      'invalid_request',
      "Only one of 'knowledge_bases', 'context_handler_id', 'context_override', or 'context_items' may be provided",
    )
  }
  if (request.runtime_knowledge_bases && !streams) {
    throw new AppError('invalid_request', 'runtime_knowledge_bases is only supported by /run/stream')
  }
  const format = request.response_format
  const problem = format?.type === 'json_schema' ? schemaProblem(format.json_schema.schema) : null
  if (problem !== null) throw new AppError('invalid_request', `response_format.json_schema.schema ${problem}`)
  if (request.background && streams) throw new AppError('invalid_request', 'background is only supported by /run')
}
