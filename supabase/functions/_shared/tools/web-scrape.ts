import { z } from 'zod'
import type { Egress } from '../egress/index.ts'
import { htmlToText } from '../egress/html.ts'
import type { OutsideService } from '../egress/service.ts'
import { callService, failureResult, serviceFromEnv } from '../egress/service.ts'
import { cleanText, clip, mediaType, readableText } from '../egress/text.ts'
import type { Env } from '../env.ts'
import type { Tool, ToolResult } from './types.ts'

const MAX_CHARS = 200_000
/** Bytes of a page that are read. A function has two seconds of processor time, and this much HTML takes up to one. */
const MAX_PAGE_BYTES = 1024 * 1024
const MAX_PROVIDER_BYTES = 4 * 1024 * 1024
const TIMEOUT_MS = 30_000
const PROVIDER_TIMEOUT_MS = 60_000
const MAX_WAIT_MS = 10_000
const MOBILE = 'Mozilla/5.0 (Linux; Android 15; Mobile) bulkhead'

const FORMATS = ['markdown', 'text', 'html', 'links'] as const

const inputSchema = {
  type: 'object',
  properties: {
    url: { type: 'string', description: 'Complete https URL of a public page.' },
    formats: {
      type: 'array',
      items: { type: 'string', enum: FORMATS },
      minItems: 1,
      maxItems: 4,
      uniqueItems: true,
      default: ['markdown'],
    },
    include_images: { type: 'boolean', default: false, description: 'Keep the addresses of images.' },
    only_main_content: { type: 'boolean', default: true, description: 'Leave out navigation, header and footer.' },
    exclude_tags: {
      type: 'array',
      items: { type: 'string', pattern: '^[.#]?[A-Za-z_][A-Za-z0-9_-]{0,60}$' },
      maxItems: 20,
      description: 'Elements to leave out: tag names, .class or #id.',
    },
    wait_for: {
      type: 'integer',
      minimum: 0,
      maximum: MAX_WAIT_MS,
      description: 'Milliseconds to let scripts run, where a browser is available.',
    },
    mobile: { type: 'boolean', default: false, description: 'Ask for the page as a phone does.' },
  },
  required: ['url'],
  additionalProperties: false,
}

/** Arguments, as the schema leaves them. */
type Arguments = {
  url: string
  formats?: (typeof FORMATS)[number][]
  include_images?: boolean
  only_main_content?: boolean
  exclude_tags?: string[]
  wait_for?: number
  mobile?: boolean
}

/** A page in the formats asked for, before it is cut. */
type Page = { url: string; title: string; parts: Partial<Record<(typeof FORMATS)[number], string>>; note?: string }

const pageSchema = z.object({
  markdown: z.string().nullish(),
  text: z.string().nullish(),
  html: z.string().nullish(),
  links: z.array(z.string()).nullish(),
  title: z.string().nullish(),
  url: z.string().nullish(),
})

function describe({ url, title, parts, note }: Page): ToolResult {
  const contents = Object.entries(parts)
  const single = contents.length === 1
  const lines = [
    ...(title === '' ? [] : [`Title: ${title}`]),
    `URL: ${url}`,
    ...(note === undefined ? [] : [note]),
    ...contents.map(
      ([format, content]) => `${single ? '' : `\n--- ${format} ---`}\n${content || '[Nothing to read there.]'}`,
    ),
  ]
  return { text: clip(lines.join('\n'), MAX_CHARS) }
}

