import { z } from 'zod'
import { droppedInList, droppedKeys, idleKeys } from './ignored-input.ts'

/** How sources become results. The first is the one of a knowledge base that names none. */
export const STRATEGIES = ['chunk_embed', 'full_document', 'page_index', 'graph_index', 'doc2json'] as const
export type Strategy = (typeof STRATEGIES)[number]

/** Sizes of chunks in tokens, unless asked otherwise; the same as the database's defaults. */
const CHUNK_DEFAULTS = { chunk_size: 400, overlap: 50 }

/** Settings that each strategy has of its own, as a new knowledge base gets them. A model of null is the project's. */
export const STRATEGY_DEFAULTS = {
  chunk_embed: CHUNK_DEFAULTS,
  full_document: CHUNK_DEFAULTS,
  page_index: { ...CHUNK_DEFAULTS, if_add_node_summary: 'yes' },
  graph_index: CHUNK_DEFAULTS,
  doc2json: { window_size: 4000, window_overlap: 200, use_images: false, pages_per_window: 3 },
} as const satisfies Record<Strategy, Record<string, unknown>>

/** Results of a knowledge base of whole documents, unless its settings say. */
export const FULL_DOCUMENT_TOP_K = 3

/** `retrieval_config` that a new knowledge base of each strategy gets over what all of them have. */
export const STRATEGY_RETRIEVAL: Record<Strategy, { method?: 'tree_search'; top_k?: number }> = {
  chunk_embed: {},
  full_document: { top_k: FULL_DOCUMENT_TOP_K },
  page_index: { method: 'tree_search' },
  graph_index: {},
  doc2json: {},
}

/** Whether sources are indexed with the help of a language model, and whether they can be without. */
export const STRATEGY_MODEL: Record<Strategy, 'none' | 'optional' | 'required'> = {
  chunk_embed: 'none',
  full_document: 'optional',
  page_index: 'optional',
  graph_index: 'required',
  doc2json: 'required',
}

/** Types that a field of a record may have; `string` and `array` mean text and list. A list is one of texts. */
const RECORD_FIELD_TYPES = ['text', 'string', 'number', 'integer', 'boolean', 'list', 'array'] as const

const MAX_RECORD_FIELDS = 50
/** Characters of a form, as JSON: it is part of every question. */
const MAX_FORM_CHARS = 20_000
/** Names that objects in JavaScript have already. */
const RESERVED = ['constructor', 'prototype']

/** One field of the records that `doc2json` makes. */
const recordField = z.object({
  name: z
    .string('Each field of json_schema needs a name')
    .regex(/^[A-Za-z][A-Za-z0-9_]{0,62}$/, 'A field name is a letter, then letters, digits or underscores, 63 at most')
    .refine((name) => !RESERVED.includes(name.toLowerCase()), 'This field name is reserved'),
  description: z.string().max(2000).default(''),
  type: z
    .enum(RECORD_FIELD_TYPES, `The type of a field of json_schema is one of ${RECORD_FIELD_TYPES.join(', ')}`)
    .default('text'),
})
export type RecordField = z.output<typeof recordField>

/** What is known of each document of a `doc2json` knowledge base. */
const recordForm = z
  .object(
    {
      fields: z
        .array(recordField, 'json_schema.fields must be a list')
        .min(1, 'json_schema.fields must have at least one field')
        .max(MAX_RECORD_FIELDS, `json_schema.fields may have at most ${MAX_RECORD_FIELDS} fields`)
        .refine(
          (fields) => new Set(fields.map(({ name }) => name.toLowerCase())).size === fields.length,
          'Two fields of json_schema have the same name',
        ),
    },
    'json_schema must be an object with fields',
  )
  .refine(
    (form) => JSON.stringify(form).length <= MAX_FORM_CHARS,
    `json_schema may have at most ${MAX_FORM_CHARS} characters`,
  )

const modelName = z.string().trim().min(1).max(200).nullish()
const yesOrNo = z.enum(['yes', 'no'], 'if_add_node_summary is "yes" or "no"').nullish()
const windowSize = z.number().int().min(200).max(32_000)
const windowOverlap = z.number().int().min(0)
const pagesPerWindow = z.number().int().min(1).max(100)

/** Settings with those of the strategy filled in. */
export type IndexingConfig = Record<string, unknown> & { strategy: Strategy }

