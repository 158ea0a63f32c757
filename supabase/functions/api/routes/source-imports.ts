import { Hono } from 'hono'
import type { Context } from 'hono'
import { z } from 'zod'
import { MAX_FILE_BYTES } from '../../_shared/body.ts'
import type { Bytes } from '../../_shared/body.ts'
import { actsOn } from '../../_shared/context.ts'
import type { Db } from '../../_shared/context.ts'
import { AppError, toAppError } from '../../_shared/errors.ts'
import { parseLenientBody, warningsField } from '../../_shared/http.ts'
import { uploadSource } from '../../_shared/sources.ts'
import type { SourceDetails } from '../../_shared/sources.ts'
import type { ApiEnv } from '../env.ts'
import { presentUpload, uploadAnswer } from '../upload-answer.ts'
import { fetchPage } from '../web-pages.ts'

/** Pages one request fetches; they are read while the caller waits. */
const MAX_URLS = 20
const CONCURRENCY = 4

/** Body of `POST /api/sources/import-from-storage`. */
export const storageImport = z.object({
  bucket: z.string('bucket and path are required').min(1, 'bucket and path are required').max(100),
  path: z.string('bucket and path are required').min(1, 'bucket and path are required').max(1024),
  name: z.string().trim().min(1).max(1000).nullish(),
  extraction_model: z.string().max(100).nullish(),
})

/** Body of `POST /api/sources/import-url`. */
export const urlImport = z.object({
  mode: z.enum(['urls', 'crawl', 'sitemap'], 'mode must be urls, crawl or sitemap'),
  urls: z.array(z.string().max(2048)).max(MAX_URLS, `urls may have ${MAX_URLS} addresses`).nullish(),
  url: z.string().max(2048).nullish(),
  max_pages: z.number().int().min(1).max(50).nullish(),
})

const modelWarning = (model: string | null | undefined) =>
  model == null || model === 'auto' ? [] : ['extraction_model is ignored: there is one extraction per file type.']

/** The bytes of a file in storage, as the caller may read it. @throws AppError `not_found`, `payload_too_large`. */
async function readStored(db: Db, bucket: string, path: string): Promise<Bytes> {
  const none = (cause: unknown) =>
    new AppError('not_found', 'There is no such file, or you may not read it.', { cause })
  if (path.split('/').some((part) => part === '' || part === '.' || part === '..')) throw none(undefined)
  const { data, error } = await db.storage.from(bucket).download(path).asStream()
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
  const bytes = new Uint8Array(size)
  let offset = 0
  for (const part of parts) {
    bytes.set(part, offset)
    offset += part.byteLength
  }
  return bytes
}

/** Fetches one page and makes a source of it. */
async function importPage(c: Context<ApiEnv>, url: string): Promise<{ id: string; name: string; url: string }> {
  const { egress } = c.var.deps
  if (egress === null) throw new AppError('unavailable', 'This deployment fetches nothing from the web.')
  const page = await fetchPage(egress, url)
  const details: SourceDetails = { fileName: page.fileName, metadata: { source_type: 'url', origin_url: page.url } }
  const { id, name } = await uploadSource(c.var, page.bytes, details)
  return { id, name, url }
}

/** Sources from elsewhere than the request: from storage, and from the web. */
export const sourceImports = new Hono<ApiEnv>()
  .post('/import-from-storage', actsOn(), async (c) => {
    const { body, warnings } = await parseLenientBody(c, storageImport)
    const bytes = await readStored(c.var.db, body.bucket, body.path)
    return uploadAnswer(c, async () => {
      const source = await uploadSource(c.var, bytes, {
        fileName: body.path,
        name: body.name ?? undefined,
        metadata: { source_type: 'storage', origin_path: `${body.bucket}/${body.path}` },
      })
      return { ...presentUpload(source), ...warningsField([...warnings, ...modelWarning(body.extraction_model)]) }
    })
  })
  .post('/import-url', actsOn(), async (c) => {
    const { body, warnings } = await parseLenientBody(c, urlImport)
    if (body.mode !== 'urls') {
      if (!body.url) throw new AppError('invalid_request', `url is required for mode ${body.mode}`)
      throw new AppError('unavailable', 'No crawler is configured.', { hint: 'Send the addresses with mode urls.' })
    }
    const urls = [...new Set(body.urls)]
    if (urls.length === 0) throw new AppError('invalid_request', 'urls is required for mode urls')
    return uploadAnswer(c, async () => {
      const sources: Awaited<ReturnType<typeof importPage>>[] = []
      const failures: AppError[] = []
      for (let from = 0; from < urls.length; from += CONCURRENCY) {
        const batch = urls.slice(from, from + CONCURRENCY)
        const done = await Promise.allSettled(batch.map((url) => importPage(c, url)))
        for (const [index, result] of done.entries()) {
          if (result.status === 'fulfilled') {
            sources.push(result.value)
          } else {
            const failure = toAppError(result.reason)
            failures.push(failure)
            warnings.push(`${JSON.stringify(batch[index])} was not imported: ${failure.message}`)
          }
        }
      }
      // Some of them is an answer; none is a failure.
      if (sources.length === 0 && failures[0]) throw failures[0]
      return { sources, count: sources.length, ...warningsField(warnings) }
    })
  })
