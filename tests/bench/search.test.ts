import { expect, test } from 'vitest'
import { makeCorpus } from '../../bench/search/corpus.ts'
import { at, CLASSES } from '../../bench/search/layout.ts'
import { readOptions } from '../../bench/search/options.ts'
import { makeCodeQueries, makeQueries } from '../../bench/search/queries.ts'
import { numberOf, stream, uuidOf, weightedIndex } from '../../bench/search/random.ts'
import { mistype } from '../../bench/search/texts.ts'
import { exactRows, nearest, recallAt } from '../../bench/search/truth.ts'
import { DIMENSIONS } from '../../bench/search/vectors.ts'
import { makeVocabulary, VOCABULARY_SIZE } from '../../bench/search/vocabulary.ts'

const ROWS = 10_000
const corpus = makeCorpus(ROWS, 1)

test('the same seed gives the same corpus and queries, another seed another', () => {
  const again = makeCorpus(ROWS, 1)
  expect(again.sources).toEqual(corpus.sources)
  expect(Buffer.compare(Buffer.from(again.embeddings.buffer), Buffer.from(corpus.embeddings.buffer))).toBe(0)
  expect([0, 77, ROWS - 1].map((row) => again.chunkOf(row))).toEqual(
    [0, 77, ROWS - 1].map((row) => corpus.chunkOf(row)),
  )
  expect(makeQueries(again, 'M')).toEqual(makeQueries(corpus, 'M'))
  const other = makeCorpus(ROWS, 2)
  expect(other.chunkOf(0).text).not.toBe(corpus.chunkOf(0).text)
  expect(other.embeddings.subarray(0, 8)).not.toEqual(corpus.embeddings.subarray(0, 8))
})

test('each row belongs to one source of one tenant, in order of arrival', () => {
  expect(corpus.tenants).toHaveLength(419)
  expect(corpus.tenants.reduce((sum, { size }) => sum + size, 0)).toBe(ROWS)
  let next = 0
  for (const source of corpus.sources) {
    expect(source.firstRow).toBe(next)
    next += source.size
  }
  expect(next).toBe(ROWS)
  const rows = corpus.rowsOfTenant.flatMap((of, tenant) => [...of].map((row) => ({ row, tenant })))
  expect(new Set(rows.map(({ row }) => row)).size).toBe(ROWS)
  expect(rows.every(({ row, tenant }) => corpus.sourceOf(row).tenant === tenant)).toBe(true)
  expect(corpus.tenants.every(({ size }, tenant) => corpus.rowsOfTenant[tenant]?.length === size)).toBe(true)
})

test('what arrives later continues the numbers and is not in the corpus', () => {
  const arrivals = corpus.arrivals(500)
  expect(arrivals.reduce((sum, { size }) => sum + size, 0)).toBe(500)
  expect(arrivals[0]?.firstRow).toBe(ROWS)
  expect(arrivals[0]?.index).toBe(corpus.sources.length)
  expect(corpus.arrivals(500)).toEqual(arrivals)
})

test('vectors have unit length, chunks of a source lie nearer to one another than to others', () => {
  const dot = (a: number, b: number) => {
    let sum = 0
    for (let i = 0; i < DIMENSIONS; i++) {
      sum += (corpus.embeddings[a * DIMENSIONS + i] as number) * (corpus.embeddings[b * DIMENSIONS + i] as number)
    }
    return sum
  }
  let within = 0
  let across = 0
  const sources = corpus.sources.slice(0, 200)
  for (const source of sources) {
    expect(dot(source.firstRow, source.firstRow)).toBeCloseTo(1, 5)
    if (source.size > 1) within += dot(source.firstRow, source.firstRow + 1) / sources.length
    across += dot(source.firstRow, (source.firstRow + ROWS / 2) % ROWS) / sources.length
  }
  expect(within).toBeGreaterThan(0.4)
  expect(across).toBeLessThan(0.2)
})

test('the vocabulary is headed by common English words; its words are distinct and of 1 to 14 letters', () => {
  const { words, counts } = makeVocabulary(1)
  expect(words.slice(0, 3)).toEqual(['the', 'of', 'to'])
  expect(new Set(words).size).toBe(VOCABULARY_SIZE)
  expect(words.every((word) => /^[a-z]{1,14}$/.test(word))).toBe(true)
  const total = counts.reduce((sum, count) => sum + count, 0)
  const common = counts.subarray(0, 150).reduce((sum, count) => sum + count, 0)
  expect(common / total).toBeGreaterThan(0.35)
  expect(common / total).toBeLessThan(0.5)
})

