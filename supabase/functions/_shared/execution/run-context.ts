import { readByIds } from '../batches.ts'
import { excerptOf } from '../citations.ts'
import type { Caller, Db } from '../context.ts'
import { cutText } from '../cut-text.ts'
import { fromPostgrest, missing, toAppError, unwrap } from '../errors.ts'
import { isUuid } from '../ids.ts'
import type { ContextItem } from '../providers/index.ts'
import { contextItemsOf, search } from '../search.ts'
import type { WithSearch } from '../search.ts'
import { standsForDocument, wholeDocuments } from '../search/documents.ts'
import { sessionHistory } from '../search/history.ts'
import { withoutTwins } from '../search/hits.ts'
import { placeOf, readSections, sectionMeta } from '../search/sections.ts'
import { imagesField } from '../search/page-images.ts'
import { readKnowledgeBases, retrievalOf } from '../search/settings.ts'
import { settingOf } from './agent-settings.ts'
import type { ContextItemInput, KnowledgeBaseChoice, RunRequest } from './run-request.ts'
import type { RunDefaults, WithRuns } from './settings.ts'

/** What a run is given to answer from. */
export type RunContext = {
  items: ContextItem[]
  /** The stored retrieval it comes from. */
  handlerId: string | null
  /** False for raw context, whose parts have no numbers to cite. */
  citable: boolean
  warnings: string[]
  /** Set when retrieval failed and the run goes on without it. */
  retrievalWarning: string | null
}

type ChunkRow = {
  id: string
  text: string
  source_id: string
  start_char: number
  end_char: number
  indexed_source_id: string
  chunk_index: number
  meta: Record<string, unknown>
}

const CHARS_PER_TOKEN = 4

const unique = (values: (string | null | undefined)[]) => [
  ...new Set(values.filter(isUuid).map((value) => value.toLowerCase())),
]

async function readChunks(db: Db, ids: string[]): Promise<Map<string, ChunkRow>> {
  const columns = 'id,text,source_id,start_char,end_char,indexed_source_id,chunk_index,meta'
  const rows = await readByIds(ids, async (batch) =>
    unwrap(await db.schema('ai').from('chunks').select(columns).in('id', batch).returns<ChunkRow[]>()),
  )
  return new Map(rows.map((row) => [row.id, row]))
}

async function readSourceNames(db: Db, ids: string[]): Promise<Map<string, string>> {
  const rows = await readByIds(ids, async (batch) =>
    unwrap(
      await db.schema('ai').from('sources').select('id,name').in('id', batch).returns<{ id: string; name: string }[]>(),
    ),
  )
  return new Map(rows.map((row) => [row.id, row.name]))
}

/** Sections, and documents, that are read again for one run; what is left of them are the chunks they were found by. */
const MAX_WIDENED = 50

/** What a chunk is given as. */
type Widened = Pick<ChunkRow, 'text' | 'start_char' | 'end_char' | 'meta'>

/** The chunks that the inputs name, each with the meta beside it. */
const namedChunks = (inputs: ContextItemInput[], chunks: Map<string, ChunkRow>) =>
  inputs.flatMap((input) => {
    const chunk = chunks.get(String(input.item_id ?? input.id).toLowerCase())
    return chunk ? [{ chunk, meta: input.meta }] : []
  })

/** Those of the chunks that stand for their document, with its text: by the id of the chunk. */
async function readDocumentsOf(
  db: Db,
  inputs: ContextItemInput[],
  chunks: Map<string, ChunkRow>,
): Promise<{ documents: Map<string, Widened>; warnings: string[] }> {
  const wanted = namedChunks(inputs, chunks).filter(({ chunk, meta }) => standsForDocument(chunk, meta))
  const found = [...new Map(wanted.map(({ chunk }) => [chunk.id, chunk])).values()].slice(0, MAX_WIDENED)
  const { hits, warnings } = await wholeDocuments(db, found)
  return { documents: new Map(hits.map((hit) => [hit.id, hit])), warnings }
}

/** Those of the chunks that stand for a section, with its text: by the id of the chunk. */
async function readSectionsOf(
  db: Db,
  inputs: ContextItemInput[],
  chunks: Map<string, ChunkRow>,
): Promise<Map<string, Widened>> {
  const wanted = namedChunks(inputs, chunks)
    .flatMap(({ chunk, meta }) => {
      const place = placeOf(chunk, meta)
      return place ? [{ chunk, place }] : []
    })
    .slice(0, MAX_WIDENED)
  if (wanted.length === 0) return new Map()
  const texts = await readSections(
    db,
    wanted.map(({ place }) => place),
  )
  return new Map(
    wanted.flatMap(({ chunk, place }, index) => {
      const read = texts[index]
      if (read == null) return []
      const { start_char } = chunk
      const end_char = read.spans.at(-1)?.end_char ?? chunk.end_char
      return [[chunk.id, { text: read.text, start_char, end_char, meta: sectionMeta(read, place) }]]
    }),
  )
}