/** Settings of strategies that ask a model. The documentation of the agent API nests them under `extra`, its code reads them flat. */
const asking = {
  model: modelName.describe('Language model that the strategy asks; absent: that of the project.'),
  enrichment_model: modelName.describe('graph_index: asked for entities; absent: model.'),
  extraction_model: modelName.describe('doc2json: fills in the record; absent: model.'),
  summary_model: modelName.describe(
    'full_document: asked for a summary by which the document is found as well; absent: none is made.',
  ),
  if_add_node_summary: yesOrNo.describe(
    'Whether a model summarizes each section (page_index; absent: yes) or each passage (graph_index; absent: no).',
  ),
  json_schema: recordForm.nullish().describe('doc2json: the fields of a record.'),
  window_size: windowSize.nullish().describe('doc2json: tokens of the document that one question is about.'),
  window_overlap: windowOverlap.nullish().describe('doc2json: tokens that two windows share; at most half of one.'),
  use_images: z
    .boolean()
    .nullish()
    .describe('doc2json: whether the model is shown images of the pages with their text, where there are any.'),
  pages_per_window: pagesPerWindow
    .nullish()
    .describe('doc2json with use_images: pages that one question is about, 8 at most; absent: 3.'),
}

/** Settings with those under `extra` that are not there flat. */
function flattened<Config extends Record<string, unknown>>(config: Config): Config {
  const nested = Object.entries(Object(config['extra']) as Record<string, unknown>)
  const lacking = nested.filter(([key, value]) => key in asking && value != null && config[key] == null)
  return { ...config, ...Object.fromEntries(lacking) }
}

/** Small windows overlap by less than the default. */
const overlapOf = ({ strategy, window_size: size }: { strategy: Strategy; window_size?: number | null | undefined }) =>
  strategy === 'doc2json' && size != null
    ? { window_overlap: Math.min(STRATEGY_DEFAULTS.doc2json.window_overlap, Math.floor(size / 4)) }
    : {}

/** All settings there are. */
const SETTINGS = {
  strategy: z
    .enum(STRATEGIES, `Unknown strategy. This project indexes with ${STRATEGIES.join(', ')}.`)
    .default(STRATEGIES[0]),
  chunk_size: z.number().int().min(50).max(4000).default(CHUNK_DEFAULTS.chunk_size),
  overlap: z.number().int().min(0).default(CHUNK_DEFAULTS.overlap),
  ...asking,
  extra: z.looseObject(asking).nullish().describe('The same settings; those beside it count first.'),
}

/**
 * How sources are indexed: the strategy and its settings. Sizes are in tokens. Keys that are not known here are kept.
 * @throws (when parsed) `invalid_request` for a strategy that is not here.
 */
export const indexingConfig = z
  .looseObject(SETTINGS)
  .refine((config) => config.overlap < config.chunk_size, 'overlap must be smaller than chunk_size')
  .transform(flattened)
  .refine(
    ({ strategy, json_schema: form }) => strategy !== 'doc2json' || form != null,
    'json_schema is required: doc2json fills in its fields',
  )
  .refine(
    ({ window_size: size, window_overlap: overlap }) =>
      overlap == null || overlap * 2 <= (size ?? STRATEGY_DEFAULTS.doc2json.window_size),
    'window_overlap may be at most half of window_size',
  )
  .transform((config): IndexingConfig => {
    const { chunk_size, overlap, ...others } = config
    const sizes = config.strategy === 'doc2json' ? {} : { chunk_size, overlap }
    const fallbacks = { ...STRATEGY_DEFAULTS[config.strategy], ...overlapOf(config), ...sizes }
    const missing = Object.entries(fallbacks).filter(([key]) => config[key] == null || key in sizes)
    return { ...others, ...Object.fromEntries(missing) }
  })

const SIZES = ['chunk_size', 'overlap']
/** Keys of `indexing_config` that each strategy reads. Under `extra` those of `asking` count as well. */
const READ_KEYS: Record<Strategy, readonly string[]> = {
  chunk_embed: SIZES,
  full_document: [...SIZES, 'summary_model', 'extra'],
  page_index: [...SIZES, 'model', 'if_add_node_summary', 'extra'],
  graph_index: [...SIZES, 'model', 'enrichment_model', 'if_add_node_summary', 'extra'],
  doc2json: [
    'json_schema',
    'model',
    'extraction_model',
    'window_size',
    'window_overlap',
    'use_images',
    'pages_per_window',
    'extra',
  ],
}
/** Why keys that clients of the agent API send have no effect, where there is more to say than that. */
const WHY_IDLE: Record<string, string> = {
  embedding_model: 'all knowledge bases are indexed with the embedding model of the project',
  chunk_overlap: 'the key is overlap',
}