/** Fetches the page itself. Scripts do not run. */
async function fetchPage(egress: Egress, args: Arguments, signal: AbortSignal): Promise<ToolResult> {
  const {
    url,
    formats = ['markdown'],
    include_images = false,
    only_main_content = true,
    exclude_tags = [],
    mobile = false,
  } = args
  const answer = await egress.fetch(url, {
    headers: {
      accept: 'text/html,application/xhtml+xml,text/plain;q=0.9,*/*;q=0.5',
      'accept-language': 'en,*;q=0.5',
      ...(mobile ? { 'user-agent': MOBILE } : {}),
    },
    signal,
    timeoutMs: TIMEOUT_MS,
    maxBytes: MAX_PAGE_BYTES,
  })
  if (answer.status < 200 || answer.status > 299)
    return { text: `The page answered with HTTP ${answer.status}.`, isError: true }
  const content = readableText(answer)
  if (content === null) {
    const type = mediaType(answer) || 'an unknown type'
    return { text: `There is no text at this address, but ${type.slice(0, 100)}.`, isError: true }
  }
  const note = answer.truncated ? '[The page is longer; only its beginning was read.]' : undefined
  const isHtml =
    /html/.test(mediaType(answer)) || (mediaType(answer) === '' && /^\s*<(?:!doctype html|html)/i.test(content))
  if (!isHtml) return describe({ url: answer.url, title: '', parts: { text: content }, ...(note ? { note } : {}) })

  const read = (markdown: boolean) =>
    htmlToText(content, {
      url: answer.url,
      onlyMainContent: only_main_content,
      includeImages: include_images,
      excludeTags: exclude_tags,
      markdown,
    })
  const markdown = read(true)
  const parts: Page['parts'] = {}
  for (const format of formats) {
    if (format === 'markdown') parts.markdown = markdown.text
    else if (format === 'text') parts.text = read(false).text
    else if (format === 'links') parts.links = markdown.links.join('\n')
    else parts.html = content
  }
  return describe({ url: answer.url, title: markdown.title, parts, ...(note ? { note } : {}) })
}

/** Lets the provider fetch it, which runs scripts and is somewhere else; the rules for addresses hold all the same. */
async function askProvider(
  egress: Egress,
  provider: OutsideService,
  args: Arguments,
  signal: AbortSignal,
): Promise<ToolResult> {
  await egress.check(args.url, signal)
  const { formats = ['markdown'] } = args
  const limits = { signal, timeoutMs: PROVIDER_TIMEOUT_MS, maxBytes: MAX_PROVIDER_BYTES }
  const answer = await callService(egress, provider, { ...args, formats }, limits)
  const { data = answer } = Object(answer) as { data?: unknown }
  const page = pageSchema.safeParse(data)
  if (!page.success) return { text: 'The scraping service gave an answer that cannot be read.', isError: true }
  const parts: Page['parts'] = {}
  for (const format of formats) {
    const content = format === 'links' ? page.data.links?.join('\n') : page.data[format]
    parts[format] = cleanText(content ?? '')
  }
  return describe({ url: args.url, title: cleanText(page.data.title ?? '').slice(0, 300), parts })
}

/**
 * The built-in tool `web_scrape`: a page as text. Without a provider it is fetched by the egress rules and no script runs.
 * A provider gets a POST of the arguments (`{url, formats, include_images?, only_main_content?, exclude_tags?, wait_for?,
 * mobile?}`) with its key as a bearer token and answers `{markdown?, text?, html?, links?, title?}`, or that under `data`.
 */
export function createWebScrape(egress: Egress, options: { provider?: OutsideService | null } = {}): Tool {
  const { provider = null } = options
  return {
    kind: 'builtin',
    name: 'web_scrape',
    description:
      'Reads a public web page and returns its title and its content as Markdown, text, HTML or a list of links.',
    inputSchema,
    isConcurrencySafe: false,
    isRetrySafe: true,
    effects: ['egress', 'reads_untrusted'],
    maxResultChars: MAX_CHARS,
    async execute(args, { signal }) {
      try {
        // The schema has been checked by whoever calls.
        const request = args as Arguments
        return await (provider === null
          ? fetchPage(egress, request, signal)
          : askProvider(egress, provider, request, signal))
      } catch (error) {
        return failureResult(error)
      }
    },
  }
}

/** The provider of WEB_SCRAPE_URL and WEB_SCRAPE_API_KEY, or null. @throws Error when the first is no URL. */
export const webScrapeProviderFromEnv = (env: Env): OutsideService | null =>
  serviceFromEnv(env, 'WEB_SCRAPE_URL', 'WEB_SCRAPE_API_KEY')
