import type { McpServer } from '../sdk.ts'
import { z } from 'zod'
import type { Db } from '../../_shared/context.ts'
import { cutText } from '../../_shared/cut-text.ts'
import { AppError, missing, unwrap } from '../../_shared/errors.ts'
import { isUuid } from '../../_shared/ids.ts'
import { MAX_RESULT_CHARS, answered, textResult } from '../tool-context.ts'
import type { ToolContext } from '../tool-context.ts'

const inputSchema = {
  source_id: z.string().max(100).describe('Id of the source, as search gives it.'),
  page: z.number().int().min(1).max(1_000_000).optional().describe('Page to begin with, from 1.'),
}

/** Pages that are read at once. */
const MAX_PAGES = 50
/** Room for the line about the source and the one about how to read on. */
const FRAME_CHARS = 1_500

type Source = { id: string; name: string; page_count: number | null; extraction_status: string }
type Page = { page_number: number; text: string }

async function findSource(db: Db, id: string): Promise<Source> {
  if (!isUuid(id)) throw missing('source')
  const [source] = unwrap(
    await db
      .schema('ai')
      .from('sources')
      .select('id,name,page_count,extraction_status')
      .eq('id', id)
      .limit(1)
      .returns<Source[]>(),
  )
  if (!source) throw missing('source')
  return source
}

/** As many whole pages as fit, at least a part of the first one, and where to read on; null: that was the end. */
function fitting(pages: readonly Page[], limit: number): { text: string; last: number; isCut: boolean } {
  let text = ''
  let last = 0
  for (const page of pages) {
    const block = `${text === '' ? '' : '\n\n'}--- Page ${page.page_number} ---\n${page.text}`
    if (text !== '' && text.length + block.length > limit) return { text, last, isCut: false }
    text += block
    last = page.page_number
  }
  const isCut = text.length > limit
  return { text: isCut ? cutText(text, limit) : text, last, isCut }
}

/** `read_source`: the text of a document, page by page, as the caller may see it. */
export function registerReadSource(server: McpServer, context: ToolContext): void {
  server.registerTool(
    'read_source',
    {
      title: 'Read a document',
      description: `Reads the text of a document from a page on, at most ${MAX_RESULT_CHARS} characters.`,
      inputSchema,
      annotations: { readOnlyHint: true, openWorldHint: false },
    },
    ({ source_id: id, page: first = 1 }, { signal }) =>
      answered(context, 'read_source', async () => {
        const source = await findSource(context.db, id.toLowerCase())
        const pages = unwrap(
          await context.db
            .schema('ai')
            .from('source_pages')
            .select('page_number,text')
            .eq('source_id', source.id)
            .gte('page_number', first)
            .order('page_number')
            .limit(MAX_PAGES)
            .abortSignal(signal)
            .returns<Page[]>(),
        )
        if (pages.length === 0) {
          if (first > 1) throw new AppError('not_found', 'Page not found')
          throw new AppError('source_not_extracted', `The source has no text yet: it is ${source.extraction_status}.`)
        }
        const { text, last, isCut } = fitting(pages, MAX_RESULT_CHARS - FRAME_CHARS)
        const count = source.page_count ?? last
        const head = `Source: ${JSON.stringify(source.name.slice(0, 1000))}, pages ${first} to ${last} of ${count}\n\n`
        const cutNote = isCut ? `\n\n[Page ${last} is longer than this and was cut.]` : ''
        return textResult(head + text + cutNote + (last < count ? `\n\n[Goes on at page ${last + 1}.]` : ''))
      }),
  )
}
