import { checkArguments } from '../agent/arguments.ts'
import type { ChatRequest } from '../providers/index.ts'

const ANY_OBJECT = { type: 'object' }

/**
 * What is wrong with an answer that was to have a form, as a sentence; null: nothing. Providers promise the form and some do
 * not keep it, so it is looked at here as well.
 */
export function formatProblem(format: ChatRequest['responseFormat'], content: string): string | null {
  if (format === undefined || format['type'] === 'text') return null
  let value: unknown
  try {
    value = JSON.parse(content)
  } catch {
    return 'The answer does not fit response_format: it is not JSON.'
  }
  const schema = (format['json_schema'] as { schema?: Record<string, unknown> } | undefined)?.schema ?? ANY_OBJECT
  const checked = checkArguments(schema, value)
  return checked.ok ? null : `The answer does not fit response_format. ${checked.problem}`
}
