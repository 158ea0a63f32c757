import { describe, expect, it } from 'vitest'
import type { Egress } from '../../supabase/functions/_shared/egress/index.ts'
import { codeSandboxFromEnv, createCodeExecute } from '../../supabase/functions/_shared/tools/code-execute.ts'
import { BUILTIN_TOOL_NAMES } from '../../supabase/functions/_shared/tools/custom-definition.ts'
import { createDatabaseQuery } from '../../supabase/functions/_shared/tools/database/query.ts'
import { createDatabaseWrite } from '../../supabase/functions/_shared/tools/database/write.ts'
import { createHttpRequest } from '../../supabase/functions/_shared/tools/http-request.ts'
import { createStorageRead, createStorageWrite } from '../../supabase/functions/_shared/tools/storage.ts'
import { createWebScrape } from '../../supabase/functions/_shared/tools/web-scrape.ts'
import { createWebSearch, webSearchProviderFromEnv } from '../../supabase/functions/_shared/tools/web-search.ts'
import { BUILTIN_TOOLS } from '../../supabase/functions/api/builtin-tools.ts'

/** Nothing is called here; the tools only say what they take. */
const egress = { trusting: () => egress } as unknown as Egress
const env = {
  WEB_SEARCH_URL: 'https://search.example',
  WEB_SEARCH_API_KEY: 'k',
  CODE_EXECUTE_URL: 'https://sandbox.example',
  CODE_EXECUTE_API_KEY: 't',
}
const real = [
  createDatabaseQuery({ tables: [], descriptions: [] }),
  createDatabaseWrite({ tables: [], descriptions: [] }),
  createHttpRequest(egress),
  createStorageRead(),
  createStorageWrite(),
  createWebScrape(egress),
  createWebSearch(egress, webSearchProviderFromEnv(env)),
  createCodeExecute(egress, codeSandboxFromEnv(env)),
]

describe('the list of built-in tools', () => {
  it('has the eight there are, beside knowledge_search, which comes with a knowledge base', () => {
    const names = BUILTIN_TOOLS.map(({ name }) => name)
    expect([...names, 'knowledge_search'].toSorted()).toEqual([...BUILTIN_TOOL_NAMES].toSorted())
    expect(real.map((tool) => tool?.name).toSorted()).toEqual(names.toSorted())
  })

  it.each(BUILTIN_TOOLS.map((tool) => [tool.name, tool] as const))('says what %s takes', (name, listed) => {
    const tool = real.find((candidate) => candidate?.name === name)
    const argumentsOf = (schema: Record<string, unknown> | undefined) => ({
      names: Object.keys(Object(schema?.['properties'])).toSorted(),
      required: schema?.['required'],
    })
    expect(argumentsOf(listed.inputSchema)).toEqual(argumentsOf(tool?.inputSchema))
  })
})
