import { Hono } from 'hono'
import type { Context } from 'hono'
import { z } from 'zod'
import { MAX_FILE_BYTES } from '../../_shared/body.ts'
import type { Bytes } from '../../_shared/body.ts'
import { actsOn } from '../../_shared/context.ts'
import type { Db } from '../../_shared/context.ts'
import { AppError, describeError, toAppError } from '../../_shared/errors.ts'
import type { ErrorCode } from '../../_shared/errors.ts'
import { parseLenientBody, warningsField } from '../../_shared/http.ts'
import { joinBytes } from '../../_shared/join-bytes.ts'
import { PRIORITIES } from '../../_shared/priorities.ts'
import { uploadSource } from '../../_shared/sources.ts'
import type { SourceDetails } from '../../_shared/sources.ts'
import { crawl } from '../crawl/crawler.ts'
import type { ApiEnv } from '../env.ts'
import { checkExtractionModel } from '../extraction-model.ts'
import { presentUpload, uploadAnswer } from '../upload-answer.ts'
import { fetchPage } from '../web-pages.ts'
import type { PageEgress, WebPage } from '../web-pages.ts'

/** Addresses one request may name, and pages that may be found for it; they are read while the caller waits. */
const MAX_URLS = 20
const MAX_PAGES = 50
const MAX_WARNINGS = 50
const UPLOAD = 'Fetch the pages yourself and upload them with POST /api/sources/upload.'
const CONCURRENCY = 4

/** Body of `POST /api/sources/import-from-storage`. */
export const storageImport = z.object({
  bucket: z.string('bucket and path are required').min(1, 'bucket and path are required').max(100),
  path: z.string('bucket and path are required').min(1, 'bucket and path are required').max(1024),
  name: z.string().trim().min(1).max(1000).nullish(),
  extraction_model: z.string().max(100).nullish(),
  priority: z.enum(PRIORITIES).nullish(),
})

/** Body of `POST /api/sources/import-url`. */
export const urlImport = z.object({
  mode: z.enum(['urls', 'crawl', 'sitemap'], 'mode must be urls, crawl or sitemap'),
  urls: z.array(z.string().max(2048)).max(MAX_URLS, `urls may have ${MAX_URLS} addresses`).nullish(),
  url: z.string().max(2048).nullish(),
  max_pages: z.number().int().min(1).max(MAX_PAGES).nullish(),
  /** Of all pages. */
  priority: z.enum(PRIORITIES).nullish(),
})

/** The bytes of a file in storage, as the caller may read it. @throws AppError `not_found`, `payload_too_large`. */
async function readStored(db: Db, bucket: string, path: string): Promise<Bytes> {
  const none = (cause: unknown) =>
    new AppError('not_found', 'There is no such file, or you may not read it.', { cause })
  // The client of storage puts both into a URL as they are, where `%2e%2e` and `?` mean something else than in a name.
  const names = [bucket, ...path.split('/')].map(encodeURIComponent)
  if (names.some((name) => name === '' || name === '.' || name === '..')) throw none(undefined)
  const [encodedBucket = '', ...encodedPath] = names
  const { data, error } = await db.storage.from(encodedBucket).download(encodedPath.join('/')).asStream()
  if (error) throw none(error)
  const parts: Uint8Array[] = []
  let size = 0
  for await (const part of data as unknown as AsyncIterable<Uint8Array>) {
    size += part.byteLength
    if (size > MAX_FILE_BYTES) {
      throw new AppError('payload_too_large', `The file is larger than ${MAX_FILE_BYTES} bytes.`)
    }
    parts.push(part)
  }
  return joinBytes(parts)
}

/** What an import has come to so far. */
type Imported = {
  sources: { id: string; name: string; url: string }[]
  failures: AppError[]
  warnings: string[]
}

/** Makes a source of a page. */
type KeepPage = (url: string, page: WebPage) => Promise<Imported['sources'][number]>

const pageKeeper =
  (c: Context<ApiEnv>, priority: SourceDetails['priority']): KeepPage =>
  async (url, page) => {
    const origin = { source_type: 'url', origin_url: page.url } as const
    const { id, name } = await uploadSource(c.var, page.bytes, { fileName: page.fileName, origin, priority })
    return { id, name, url }
  }

const ABOUT_THE_CALLER: ErrorCode[] = ['forbidden', 'membership_lost', 'tenant_required', 'unauthenticated']

