import { type Layout, makeArrivals, makeLayout, type QueryClass, type Source } from './layout.ts'
import { type Chunk, makeTexts, type Texts } from './texts.ts'
import { DIMENSIONS, makeVectors, type Vectors } from './vectors.ts'
import { makeVocabulary, type Vocabulary } from './vocabulary.ts'

/** All that is measured on. The same rows and seed give the same corpus. */
export type Corpus = Layout & {
  rows: number
  seed: number
  vocabulary: Vocabulary
  texts: Texts
  vectors: Vectors
  /** The vector of row n from n * DIMENSIONS on. */
  embeddings: Float32Array
  /** Index of the source of each row. */
  sourceOfRow: Int32Array
  /** For each tenant its rows. */
  rowsOfTenant: Int32Array[]
  chunkOf(row: number): Chunk
  sourceOf(row: number): Source
  /** Sources that are not in the corpus, for what is inserted later. */
  arrivals(rows: number): Source[]
}

export function makeCorpus(rows: number, seed: number): Corpus {
  const layout = makeLayout(rows, seed)
  const vocabulary = makeVocabulary(seed)
  const texts = makeTexts(vocabulary, layout.topicCount, seed)
  const vectors = makeVectors(layout.topicCount, seed)
  const embeddings = new Float32Array(rows * DIMENSIONS)
  const sourceOfRow = new Int32Array(rows)
  const rowsOfTenant = layout.tenants.map((tenant) => new Int32Array(tenant.size))
  const filled = new Int32Array(layout.tenants.length)
  for (const source of layout.sources) {
    embeddings.set(vectors.ofSource(source), source.firstRow * DIMENSIONS)
    for (let row = source.firstRow; row < source.firstRow + source.size; row++) {
      sourceOfRow[row] = source.index
      const place = filled[source.tenant] as number
      ;(rowsOfTenant[source.tenant] as Int32Array)[place] = row
      filled[source.tenant] = place + 1
    }
  }
  const sourceOf = (row: number) => layout.sources[sourceOfRow[row] as number] as Source
  return {
    ...layout,
    rows,
    seed,
    vocabulary,
    texts,
    vectors,
    embeddings,
    sourceOfRow,
    rowsOfTenant,
    sourceOf,
    chunkOf: (row) => texts.chunkOf(sourceOf(row), row),
    arrivals: (count) => makeArrivals(layout, count, seed),
  }
}

/** Indexes of the tenants of a class. */
export const tenantsOfClass = (corpus: Layout, wanted: QueryClass): number[] =>
  corpus.tenants.filter((tenant) => tenant.class === wanted).map((tenant) => tenant.index)