/**
 * Items a client gave. A reference is read again under the caller's own token and wins over a text beside it: what the
 * model gets under an id, and what a citation says it was, is what the caller may read under that id.
 */
async function givenItems(db: Db, inputs: ContextItemInput[]): Promise<Pick<RunContext, 'items' | 'warnings'>> {
  const chunks = await readChunks(db, unique(inputs.map((input) => input.item_id ?? input.id)))
  const sections = await readSectionsOf(db, inputs, chunks)
  const { documents, warnings } = await readDocumentsOf(db, inputs, chunks)
  const names = await readSourceNames(
    db,
    unique([...inputs.map((input) => input.source_id), ...[...chunks.values()].map((chunk) => chunk.source_id)]),
  )
  const items: ContextItem[] = []
  const seen = new Set<string>()
  const add = (item: Omit<ContextItem, 'key' | 'sourceName'>) => {
    const sourceName = item.sourceId === undefined ? undefined : names.get(item.sourceId)
    items.push({ ...item, key: items.length + 1, ...(sourceName === undefined ? {} : { sourceName }) })
  }
  for (const [index, input] of inputs.entries()) {
    const reference = input.item_id ?? input.id
    const chunk = isUuid(reference) ? chunks.get(reference.toLowerCase()) : undefined
    if (chunk) {
      if (seen.has(chunk.id)) continue
      seen.add(chunk.id)
      const { text, start_char, end_char, meta } = documents.get(chunk.id) ?? sections.get(chunk.id) ?? chunk
      add({
        itemId: chunk.id,
        sourceId: chunk.source_id,
        text,
        meta: {
          ...meta,
          start_char,
          end_char,
          // How well it matched is known only to whoever searched.
          ...(typeof input.meta?.['score'] === 'number' ? { score: input.meta['score'] } : {}),
          // Which pages to show; whether they may be read is asked again.
          ...imagesField(input.meta),
        },
      })
    } else if (input.text?.trim()) {
      const sourceId = input.source_id?.toLowerCase()
      add({
        text: input.text,
        meta: input.meta ?? {},
        // Only a source the caller can see is named in citations.
        ...(sourceId !== undefined && names.has(sourceId) ? { sourceId } : {}),
      })
      if (reference) warnings.push(`context_items[${index}]: no such item; the given text was used without reference.`)
    } else if (reference) {
      // One with neither has been named when the request came.
      warnings.push(`context_items[${index}] was skipped: it has no item under its id.`)
    }
  }
  return { items, warnings: warnings.slice(0, 20) }
}

/**
 * What a stored retrieval found, by reference: the passages are read again, as the caller may read them now.
 * @throws AppError `not_found` for one that is not the caller's.
 */
async function storedItems(db: Db, id: string): Promise<ContextItemInput[]> {
  if (!isUuid(id)) throw missing('context_handler')
  const { data, error } = await db
    .schema('ai')
    .from('context_handlers')
    .select('retrieved_context')
    .eq('id', id)
    .maybeSingle<{ retrieved_context: unknown }>()
  if (error) throw fromPostgrest(error)
  if (data === null) throw missing('context_handler')
  const items = Array.isArray(data.retrieved_context) ? (data.retrieved_context as Record<string, unknown>[]) : []
  return items.flatMap((item) => {
    const reference = item['item_id'] ?? item['chunk_id'] ?? item['id']
    const meta = Object(item['meta']) as Record<string, unknown>
    return typeof reference === 'string' ? [{ item_id: reference, meta }] : []
  })
}

/** On whose behalf a run's context is read, through which agent. */
export type Reader = { db: Db; caller: Caller; agent: { id: string; tenant_id: string } }

/** Retrieves from the named knowledge bases under the caller's token. @throws AppError `not_found` when one is unknown. */
async function retrieve(
  { agent, ...reader }: Reader,
  deps: WithSearch,
  { message, session_id: sessionId }: RunRequest,
  choices: KnowledgeBaseChoice[],
): Promise<Pick<RunContext, 'items' | 'warnings' | 'retrievalWarning'>> {
  const rows = await readKnowledgeBases(
    reader.db,
    choices.map((choice) => choice.id),
  )
  const byId = new Map(rows.map((row) => [row.id, row]))
  const searches = choices.map((choice) => {
    const row = byId.get(choice.id)
    if (!row) throw missing('knowledge_base')
    const settings = retrievalOf(row)
    return {
      ...settings,
      query: message,
      knowledgeBaseIds: [row.id],
      topK: choice.top_k ?? settings.topK,
      method: choice.retrieval_method ?? settings.method,
      similarityThreshold: choice.similarity_threshold ?? settings.similarityThreshold,
      filterMetadata: choice.filter_metadata ?? undefined,
    }
  })
  const searcher = {
    ...reader,
    spender: { tenantId: agent.tenant_id, userId: reader.caller.userId, agentId: agent.id },
    history: () => (sessionId ? sessionHistory(reader.db, agent.tenant_id, sessionId) : Promise.resolve([])),
  }
  try {
    const found = await Promise.all(searches.map((request) => search(searcher, deps.search, request)))
    const hits = withoutTwins(found.flatMap((outcome) => outcome.hits))
    const warnings = [...new Set(found.flatMap((outcome) => outcome.warnings))]
    return { items: contextItemsOf(hits), warnings, retrievalWarning: null }
  } catch (error) {
    const failure = toAppError(error)
    if (failure.status < 500) throw failure
    // The reference answers without context rather than not at all, and says so.
    return { items: [], warnings: [], retrievalWarning: `Retrieval failed: ${failure.message}` }
  }
}

