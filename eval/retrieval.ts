import process from 'node:process'
import type { Database } from '../local/database/database.ts'
import { withPreparedDatabase } from '../scripts/support/prepared-database.ts'
import { type Collection, readCollection } from './support/collections.ts'
import { meanScore, ndcgAt, recallAt } from './support/metrics.ts'
import { loadCollection, searchAs, type LoadedCollection, type SearchOptions } from './support/search-database.ts'
import { type Bar, figure, type Section } from './support/section.ts'
import { type VectorLeg, vectorLegsOf } from './support/vector-legs.ts'

/** Averages over the questions of a collection. */
type Quality = { ndcg: number; recall: number }

type Measured = { collection: string; vectors: string; text: Quality; vector: Quality; rrf: Quality; weighted: Quality }

/**
 * nDCG@10 the text leg has to reach. Cranfield and SciFact: what true BM25 (k1 1.2, b 0.75, stemmed) reaches over all
 * documents; the text leg ranks a bounded number of candidates only.
 */
const TEXT_BARS: Record<string, number> = {
  cranfield: 0.522,
  scifact: 0.695,
  'xquad-en': 0.9,
  'xquad-es': 0.9,
  'xquad-de': 0.9,
  'xquad-ru': 0.9,
  'xquad-ar': 0.85,
  'xquad-zh': 0.85,
}

/** As many as the sessions of the prepared database; PGlite has one and lets them wait. */
const AT_ONCE = 2

async function forEach<T>(items: T[], work: (item: T, index: number) => Promise<void>): Promise<void> {
  const queue = items.entries()
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (const [index, item] of queue) await work(item, index)
    }),
  )
}

async function measure(
  database: Database,
  collection: Collection,
  loaded: LoadedCollection,
  options: Omit<SearchOptions, 'vector'>,
  leg?: VectorLeg,
): Promise<Quality> {
  const ndcg: (number | null)[] = []
  const recall: (number | null)[] = []
  await forEach(collection.questions, async ({ id, text }, index) => {
    const embedding = leg?.questions.get(id)
    if (leg && !embedding) throw new Error(`${leg.label} has no vector of question ${id}.`)
    const ranking = await searchAs(database, loaded, text, {
      ...options,
      ...(leg && embedding ? { vector: { model: leg.model, embedding } } : {}),
    })
    const judgements = collection.judgements.get(id) ?? new Map<string, number>()
    ndcg[index] = ndcgAt(ranking, judgements)
    recall[index] = recallAt(ranking, judgements)
  })
  return { ndcg: meanScore(ndcg), recall: meanScore(recall) }
}

async function measureCollection(database: Database, name: string): Promise<Measured[]> {
  const startedAt = performance.now()
  const collection = readCollection(name)
  const legs = await vectorLegsOf(collection)
  const loaded = await loadCollection(database, collection, legs)
  const text = await measure(database, collection, loaded, { method: 'full_text', fusion: 'rrf' })
  const measured: Measured[] = []
  for (const leg of legs) {
    const by = (method: SearchOptions['method'], fusion: SearchOptions['fusion']) =>
      measure(database, collection, loaded, { method, fusion }, leg)
    measured.push({
      collection: name,
      vectors: leg.label,
      text,
      vector: await by('vector_search', 'rrf'),
      rrf: await by('hybrid', 'rrf'),
      weighted: await by('hybrid', 'weighted'),
    })
  }
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(0)
  process.stderr.write(
    `${name}: ${collection.documents.length} documents, ${collection.questions.length} questions, ${seconds} s\n`,
  )
  return measured
}

function barsOf(measured: Measured[]): Bar[] {
  const ofText = [...new Map(measured.map((row) => [row.collection, row])).values()].flatMap(({ collection, text }) => {
    const atLeast = TEXT_BARS[collection]
    return atLeast === undefined ? [] : [{ name: `${collection} full_text`, measured: text.ndcg, atLeast }]
  })
  const ofFusion = measured.flatMap(({ collection, vectors, text, vector, rrf, weighted }) => {
    const atLeast = Math.max(text.ndcg, vector.ndcg)
    return [
      { name: `${collection}, ${vectors}: rrf against the better leg`, measured: rrf.ndcg, atLeast },
      { name: `${collection}, ${vectors}: weighted against the better leg`, measured: weighted.ndcg, atLeast },
    ]
  })
  return [...ofText, ...ofFusion]
}

/**
 * nDCG@10 and recall@100 of ai.search on judged collections, by each leg alone and by each fusion. On PGlite or, with
 * TEST_DATABASE_URL, on that server.
 *
 * @param names of collections, from COLLECTION_NAMES
 */
export async function evaluateRetrieval(names: string[]): Promise<Section> {
  const serverUrl = process.env.TEST_DATABASE_URL
  const measured = await withPreparedDatabase(serverUrl, async (database) => {
    await database.refreshTypes()
    const results: Measured[] = []
    for (const name of names) results.push(...(await measureCollection(database, name)))
    return results
  })
  const cells = (row: Measured, of: (quality: Quality) => number) =>
    [row.text, row.vector, row.rrf, row.weighted].map((quality) => figure(of(quality)))
  return {
    title: `Retrieval on ${serverUrl ? 'native PostgreSQL' : 'PGlite'}: nDCG@10 (linear gain), then recall@100`,
    columns: ['collection, vectors', 'text', 'vector', 'rrf', 'weighted', 'r@100 text', 'vector', 'rrf', 'weighted'],
    rows: measured.map((row) => [
      `${row.collection}, ${row.vectors}`,
      ...cells(row, ({ ndcg }) => ndcg),
      ...cells(row, ({ recall }) => recall),
    ]),
    bars: barsOf(measured),
    notes: names.includes('cranfield')
      ? ['The MiniLM vectors of the documents are real, those of the questions approximate (SOURCES.md of the data).']
      : [],
  }
}