/** Notes that a page is missing. @throws AppError when no page can be kept, because of who asks. */
function noteFailure(c: Context<ApiEnv>, imported: Imported, url: string, error: unknown): void {
  const failure = toAppError(error)
  // Not about this page but about who asks: the next one would not be kept either.
  if (ABOUT_THE_CALLER.includes(failure.code)) throw failure
  if (failure.status >= 500) c.var.deps.log.error('import_failed', { code: failure.code, error: describeError(error) })
  imported.failures.push(failure)
  imported.warnings.push(`${JSON.stringify(url)} was not imported: ${failure.message}`)
}

/** Fetches the named pages, a few at a time, and makes sources of them. */
async function importUrls(
  c: Context<ApiEnv>,
  egress: PageEgress,
  urls: string[],
  imported: Imported,
  keep: KeepPage,
): Promise<void> {
  for (let from = 0; from < urls.length; from += CONCURRENCY) {
    const batch = urls.slice(from, from + CONCURRENCY)
    const done = await Promise.allSettled(batch.map(async (url) => keep(url, await fetchPage(egress, url))))
    for (const [index, result] of done.entries()) {
      if (result.status === 'fulfilled') imported.sources.push(result.value)
      else noteFailure(c, imported, batch[index] ?? '', result.reason)
    }
  }
}

/** What an import is asked to fetch. @throws AppError `invalid_request` when the mode lacks its addresses. */
function checkImport({ mode, urls, url }: z.output<typeof urlImport>): void {
  if (mode === 'urls' && !urls?.length) throw new AppError('invalid_request', 'urls is required for mode urls')
  if (mode !== 'urls' && !url) throw new AppError('invalid_request', `url is required for mode ${mode}`)
}

/** What is sent for another mode. */
const ignoredOf = ({ mode, ...sent }: z.output<typeof urlImport>): string[] =>
  (mode === 'urls' ? (['url', 'max_pages'] as const) : (['urls'] as const))
    .filter((key) => (Array.isArray(sent[key]) ? sent[key].length > 0 : sent[key] != null && sent[key] !== ''))
    .map((key) => `${key} has no effect with mode ${mode}.`)

/** The answer's warnings: a site may have more broken links than anybody wants to read about. */
const shortened = (warnings: string[]) =>
  warnings.length <= MAX_WARNINGS
    ? warnings
    : [...warnings.slice(0, MAX_WARNINGS), `There are ${warnings.length - MAX_WARNINGS} more warnings like these.`]

/** Sources from elsewhere than the request: from storage, and from the web. */
export const sourceImports = new Hono<ApiEnv>()
  .post('/import-from-storage', actsOn(), async (c) => {
    const { body, warnings } = await parseLenientBody(c, storageImport, ({ extraction_model: model }) =>
      checkExtractionModel(model),
    )
    const bytes = await readStored(c.var.db, body.bucket, body.path)
    return uploadAnswer(c, async () => {
      const source = await uploadSource(c.var, bytes, {
        fileName: body.path,
        name: body.name ?? undefined,
        origin: { source_type: 'storage', origin_path: `${body.bucket}/${body.path}` },
        priority: body.priority,
      })
      return { ...presentUpload(source), ...warningsField(warnings) }
    })
  })
  .post('/import-url', actsOn(), async (c) => {
    const { body, warnings } = await parseLenientBody(c, urlImport, ignoredOf)
    checkImport(body)
    const { egress } = c.var.deps
    if (egress === null)
      throw new AppError('unavailable', 'This deployment fetches nothing from the web.', { hint: UPLOAD })
    return uploadAnswer(c, async () => {
      const imported: Imported = { sources: [], failures: [], warnings }
      const keep = pageKeeper(c, body.priority)
      if (body.mode === 'urls') {
        await importUrls(c, egress, [...new Set(body.urls)], imported, keep)
      } else {
        const request = { mode: body.mode, url: body.url ?? '', maxPages: body.max_pages ?? MAX_PAGES }
        await crawl(egress, request, {
          keep: async (url, page) => void imported.sources.push(await keep(url, page)),
          failed: (url, error) => noteFailure(c, imported, url, error),
          warn: (text) => void warnings.push(text),
        })
      }
      const { sources, failures } = imported
      // Some of them is an answer; none is a failure.
      if (sources.length === 0 && failures[0]) throw failures[0]
      return { sources, count: sources.length, ...warningsField(shortened(warnings)) }
    })
  })