/** Whether a key asks for nothing: not set, switched off, or as a knowledge base shows it that was made without. */
const isDefault = (strategy: Strategy, key: string, value: unknown) =>
  value == null || value === false || value === (STRATEGY_DEFAULTS[strategy] as Record<string, unknown>)[key]

/**
 * Warnings about keys of an `indexing_config` that the strategy does not read, the first 20 of each object.
 * @param sent as the request has it, without defaults.
 */
export function idleIndexingKeys(strategy: Strategy, sent: Record<string, unknown>): string[] {
  const known = READ_KEYS[strategy]
  const idle = Object.keys(sent)
    .filter((key) => key !== 'strategy' && !known.includes(key))
    .filter((key) => !(Object.hasOwn(SETTINGS, key) && isDefault(strategy, key, sent[key])))
    .slice(0, 20)
    .map((key) => {
      const name = `The setting ${JSON.stringify(`indexing_config.${key.slice(0, 60)}`)}`
      if (Object.hasOwn(WHY_IDLE, key)) return `${name} is stored but has no effect: ${WHY_IDLE[key]}.`
      // What other strategies read may be stored or not.
      if (Object.hasOwn(SETTINGS, key)) return `${name} has no effect with ${strategy}.`
      return `${name} is stored but has no effect.`
    })
  const form = known.includes('json_schema') ? (Object(flattened(sent)['json_schema']) as Record<string, unknown>) : {}
  return [
    ...idle,
    ...(known.includes('extra')
      ? idleKeys(
          'indexing_config.extra.',
          sent['extra'],
          known.filter((key) => key in asking),
        )
      : []),
    ...droppedKeys('indexing_config.json_schema.', form, ['fields']),
    ...droppedInList('indexing_config.json_schema.fields', form['fields'], Object.keys(recordField.shape)),
  ]
}

const modelOf = (value: unknown): string | null => modelName.catch(null).parse(value) ?? null

/** Settings of `page_index`, from a row that any member may have written: what is unusable falls back to the default. */
export function pageIndexSettings(config: Record<string, unknown>): { model: string | null; isSummarizing: boolean } {
  const { model, if_add_node_summary: summaries } = flattened(config)
  return { model: modelOf(model), isSummarizing: summaries !== 'no' }
}

/** Settings of `graph_index`, from a row that any member may have written. Summaries cost tokens: none unless asked for. */
export function graphIndexSettings(config: Record<string, unknown>): { model: string | null; isSummarizing: boolean } {
  const { model, enrichment_model: named, if_add_node_summary: summaries } = flattened(config)
  return { model: modelOf(named ?? model), isSummarizing: summaries === 'yes' }
}

/** Model that `full_document` asks for summaries; null: it asks none. From a row that any member may have written. */
export const summaryModelOf = (config: Record<string, unknown>): string | null =>
  modelOf(flattened(config)['summary_model'])

/** Settings of `doc2json`; sizes in tokens. `fields` null: the row holds no usable form. */
export type RecordSettings = {
  fields: RecordField[] | null
  model: string | null
  windowSize: number
  windowOverlap: number
  /** Whether the model is shown images of pages, and of how many at once. */
  usesImages: boolean
  pagesPerWindow: number
}

/** Settings of `doc2json`, from a row that any member may have written. */
export function recordSettings(row: Record<string, unknown>): RecordSettings {
  const config = flattened(row)
  const {
    window_size: defaultSize,
    window_overlap: defaultOverlap,
    pages_per_window: defaultPages,
  } = STRATEGY_DEFAULTS.doc2json
  const form = recordForm.safeParse(config['json_schema'])
  const size = windowSize.catch(defaultSize).parse(config['window_size'])
  const overlap = windowOverlap.catch(Math.min(defaultOverlap, Math.floor(size / 4))).parse(config['window_overlap'])
  return {
    fields: form.success ? form.data.fields : null,
    model: modelOf(config['extraction_model'] ?? config['model']),
    windowSize: size,
    windowOverlap: Math.min(overlap, Math.floor(size / 2)),
    usesImages: config['use_images'] === true,
    pagesPerWindow: pagesPerWindow.catch(defaultPages).parse(config['pages_per_window']),
  }
}
