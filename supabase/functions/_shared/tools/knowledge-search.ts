import { cutText } from '../cut-text.ts'
import { formatContext } from '../providers/prompt.ts'
import type { ChatMessage, ContextItem } from '../providers/index.ts'
import { contextItemsOf, search } from '../search.ts'
import type { SearchProviders } from '../search.ts'
import { describeError, toAppError, unwrap } from '../errors.ts'
import { placeKey } from '../search/hits.ts'
import type { RetrievalMethod } from '../search/hits.ts'
import { retrievalOf } from '../search/settings.ts'
import type { StoredSettings } from '../search/settings.ts'
import type { Tool, ToolCallContext, ToolResult } from './types.ts'

/** A knowledge base that an agent's knowledge_search looks in, and how. What is absent is the knowledge base's own setting. */
export type LinkedKnowledgeBase = StoredSettings & {
  id: string
  name: string
  description: string | null
  topK?: number
  method?: RetrievalMethod
  similarityThreshold?: number
  filterMetadata?: Record<string, unknown>
  sourceIds?: string[]
  maxContextTokens?: number
}

/** What counts where neither the assignment nor the knowledge base says: passages, and tokens of all of them. */
export type SearchDefaults = { searchTopK: number; searchMaxContextTokens: number }

export type KnowledgeSearchOptions = {
  knowledgeBases: readonly LinkedKnowledgeBase[]
  defaults: SearchDefaults
  search: SearchProviders
  /** Gives the numbers that passages are cited by; a run counts through. */
  nextKey: () => number
  /** Whether the text carries those numbers. */
  citations: boolean
  /** What was said in the run so far. */
  history?: readonly ChatMessage[] | undefined
}

const CHARS_PER_TOKEN = 4

/** Passages in their order until the allowance is full; the first one always, cut if need be. */
function withinAllowance(items: ContextItem[], maxTokens: number): ContextItem[] {
  let left = maxTokens * CHARS_PER_TOKEN
  const kept: ContextItem[] = []
  for (const item of items) {
    if (item.text.length > left && kept.length > 0) break
    kept.push(item.text.length > left ? { ...item, text: cutText(item.text, left) } : item)
    left -= item.text.length
  }
  return kept
}

const keyOf = ({ sourceId, text, meta }: ContextItem) =>
  placeKey({ source_id: sourceId, start_char: meta['start_char'], end_char: meta['end_char'], text, meta })

const SHOWN_ABOVE = '(Content already shown above.)'

/** Items as the model reads them: what stands in one above already, as a part of a whole document does, is there as a note. */
const withoutRepeats = (items: readonly ContextItem[]): ContextItem[] =>
  items.map((item, index) => {
    const isShown = items
      .slice(0, index)
      .some((above) => above.sourceId === item.sourceId && above.text.includes(item.text))
    return isShown ? { ...item, text: SHOWN_ABOVE } : item
  })

/** Keeps the retrieval under the person's own rights, so that it can be looked at and used again. Null when that fails. */
async function storeRetrieval(
  { principal, log }: ToolCallContext,
  query: string,
  bases: readonly LinkedKnowledgeBase[],
  items: readonly ContextItem[],
  text: string,
  maxContextTokens: number,
): Promise<string | null> {
  try {
    const db = await principal.db()
    const row = unwrap<{ id: string }>(
      await db
        .schema('ai')
        .from('context_handlers')
        .insert({
          tenant_id: principal.tenantId,
          query: query.slice(0, 4000),
          status: 'completed',
          knowledge_base_configs: bases.map(({ id, topK }) => ({ id, ...(topK === undefined ? {} : { top_k: topK }) })),
          max_context_tokens: maxContextTokens,
          retrieved_context: items.map(({ itemId, sourceId, meta, key }) => ({
            item_id: itemId ?? null,
            source_id: sourceId ?? null,
            citation_key: key,
            meta,
          })),
          formatted_context: text,
          completed_at: new Date().toISOString(),
        })
        .select('id')
        .single<{ id: string }>(),
    )
    return row.id
  } catch (error) {
    // The answer does not depend on it.
    log.error('context_handler_not_stored', { error: describeError(error) })
    return null
  }
}

/**
 * `knowledge_search`: searches the linked knowledge bases under the person's token and gives the passages, numbered for
 * citation. A knowledge base that cannot be searched costs a note and not the others' results.
 */
