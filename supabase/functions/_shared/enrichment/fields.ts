import { z } from 'zod'
import type { EnrichmentField } from '../enrichment-ledger.ts'
import { objectSchema } from '../agent/ask-for-object.ts'
import { AppError } from '../errors.ts'

export type { EnrichmentField } from '../enrichment-ledger.ts'

/** Types that a field may have. */
export const FIELD_TYPES = ['text', 'boolean', 'number', 'enum'] as const satisfies EnrichmentField['type'][]
/** Tokens that one answer may have unless asked otherwise. */
export const DEFAULT_MAX_TOKENS = 2000
const MAX_FIELDS = 50

/** Names that the agent API keeps for itself, and one that objects in JavaScript have already. */
const RESERVED = ['id', 'item_id', 'item_type', 'enriched_at', '_enrichment_error', 'constructor']

const fieldName = z
  .string('Each field needs a name')
  .regex(/^[A-Za-z][A-Za-z0-9_]{0,62}$/, 'A field name is a letter, then letters, digits or underscores, 63 at most')
  .refine((name) => !RESERVED.includes(name.toLowerCase()), 'This field name is reserved')
const choice = z
  .string()
  .max(200)
  .refine((text) => text.trim() !== '', 'enum_values may not be empty')

/** One question about a document. The same rules as in the database, which has the last word. */
export const enrichmentField = z
  .object({
    name: fieldName,
    description: z
      .string('Each field needs a description')
      .max(2000)
      .refine((text) => text.trim() !== '', 'Each field needs a description'),
    type: z.enum(FIELD_TYPES, `The type of a field is one of ${FIELD_TYPES.join(', ')}`),
    enum_values: z
      .array(choice)
      .min(2, 'An enum needs at least two enum_values')
      .max(100)
      .refine((values) => new Set(values).size === values.length, 'enum_values must differ from each other')
      .nullish(),
  })
  .refine((field) => field.type !== 'enum' || field.enum_values != null, 'An enum needs at least two enum_values')
  // Clients send an empty or null list beside other types.
  .transform(({ enum_values: values, ...field }) =>
    field.type === 'enum' && values != null ? { ...field, enum_values: values } : field,
  )

/** The questions of a knowledge base: 1 to 50, whose names differ whatever their case. */
export const enrichmentFields = z
  .array(enrichmentField, 'fields must be a list')
  .min(1, 'fields must have at least one field')
  .max(MAX_FIELDS, `fields may have at most ${MAX_FIELDS} fields`)
  .refine(
    (fields) => new Set(fields.map(({ name }) => name.toLowerCase())).size === fields.length,
    'Two fields have the same name',
  )

const ofType = ({ type, enum_values: values, description }: EnrichmentField): Record<string, unknown> => {
  if (type === 'enum') return { type: ['string', 'null'], enum: [...(values ?? []), null], description }
  return { type: [type === 'text' ? 'string' : type, 'null'], description }
}

/** JSON Schema of an answer: every field, nothing else, and null where the document does not say. */
export const answerSchema = (fields: readonly EnrichmentField[]): Record<string, unknown> =>
  objectSchema(Object.fromEntries(fields.map((field) => [field.name, ofType(field)])))

/** What is said to whoever asks for what only a language model can do, where there is none. */
export const needsModel = () =>
  new AppError('enrichment_needs_model', 'Enrichment needs a language model, and this project has none.', {
    hint: 'Set OPENAI_API_KEY or OPENAI_BASE_URL and CHAT_MODEL for the functions and the worker, then run it again.',
  })
