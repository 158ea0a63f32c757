import type { McpServer } from '../sdk.ts'
import { z } from 'zod'
import { cutText } from '../../_shared/cut-text.ts'
import { warningsField } from '../../_shared/http.ts'
import { search } from '../../_shared/search.ts'
import { MAX_QUERY_CHARS, pagesOf } from '../../_shared/search/hits.ts'
import { RETRIEVAL_DEFAULTS, settingsFor } from '../../_shared/search/settings.ts'
import { MAX_RESULT_CHARS, answered, jsonResult } from '../tool-context.ts'
import type { ToolContext } from '../tool-context.ts'

const inputSchema = z.looseObject({
  query: z.string().min(1).max(MAX_QUERY_CHARS).describe('What to look for, in words.'),
  knowledge_base_ids: z
    .array(z.string().max(100))
    .min(1)
    .max(20)
    .optional()
    .describe('Ids of the knowledge bases to search. Absent: all that can be seen.'),
  top_k: z.number().int().min(1).max(50).optional().describe('How many passages to give at most.'),
})

/** Unknown arguments that are told of. */
const MAX_NAMED = 5

/** Arguments that narrow nothing, because they are called otherwise. */
const unknownArguments = (names: string[]) =>
  names
    .slice(0, MAX_NAMED)
    .map((name) => `The argument ${JSON.stringify(name.slice(0, 64))} is not known here and was ignored.`)

/** `search`: passages by meaning and words, as the caller may see them. */
export function registerSearch(server: McpServer, context: ToolContext): void {
  server.registerTool(
    'search',
    {
      title: 'Search documents',
      description:
        'Finds passages in the documents of the person. Gives JSON: results, best first, each with text, source_id, source_name and pages. Use read_source with a source_id to read on.',
      inputSchema,
      annotations: { readOnlyHint: true, openWorldHint: false },
    },
    ({ query, knowledge_base_ids: named, top_k: topK, ...unknown }, { signal }) =>
      answered(context, 'search', async () => {
        const knowledgeBaseIds = named ? [...new Set(named.map((id) => id.toLowerCase()))] : undefined
        const { settings, tenantId } = await settingsFor(context.db, knowledgeBaseIds)
        const asked = topK ?? settings.topK ?? RETRIEVAL_DEFAULTS.top_k
        const { db, caller } = context
        const found = await search(
          { db, caller, spender: { tenantId, userId: caller.userId } },
          context.deps.search,
          { ...settings, query, knowledgeBaseIds, topK: asked, contextMode: 'text' },
          signal,
        )
        const results: object[] = []
        const cuts: string[] = []
        let chars = 0
        for (const hit of found.hits) {
          chars += hit.text.length
          if (chars > MAX_RESULT_CHARS && results.length > 0) break
          const { text, score, source_id, source_name, knowledge_base_id } = hit
          const shown = cutText(text, MAX_RESULT_CHARS)
          if (shown.length < text.length) cuts.push('A text was cut. Use read_source to read the rest.')
          results.push({ text: shown, score, source_id, source_name, knowledge_base_id, pages: pagesOf(hit) })
        }
        const left = found.hits.length - results.length
        const ignored = unknownArguments(Object.keys(unknown))
        if (left > 0) cuts.push(`${left} more results did not fit.`)
        const warnings = [...ignored, ...found.warnings, ...cuts]
        return jsonResult({ results, ...warningsField(warnings) })
      }),
  )
}