export function createKnowledgeSearch(options: KnowledgeSearchOptions): Tool {
  const { knowledgeBases, defaults } = options
  const names = [...new Set(knowledgeBases.map(({ name }) => name))]
  const listed = knowledgeBases
    .map(({ name, description }) => `- ${name}${description ? `: ${description.slice(0, 300)}` : ''}`)
    .join('\n')

  async function searchOne(base: LinkedKnowledgeBase, query: string, context: ToolCallContext) {
    const settings = retrievalOf(base)
    // Ten whole documents would fill any allowance: they keep to a number of their own.
    const isUnset = base.retrieval_config['top_k'] == null && !settings.wholeDocuments
    const { principal } = context
    const caller = await principal.caller()
    const db = await principal.db()
    const { tenantId, userId, agentId, runUuid: runId } = principal
    const outcome = await search(
      {
        db,
        caller,
        spender: { tenantId, userId, agentId, runId },
        history: () => Promise.resolve(options.history ?? []),
      },
      options.search,
      {
        ...settings,
        query,
        knowledgeBaseIds: [base.id],
        topK: base.topK ?? (isUnset ? defaults.searchTopK : settings.topK),
        method: base.method ?? settings.method,
        similarityThreshold: base.similarityThreshold ?? settings.similarityThreshold,
        ...(base.filterMetadata === undefined ? {} : { filterMetadata: base.filterMetadata }),
        ...(base.sourceIds === undefined ? {} : { sourceIds: base.sourceIds }),
      },
      context.signal,
    )
    const { warnings } = outcome
    if (warnings.length > 0) context.log.info('retrieval_warnings', { knowledge_base_id: base.id, warnings })
    return withinAllowance(contextItemsOf(outcome.hits), base.maxContextTokens ?? defaults.searchMaxContextTokens)
  }

  return {
    name: 'knowledge_search',
    description: `Searches the knowledge bases of this agent and returns the passages that fit best. Knowledge bases:\n${listed}`,
    inputSchema: {
      type: 'object',
      properties: {
        query: {
          type: 'string',
          minLength: 1,
          maxLength: 4000,
          description: 'What to look for, as a question or words.',
        },
        ...(names.length > 1
          ? {
              knowledge_base_names: {
                type: 'array',
                items: { type: 'string', enum: names },
                minItems: 1,
                description: 'Where to look; everywhere when absent.',
              },
            }
          : {}),
      },
      required: ['query'],
      additionalProperties: false,
    },
    kind: 'builtin',
    isConcurrencySafe: true,
    effects: ['reads_untrusted'],
    maxResultChars: null,
    async execute(args, context): Promise<ToolResult> {
      const query = String(args['query'])
      const chosen = args['knowledge_base_names'] as string[] | undefined
      const bases = chosen ? knowledgeBases.filter(({ name }) => chosen.includes(name)) : knowledgeBases
      const answers = await Promise.all(
        bases.map(async (base) => {
          try {
            return { items: await searchOne(base, query, context) }
          } catch (error) {
            context.signal.throwIfAborted()
            return { items: [], note: `${base.name} could not be searched: ${toAppError(error).message}` }
          }
        }),
      )
      // In the order of the knowledge bases, whichever answered first.
      const notes = answers.flatMap(({ note }) => note ?? [])
      if (notes.length === bases.length) return { text: `Error: ${notes.join(' ')}`, isError: true }
      const seen = new Set<string>()
      const items = answers
        .flatMap(({ items }) => items)
        .toSorted((a, b) => Number(b.meta['score'] ?? 0) - Number(a.meta['score'] ?? 0))
        .filter((item) => !seen.has(keyOf(item)) && seen.add(keyOf(item)))
        .map((item) => ({ ...item, key: options.nextKey() }))
      const passages =
        items.length === 0 ? 'Nothing was found.' : formatContext(withoutRepeats(items), options.citations)
      const text = [passages, ...notes.map((note) => `(${note})`)].join('\n\n')
      const handlerId = await storeRetrieval(context, query, bases, items, text, defaults.searchMaxContextTokens)
      return {
        text,
        contextItems: items,
        ...(handlerId === null ? {} : { contextHandler: { id: handlerId, query } }),
      }
    },
  }
}
