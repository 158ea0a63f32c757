import { Hono } from 'hono'
import { actsOn } from '../../_shared/context.ts'
import type { Db } from '../../_shared/context.ts'
import { AppError, unwrap } from '../../_shared/errors.ts'
import { uuidParam } from '../../_shared/http.ts'
import { attachment } from '../../_shared/object-store.ts'
import { openPageImage } from '../../_shared/open-page-image.ts'
import { pageImagesOf } from '../../_shared/page-images.ts'
import { asReadable, getSource } from '../../_shared/sources.ts'
import type { SourceRow } from '../../_shared/sources.ts'
import type { ApiEnv } from '../env.ts'

const DERIVATIVES = ['markdown', 'text', 'page_text', 'image']
/** Pages the Data API gives at once. */
const ROWS_PER_REQUEST = 1000
const MAX_PAGE = 1_000_000

/** A number of a query, from `min`; null when absent. @throws AppError `invalid_request`. */
function queryNumber(text: string | undefined, name: string, min: number): number | null {
  if (text === undefined) return null
  const value = Number(text)
  if (text.trim() !== '' && Number.isInteger(value) && value >= min && value <= MAX_PAGE) return value
  throw new AppError('invalid_request', `${name} must be a number from ${min}`)
}

/** Text of one page, from 1; null when there is no such page. */
async function readPage(db: Db, sourceId: string, page: number): Promise<string | null> {
  const { data, error } = await db
    .schema('ai')
    .from('source_pages')
    .select('text')
    .eq('source_id', sourceId)
    .eq('page_number', page)
    .maybeSingle<{ text: string }>()
  return (error ? unwrap<{ text: string }>({ data, error }) : data)?.text ?? null
}

async function readPages(db: Db, sourceId: string): Promise<string[]> {
  const texts: string[] = []
  for (;;) {
    const rows = unwrap<{ text: string }[]>(
      await db
        .schema('ai')
        .from('source_pages')
        .select('text')
        .eq('source_id', sourceId)
        .order('page_number')
        .range(texts.length, texts.length + ROWS_PER_REQUEST - 1)
        .returns<{ text: string }[]>(),
    )
    texts.push(...rows.map((row) => row.text))
    if (rows.length < ROWS_PER_REQUEST) return texts
  }
}

type TextDerivative = { text: string; ending: string; mimeType: 'text/plain' | 'text/markdown' }

/** Whether extraction has listed the text as Markdown: what was extracted before that is not. */
const isListedAsMarkdown = ({ derivatives }: SourceRow): boolean =>
  Array.isArray(derivatives['markdown']) && derivatives['markdown'].length > 0

/** A derivative of text, and the ending of its name; null when there is none. */
async function readDerivative(db: Db, source: SourceRow, type: string, index: number): Promise<TextDerivative | null> {
  if (type === 'page_text') {
    const text = await readPage(db, source.id, index + 1)
    return text === null ? null : { text, ending: `page-${index + 1}.txt`, mimeType: 'text/plain' }
  }
  const isMarkdown = type === 'markdown'
  if (index > 0 || (isMarkdown && !isListedAsMarkdown(source))) return null
  const pages = await readPages(db, source.id)
  if (pages.length === 0) return null
  const text = pages.join('\n\n')
  // Readers of every format write headings, lists and tables as Markdown: it is the same text under both names.
  if (isMarkdown) return { text, ending: 'md', mimeType: 'text/markdown' }
  return { text, ending: 'text.txt', mimeType: 'text/plain' }
}

/** What extraction made of a source. */
export const sourceTexts = new Hono<ApiEnv>()
  .get('/:id/page-texts', actsOn('source'), async (c) => {
    const { db } = c.var
    const source = await getSource(db, uuidParam(c, 'id', 'source'))
    const page = queryNumber(c.req.query('page'), 'page', 1)
    if (page === null) {
      const texts = await readPages(db, source.id)
      return c.json({ page_texts: texts, count: texts.length })
    }
    const text = await readPage(db, source.id, page)
    if (text === null) throw new AppError('not_found', 'Page not found')
    return c.json({ text, page, count: source.page_count ?? 0 })
  })
  .get('/:id/derivatives/:type/download', actsOn('source'), async (c) => {
    const source = await getSource(c.var.db, uuidParam(c, 'id', 'source'))
    const type = c.req.param('type')
    if (!DERIVATIVES.includes(type)) {
      throw new AppError('invalid_request', `type must be one of ${DERIVATIVES.join(', ')}`)
    }
    const index = queryNumber(c.req.query('index'), 'index', 0) ?? 0
    if (type === 'image') {
      const image = pageImagesOf(source)[index]
      const opened = image && (await openPageImage(c.var.deps.objects, image))
      if (!opened) throw new AppError('not_found', 'Derivative not found')
      return c.body(asReadable(opened.stream), 200, {
        'content-type': 'image/png',
        'content-disposition': attachment(`${source.name}.page-${image.page}.png`),
        'cache-control': 'no-store',
        ...(opened.sizeBytes === null ? {} : { 'content-length': String(opened.sizeBytes) }),
      })
    }
    const derivative = await readDerivative(c.var.db, source, type, index)
    if (derivative === null) throw new AppError('not_found', 'Derivative not found')
    return c.body(derivative.text, 200, {
      'content-type': `${derivative.mimeType}; charset=utf-8`,
      'content-disposition': attachment(`${source.name}.${derivative.ending}`),
      'cache-control': 'no-store',
    })
  })