/** The first items that fit the allowance; one that does not fit ends the list, except that the first is cut to fit. */
function withinBudget(items: ContextItem[], maxTokens: number): ContextItem[] {
  let left = maxTokens * CHARS_PER_TOKEN
  const kept: ContextItem[] = []
  for (const item of items) {
    if (item.text.length > left) {
      if (kept.length === 0) kept.push({ ...item, text: cutText(item.text, left) })
      break
    }
    left -= item.text.length
    kept.push(item)
  }
  return kept
}

/** The citation that stands for this item in what a run was given, among those not yet taken. */
function citationFor(item: ContextItem, stored: Set<Record<string, unknown>>): Record<string, unknown> | undefined {
  for (const citation of stored) {
    const isIt =
      item.itemId === undefined
        ? citation['item_id'] === null && citation['text_excerpt'] === excerptOf(item.text)
        : citation['item_id'] === item.itemId
    if (isIt) return citation
  }
  return undefined
}

/** Items under the numbers they had when the run began; what was not given to it then is not given to it now. */
function underOldNumbers(items: ContextItem[], stored: readonly Record<string, unknown>[]): ContextItem[] {
  const left = new Set(stored)
  return items.flatMap((item) => {
    const citation = citationFor(item, left)
    if (citation === undefined) return []
    left.delete(citation)
    return [{ ...item, key: Number(citation['citation_key']) }]
  })
}

/** Tokens of context: what the request says, else the agent, else the deployment. */
const maxTokensOf = (request: RunRequest, settings: Record<string, unknown>, defaults: RunDefaults): number =>
  request.max_context_tokens ?? settingOf(settings, 'max_context_tokens') ?? defaults.maxContextTokens

/** Raw context: its parts have no numbers to cite. */
const rawContext = (text: string): ContextItem[] => [{ key: 1, text, meta: {} }]

/**
 * What a run that was begun before had to answer from: the same passages by reference, as the person may read them now, under
 * the numbers they had. Nothing is searched for again.
 * @param stored citations of what it was given.
 * @throws AppError what the database refuses.
 */
export async function rereadRunContext(
  db: Db,
  { runs }: WithRuns,
  request: RunRequest,
  settings: Record<string, unknown>,
  run: { retrieved_context: readonly Record<string, unknown>[]; context_handler_id: string | null },
): Promise<RunContext> {
  const context = { handlerId: run.context_handler_id, warnings: [], retrievalWarning: null }
  const maxTokens = maxTokensOf(request, settings, runs.defaults)
  if (request.context_override?.trim()) {
    return { ...context, items: withinBudget(rawContext(request.context_override), maxTokens), citable: false }
  }
  const stored = run.retrieved_context
  const inputs: ContextItemInput[] = request.context_items?.length
    ? request.context_items
    : stored.map((citation) => ({
        item_id: String(citation['item_id']),
        meta: Object(citation['meta']) as Record<string, unknown>,
      }))
  const { items } = await givenItems(db, inputs)
  return { ...context, items: underOldNumbers(withinBudget(items, maxTokens), stored), citable: true }
}

/**
 * Everything a run is given to answer from, within its token allowance (characters / 4).
 * @throws AppError `not_found` for unknown knowledge bases and context handlers, or what the database refuses.
 */
export async function collectRunContext(
  reader: Reader,
  deps: WithSearch & WithRuns,
  request: RunRequest,
  settings: Record<string, unknown>,
): Promise<RunContext> {
  const maxTokens = maxTokensOf(request, settings, deps.runs.defaults)
  const context: RunContext = { items: [], handlerId: null, citable: true, warnings: [], retrievalWarning: null }
  if (request.context_override?.trim()) {
    context.items = rawContext(request.context_override)
    context.citable = false
  } else if (request.context_handler_id) {
    Object.assign(context, await givenItems(reader.db, await storedItems(reader.db, request.context_handler_id)))
    context.handlerId = request.context_handler_id
  } else if (request.context_items?.length) {
    Object.assign(context, await givenItems(reader.db, request.context_items))
  } else if (request.knowledge_bases?.length) {
    Object.assign(context, await retrieve(reader, deps, request, request.knowledge_bases))
  }
  const kept = withinBudget(context.items, maxTokens)
  if (kept.length < context.items.length) {
    context.warnings.push(`${context.items.length - kept.length} context items did not fit into max_context_tokens.`)
  }
  return { ...context, items: kept }
}