test('chunks have about 900 characters, and about half of them a code', () => {
  const chunks = Array.from({ length: 1_000 }, (_, row) => corpus.chunkOf(row))
  const length = chunks.reduce((sum, { text }) => sum + text.length, 0) / chunks.length
  expect(length).toBeGreaterThan(850)
  expect(length).toBeLessThan(950)
  const withCode = chunks.filter(({ codes }) => codes.length > 0)
  expect(withCode.length / chunks.length).toBeGreaterThan(0.4)
  expect(withCode.length / chunks.length).toBeLessThan(0.55)
  // At the start of a sentence it is the same: a code begins with a capital.
  expect(withCode.every(({ text, codes }) => codes.every((code) => text.includes(code)))).toBe(true)
})

test('a hundred queries per class in the mix, each of a tenant of its class and with its target in that tenant', () => {
  for (const name of CLASSES) {
    const queries = makeQueries(corpus, name)
    const count = (kind: string) => queries.filter((query) => query.kind === kind).length
    expect([count('nl'), count('kw'), count('code'), count('common')]).toEqual([40, 30, 20, 10])
    for (const query of queries) {
      expect(corpus.tenants[query.tenant]?.class).toBe(name)
      expect(corpus.sourceOf(query.target).tenant).toBe(query.tenant)
      if (query.kind === 'code') expect(query.text).toContain(corpus.chunkOf(query.target).codes[0])
    }
  }
})

test('a mistyped code differs in one character from that of its target', () => {
  for (const query of makeCodeQueries(corpus, 'L', 'typo', 50)) {
    const code = corpus.chunkOf(query.target).codes[0] as string
    const typed = query.text.split(' ').at(-1) as string
    expect(typed).toHaveLength(code.length)
    expect([...typed].filter((character, i) => character !== code[i])).toHaveLength(1)
  }
  expect(mistype('A-1', stream(1, 'test'))).not.toBe('A-1')
})

test('the truth is the tenant’s rows by cosine, best first', () => {
  const query = at(makeQueries(corpus, 'S'), 0)
  const cosine = (row: number) => {
    let sum = 0
    for (let i = 0; i < DIMENSIONS; i++) {
      sum += (corpus.embeddings[row * DIMENSIONS + i] as number) * (query.vector[i] as number)
    }
    return sum
  }
  const byHand = [...(corpus.rowsOfTenant[query.tenant] as Int32Array)].sort((a, b) => cosine(b) - cosine(a))
  expect(exactRows(corpus, query)).toEqual(byHand.slice(0, 100))
  expect(nearest(corpus.embeddings, query.vector, corpus.rows, 5)).toHaveLength(5)
})

test('recall counts what should be there, of all there are in a small tenant', () => {
  expect(recallAt(3, [1, 2, 3, 4], [3, 9, 1])).toBeCloseTo(2 / 3)
  expect(recallAt(10, [1, 2], [2, 1])).toBe(1)
  expect(recallAt(2, [1, 2, 3], [3, 1, 2])).toBe(0.5)
})

test('weighted draws come in proportion to the weights', () => {
  const draw = weightedIndex([1, 0, 3])
  const random = stream(1, 'draws')
  const counts = [0, 0, 0]
  for (let i = 0; i < 4_000; i++) {
    const index = draw(random)
    counts[index] = (counts[index] as number) + 1
  }
  expect(counts[1]).toBe(0)
  expect((counts[2] as number) / (counts[0] as number)).toBeCloseTo(3, 0)
})

test('an id tells its number', () => {
  expect(numberOf(uuidOf('chunk', 123_456))).toBe(123_456)
  expect(uuidOf('chunk', 1)).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/)
  expect(uuidOf('chunk', 1)).not.toBe(uuidOf('source', 1))
})

test('options: sizes by name, quick is 10k and 100k, anything else is refused', () => {
  expect(readOptions([])).toMatchObject({ rows: [100_000], promoted: 0, json: null })
  expect(readOptions(['--quick']).rows).toEqual([10_000, 100_000])
  expect(readOptions(['--rows', '10k,1M', '--promoted', '500']).rows).toEqual([10_000, 1_000_000])
  for (const args of [['--rows', '7'], ['--quick', '--rows', '10k'], ['--promoted', 'x'], ['--fast']]) {
    expect(() => readOptions(args)).toThrow()
  }
})
