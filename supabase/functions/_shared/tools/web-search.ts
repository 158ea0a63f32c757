import { z } from 'zod'
import type { Egress } from '../egress/index.ts'
import type { OutsideService } from '../egress/service.ts'
import { callService, failureResult, serviceFromEnv } from '../egress/service.ts'
import { cleanText, clip } from '../egress/text.ts'
import type { Env } from '../env.ts'
import type { Tool } from './types.ts'

const MAX_CHARS = 50_000
const MAX_BYTES = 2 * 1024 * 1024
const TIMEOUT_MS = 30_000
const MAX_TITLE_CHARS = 300
const MAX_URL_CHARS = 2000

const domains = { type: 'array', items: { type: 'string', maxLength: 253 }, maxItems: 20 }
const date = { type: 'string', pattern: '^\\d{4}-\\d{2}-\\d{2}$' }

const inputSchema = {
  type: 'object',
  properties: {
    query: { type: 'string', minLength: 1, maxLength: 1000, description: 'What to search the web for.' },
    num_results: { type: 'integer', minimum: 1, maximum: 10, default: 5 },
    search_type: { type: 'string', enum: ['auto', 'keyword', 'neural'], default: 'auto' },
    include_domains: { ...domains, description: 'Only results of these domains.' },
    exclude_domains: { ...domains, description: 'No results of these domains.' },
    start_date: { ...date, description: 'Published on this day or later, as YYYY-MM-DD.' },
    end_date: { ...date, description: 'Published on this day or earlier, as YYYY-MM-DD.' },
    category: { type: 'string', maxLength: 100, description: 'Kind of page, e.g. news or research paper.' },
    content_mode: {
      type: 'string',
      enum: ['snippet', 'text'],
      default: 'snippet',
      description: 'How much of each page: an extract, or its text.',
    },
  },
  required: ['query'],
  additionalProperties: false,
}

const resultSchema = z.object({
  url: z.string(),
  title: z.string().nullish(),
  published_date: z.string().nullish(),
  text: z.string().nullish(),
  snippet: z.string().nullish(),
})
const answerSchema = z.object({ results: z.array(z.unknown()) })

/** One result in lines, or null for one that is not a result. */
function describe(found: unknown, number: number, maxTextChars: number): string | null {
  const parsed = resultSchema.safeParse(found)
  if (!parsed.success || !/^https?:\/\/\S+$/i.test(parsed.data.url)) return null
  const { url, title, published_date, text, snippet } = parsed.data
  const line = (value: string, max: number) => cleanText(value).replace(/\s+/g, ' ').trim().slice(0, max).toWellFormed()
  const content = cleanText(text || snippet || '').trim()
  return [
    `${number}. ${line(title ?? '', MAX_TITLE_CHARS) || 'Untitled'}`,
    line(url, MAX_URL_CHARS),
    ...(published_date ? [`Published: ${line(published_date, 40)}`] : []),
    ...(content === '' ? [] : [clip(content, maxTextChars)]),
  ].join('\n')
}

/**
 * The built-in tool `web_search`, or null without a provider. The provider gets a POST of the arguments as they are named in
 * the schema (`{query, num_results, search_type, content_mode, include_domains?, ...}`) with its key as a bearer token, and
 * answers `{results: [{url, title?, published_date?, snippet?, text?}]}`. An adapter of a few lines makes any search API one.
 */
export function createWebSearch(egress: Egress, provider: OutsideService | null): Tool | null {
  if (provider === null) return null
  return {
    kind: 'builtin',
    name: 'web_search',
    description: 'Searches the public web and returns titles, addresses and extracts of the pages found.',
    inputSchema,
    isConcurrencySafe: false,
    isRetrySafe: true,
    effects: ['egress', 'reads_untrusted'],
    maxResultChars: MAX_CHARS,
    async execute(args, { signal }) {
      const request = { num_results: 5, search_type: 'auto', content_mode: 'snippet', ...args }
      try {
        const limits = { signal, timeoutMs: TIMEOUT_MS, maxBytes: MAX_BYTES }
        const answer = answerSchema.safeParse(await callService(egress, provider, request, limits))
        if (!answer.success) return { text: 'The search service gave an answer that cannot be read.', isError: true }
        const found = answer.data.results.slice(0, request.num_results)
        const maxTextChars = Math.floor(MAX_CHARS / Math.max(found.length, 1)) - MAX_TITLE_CHARS - MAX_URL_CHARS - 100
        const lines = found.map((result, i) => describe(result, i + 1, maxTextChars)).filter((text) => text !== null)
        return { text: lines.length === 0 ? 'Nothing was found.' : clip(lines.join('\n\n'), MAX_CHARS) }
      } catch (error) {
        return failureResult(error)
      }
    },
  }
}

/** The provider of WEB_SEARCH_URL and WEB_SEARCH_API_KEY, or null. @throws Error when the first is no URL. */
export const webSearchProviderFromEnv = (env: Env): OutsideService | null =>
  serviceFromEnv(env, 'WEB_SEARCH_URL', 'WEB_SEARCH_API_KEY')
