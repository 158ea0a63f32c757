import { expect, it } from 'vitest'
import type { Egress } from '../../../supabase/functions/_shared/egress/index.ts'
import { createCodeExecute } from '../../../supabase/functions/_shared/tools/code-execute.ts'
import { createDatabaseQuery } from '../../../supabase/functions/_shared/tools/database/query.ts'
import { createDatabaseWrite } from '../../../supabase/functions/_shared/tools/database/write.ts'
import { createHttpRequest } from '../../../supabase/functions/_shared/tools/http-request.ts'
import type { KnowledgeSearchOptions } from '../../../supabase/functions/_shared/tools/knowledge-search.ts'
import { createKnowledgeSearch } from '../../../supabase/functions/_shared/tools/knowledge-search.ts'
import { createStorageRead, createStorageWrite } from '../../../supabase/functions/_shared/tools/storage.ts'
import type { Tool } from '../../../supabase/functions/_shared/tools/types.ts'
import { createWebScrape } from '../../../supabase/functions/_shared/tools/web-scrape.ts'
import { createWebSearch } from '../../../supabase/functions/_shared/tools/web-search.ts'

const egress = {} as Egress
const service = { url: 'https://service.example/', headers: {} } as unknown as Parameters<typeof createWebSearch>[1]
const search = { knowledgeBases: [], citations: false } as unknown as KnowledgeSearchOptions

/** Whether an interrupted call is made again without asking anybody. */
function isRepeated(tool: Tool | null, args: Record<string, unknown> = {}): boolean {
  const declared = tool?.isRetrySafe ?? tool?.isConcurrencySafe
  if (declared === undefined) throw new Error('There is no such tool.')
  return typeof declared === 'function' ? declared(args) : declared
}

it.each<[string, Tool | null, boolean]>([
  ['knowledge_search', createKnowledgeSearch(search), true],
  ['database_query', createDatabaseQuery({ tables: [] }), true],
  ['storage_read', createStorageRead(), true],
  ['web_search', createWebSearch(egress, service), true],
  ['web_scrape', createWebScrape(egress), true],
  ['http_request', createHttpRequest(egress), true],
  ['database_write', createDatabaseWrite({ tables: [] }), false],
  ['storage_write', createStorageWrite(), false],
  ['code_execute', createCodeExecute(egress, service), false],
])('an interrupted call of %s is repeated only if it reads', (_name, tool, expected) => {
  expect(isRepeated(tool)).toBe(expected)
})

it('http_request is judged by its method', () => {
  expect(isRepeated(createHttpRequest(egress), { method: 'POST' })).toBe(false)
})
