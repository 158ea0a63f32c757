import type { ProviderAccess } from '../agent/provider-call.ts'
import type { Db } from '../context.ts'
import { choose, documentEntry, sectionEntry } from './choices.ts'
import type { SearchHit } from './hits.ts'
import { listSections, outlineSources, readSections, sectionHit } from './sections.ts'
import type { OutlinedSource, Section } from './sections.ts'
import type { Asked } from './spending.ts'

/** Documents, and sections, that a model picks from at once; of more the best by hybrid search. */
const MAX_DOCUMENTS = 50
const MAX_SECTIONS = 200
/** Passages by which the best sections are found: as many as a search gives. */
const MAX_FOUND = 100
/** Documents, and sections, that it may pick. */
const MAX_PICKED_DOCUMENTS = 6
const MAX_PICKED_SECTIONS = 20
/** Ranks count like those of hybrid search, so that results of both can stand in one list. */
const RANK_CONSTANT = 60

/** A search in which a model picks from tables of contents. */
export type TreeRequest = {
  query: string
  knowledgeBaseIds: readonly string[]
  sourceIds?: readonly string[] | undefined
  filterMetadata?: Record<string, unknown> | undefined
  /** Sections that are wanted. */
  topK: number
  explain?: boolean | undefined
  /** Null: the provider's own. */
  model: string | null
}

/** What a tree search takes. */
export type TreeParts = {
  db: Db
  /** Hybrid search among the request's documents, or some of them: best first. */
  find: (options: { sourceIds?: readonly string[]; topK: number; maxPerSource?: number }) => Promise<SearchHit[]>
  /** Asks the model. @throws AppError `budget_exceeded`; the reason of `signal`. */
  ask: <T>(question: (access: ProviderAccess) => Promise<Asked<T>>) => Promise<Asked<T>>
  signal?: AbortSignal | undefined
}

/** What a tree search found. */
export type TreeResult = {
  hits: SearchHit[]
  /** In sentences: what was shown in part. */
  warnings: string[]
}

/** What was picked, with how many the model was shown, how many there were, and how many it picked. */
type Picked<T> = { picked: T[]; counts: Record<string, unknown> }

/** The documents that can be picked, and whether there are more of them. */
async function documentsOf(
  { db, find, signal }: TreeParts,
  request: TreeRequest,
): Promise<{ documents: OutlinedSource[]; hasMore: boolean }> {
  const { knowledgeBaseIds, sourceIds, filterMetadata } = request
  const wanted = { knowledgeBaseIds, sourceIds, filterMetadata, limit: MAX_DOCUMENTS + 1 }
  const all = await outlineSources(db, wanted, signal)
  if (all.length <= MAX_DOCUMENTS) return { documents: all, hasMore: false }
  const best = [...new Set((await find({ topK: MAX_DOCUMENTS, maxPerSource: 1 })).map((hit) => hit.source_id))]
  if (best.length === 0) return { documents: all.slice(0, MAX_DOCUMENTS), hasMore: true }
  const outlined = await outlineSources(db, { ...wanted, sourceIds: best }, signal)
  const documents = outlined.toSorted((a, b) => best.indexOf(a.source_id) - best.indexOf(b.source_id))
  return { documents: documents.slice(0, MAX_DOCUMENTS), hasMore: true }
}

async function pickDocuments(parts: TreeParts, request: TreeRequest): Promise<Asked<Picked<OutlinedSource>>> {
  const { documents, hasMore } = await documentsOf(parts, request)
  const given = (picked: OutlinedSource[]): Asked<Picked<OutlinedSource>> => ({
    answer: { picked, counts: { picked: picked.length, offered: documents.length, has_more: hasMore } },
    problem: null,
  })
  if (documents.length <= 1) return given(documents)
  const { query, model } = request
  const most = Math.min(MAX_PICKED_DOCUMENTS, documents.length)
  const { answer, problem } = await parts.ask((access) =>
    choose(access, { query, model, what: 'documents', most }, documents.map(documentEntry)),
  )
  if (problem !== null) return { answer: null, problem }
  return given(answer.flatMap((place) => documents[place] ?? []))
}

async function pickSections(
  { db, find, ask, signal }: TreeParts,
  request: TreeRequest,
  documents: readonly OutlinedSource[],
): Promise<Asked<Picked<Section>>> {
  const indexedSourceIds = documents.map((document) => document.indexed_source_id)
  let sections = await listSections(db, { indexedSourceIds, limit: MAX_SECTIONS + 1 }, signal)
  if (sections.length > MAX_SECTIONS) {
    const sourceIds = [...new Set(documents.map((document) => document.source_id))]
    const chunkIds = (await find({ sourceIds, topK: MAX_FOUND, maxPerSource: MAX_FOUND })).map((hit) => hit.chunk_id)
    const best = chunkIds.length > 0 ? { chunkIds } : {}
    sections = await listSections(db, { indexedSourceIds, ...best, limit: MAX_SECTIONS }, signal)
  }
  const given = (picked: Section[]): Asked<Picked<Section>> => ({
    answer: {
      picked,
      counts: { picked: picked.length, offered: sections.length, of: sections[0]?.section_count ?? 0 },
    },
    problem: null,
  })
  if (sections.length <= 1) return given(sections)
  const { query, model, topK } = request
  const most = Math.min(MAX_PICKED_SECTIONS, topK, sections.length)
  const { answer, problem } = await ask((access) =>
    choose(access, { query, model, what: 'sections', most }, sections.map(sectionEntry)),
  )
  if (problem !== null) return { answer: null, problem }
  return given(answer.flatMap((place) => sections[place] ?? []))
}

/**
 * Lets a model find where a question is answered, as a person would with books: it picks documents by their outlines, then
 * sections by the tables of contents of these. The results are the sections, in its order, the first with a score of 1.
 * It sees and picks from what the holder of `db`'s token may read, and the texts are read with that token at the end.
 * @returns why nothing was picked, as a clause, where the model could not be asked or its answer is of no use.
 * @throws AppError what the database refuses, `budget_exceeded`; the reason of `signal` when that fires.
 */
export async function treeSearch(parts: TreeParts, request: TreeRequest): Promise<Asked<TreeResult>> {
  const documents = await pickDocuments(parts, request)
  if (documents.problem !== null) return documents
  if (documents.answer.picked.length === 0) return { answer: { hits: [], warnings: [] }, problem: null }
  const sections = await pickSections(parts, request, documents.answer.picked)
  if (sections.problem !== null) return sections
  const { picked, counts } = sections.answer
  const texts = await readSections(parts.db, picked, parts.signal)
  const hits = picked.flatMap((section, place): SearchHit[] => {
    const text = texts[place]
    if (text == null) return []
    const explanation = request.explain
      ? { method: 'tree_search', documents: documents.answer.counts, sections: { ...counts, rank: place + 1 } }
      : null
    return [{ ...sectionHit(section, text), score: RANK_CONSTANT / (RANK_CONSTANT + place), explanation }]
  })
  const cut = texts.filter((text) => text?.isCut).length
  const warnings = cut > 0 ? [`${cut} of the sections are too long to be given whole.`] : []
  return { answer: { hits, warnings }, problem: null }
}
