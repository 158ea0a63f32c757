import type { Env } from '../env.ts'
import { optional } from '../env.ts'

/** Of a model that is not in the table. */
const DEFAULT_WINDOW = 128_000

/** Tokens of prompt and answer together, by how names of models begin; the longest match counts. */
const WINDOWS: Readonly<Record<string, number>> = {
  'gpt-3.5-turbo': 16_385,
  'gpt-4': 8_192,
  'gpt-4-0125': 128_000,
  'gpt-4-1106': 128_000,
  'gpt-4-32k': 32_768,
  'gpt-4-turbo': 128_000,
  'gpt-4-vision': 128_000,
  'gpt-4.1': 1_047_576,
  'gpt-4.5': 128_000,
  'gpt-4o': 128_000,
  'gpt-5': 400_000,
  'gpt-5-chat': 128_000,
  'gpt-oss': 131_072,
  o1: 200_000,
  'o1-mini': 128_000,
  'o1-preview': 128_000,
  o3: 200_000,
  'o4-mini': 200_000,
  claude: 200_000,
  gemini: 1_048_576,
  deepseek: 128_000,
  llama3: 8_192,
  'llama3.1': 131_072,
  'llama3.2': 131_072,
  'llama3.3': 131_072,
  'llama-3': 8_192,
  'llama-3.1': 131_072,
  'llama-3.2': 131_072,
  'llama-3.3': 131_072,
  'mistral-7b': 32_768,
  mixtral: 32_768,
  qwen: 32_768,
}
const PREFIXES = Object.keys(WINDOWS).sort((a, b) => b.length - a.length)

/** The window of a model by its name; a vendor before a slash, as routers write it, is skipped. */
export function knownContextWindow(model: string): number {
  const name = model.toLowerCase().replace(/^.*\//, '')
  const prefix = PREFIXES.find((start) => name.startsWith(start))
  return (prefix === undefined ? undefined : WINDOWS[prefix]) ?? DEFAULT_WINDOW
}

/**
 * The window that CHAT_CONTEXT_WINDOW sets for every model, in tokens, or null.
 * @throws Error when it is set to something else than a whole number above zero.
 */
export function configuredContextWindow(env: Env): number | null {
  const text = optional(env, 'CHAT_CONTEXT_WINDOW')
  if (text === undefined) return null
  const tokens = Number(text)
  if (!Number.isSafeInteger(tokens) || tokens < 1) throw new Error('CHAT_CONTEXT_WINDOW is not a whole number above 0.')
  return tokens
}
