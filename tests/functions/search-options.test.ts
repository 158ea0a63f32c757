import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import {
  diversify,
  mergeHits,
  pagesOf,
  spreadOver,
  withoutTwins,
} from '../../supabase/functions/_shared/search/hits.ts'
import { isConsistent, searchOptions, withOptions } from '../../supabase/functions/_shared/search/options.ts'
import type { SearchOptions } from '../../supabase/functions/_shared/search/options.ts'
import { commonSettings, retrievalConfig, retrievalOf } from '../../supabase/functions/_shared/search/settings.ts'
import { providersFromEnv } from '../../supabase/functions/_shared/providers/index.ts'
import { hitOf } from './support/hits.ts'

const schema = z.strictObject(searchOptions)
const stored = (retrieval_config: Record<string, unknown>, strategy = 'chunk_embed') => ({
  retrieval_config,
  indexing_config: { strategy },
})
const settings = (retrieval_config: Record<string, unknown>, strategy?: string) =>
  retrievalOf(stored(retrieval_config, strategy))
const requestOf = (options: SearchOptions, config: Record<string, unknown> = {}) =>
  withOptions({ query: 'q', knowledgeBaseIds: ['k'], method: undefined }, options, settings(config))

describe('the settings of a knowledge base', () => {
  it('have defaults, keep what is not known here, and weigh by the fusion', () => {
    expect(retrievalConfig.parse({})).toEqual({ method: 'hybrid', top_k: 5, vector_weight: 0.5 })
    expect(retrievalConfig.parse({ query_enrichment: { enabled: true }, fusion: 'weighted' })).toEqual({
      method: 'hybrid',
      top_k: 5,
      vector_weight: 0.7,
      fusion: 'weighted',
      query_enrichment: { enabled: true },
    })
    expect(settings({})).toEqual({ method: 'hybrid', topK: 5, vectorWeight: 0.5 })
  })

  it('turn the reranker on where a model is named', () => {
    expect(settings({ reranker: { model: 'rerank-v3.5' } }).rerank).toEqual({
      model: 'rerank-v3.5',
      candidateCount: 20,
    })
    expect(settings({ reranker: { model: 'm', candidate_count: 40 } }).rerank).toEqual({
      model: 'm',
      candidateCount: 40,
    })
    for (const reranker of [null, {}, { model: null }, { model: '' }, { candidate_count: 30 }]) {
      expect(settings({ reranker }).rerank).toBeUndefined()
    }
  })

  it('that are stored and cannot be used are the defaults', () => {
    for (const config of [{ method: 'tree_search' }, { top_k: -1 }, { reranker: 'x' }, { max_per_source: 0 }]) {
      expect(settings(config)).toEqual({ method: 'hybrid', topK: 5, vectorWeight: 0.5 })
    }
  })

  it('of whole documents ask for fewer of them', () => {
    expect(settings({}, 'full_document')).toMatchObject({ topK: 3, wholeDocuments: true })
    expect(settings({ top_k: 8 }, 'full_document')).toMatchObject({ topK: 8, wholeDocuments: true })
    expect(settings({ top_k: 8 })).not.toHaveProperty('wholeDocuments')
    expect(commonSettings([stored({}, 'full_document'), stored({}, 'full_document')])).toMatchObject({
      wholeDocuments: true,
    })
    for (const others of [
      ['full_document', 'chunk_embed'],
      ['chunk_embed', 'full_document'],
    ]) {
      expect(commonSettings(others.map((each) => stored({}, each)))).not.toHaveProperty('wholeDocuments')
    }
  })

  it('speak for several knowledge bases only where they agree', () => {
    const one = { top_k: 7, method: 'full_text', reranker: { model: 'm' } }
    expect(commonSettings([stored(one)])).toEqual(settings(one))
    expect(commonSettings([stored(one), stored(one)])).toEqual(settings(one))
    expect(commonSettings([stored(one), stored({ top_k: 7 })])).toEqual({
      topK: 7,
      vectorWeight: 0.5,
    })
    expect(commonSettings([stored({}), stored(one)])).not.toHaveProperty('rerank')
    expect(commonSettings([])).toEqual({})
  })
})

describe('the options of a request', () => {
  it('go before the settings', () => {
    const config = {
      top_k: 7,
      max_per_source: 2,
      deduplicate: true,
      similarity_threshold: 0.2,
      method: 'vector_search',
    }
    expect(requestOf({}, config)).toMatchObject({
      topK: 7,
      maxPerSource: 2,
      deduplicate: true,
      similarityThreshold: 0.2,
      method: 'vector_search',
      context: undefined,
    })
    const options = { top_k: 3, max_per_source: 5, deduplicate: false, similarity_threshold: 0, explain: true }
    expect(requestOf(options, config)).toMatchObject({
      topK: 3,
      maxPerSource: 5,
      deduplicate: false,
      similarityThreshold: 0,
      explain: true,
    })
  })

  it('take a weight for the fusion it was meant for only', () => {
    expect(requestOf({}, { vector_weight: 0.9 })).toMatchObject({ vectorWeight: 0.9, fusion: undefined })
    expect(requestOf({ fusion: 'rrf' }, { vector_weight: 0.9 })).toMatchObject({ vectorWeight: 0.9, fusion: 'rrf' })
    expect(requestOf({ fusion: 'rrf' }, { fusion: 'weighted' })).toMatchObject({ vectorWeight: undefined })
    expect(requestOf({ fusion: 'weighted' }, { vector_weight: 0.9 })).toMatchObject({ vectorWeight: undefined })
    expect(requestOf({ fusion: 'weighted', vector_weight: 0.4 })).toMatchObject({ vectorWeight: 0.4 })
    expect(requestOf({}, { fusion: 'weighted' })).toMatchObject({ vectorWeight: 0.7, fusion: 'weighted' })
  })

  it('turn a reranker on, off, or to another number', () => {
    const config = { reranker: { model: 'm', candidate_count: 30 } }
    expect(requestOf({}, config).rerank).toEqual({ model: 'm', candidateCount: 30 })
    expect(requestOf({ rerank: false }, config).rerank).toBeUndefined()
    expect(requestOf({ rerank: true }, config).rerank).toEqual({ model: 'm', candidateCount: 30 })
    expect(requestOf({ rerank: { candidate_count: 50 } }, config).rerank).toEqual({ model: 'm', candidateCount: 50 })
    expect(requestOf({}).rerank).toBeUndefined()
    expect(requestOf({ rerank: true }).rerank).toEqual({ candidateCount: 20 })
  })

  it('ask for a context by any of its fields', () => {
    expect(requestOf({ context: 'pages' }).context).toEqual({ unit: 'pages' })
    expect(requestOf({ expand: { neighbors: 2 } }).context).toEqual({ unit: 'chunks', neighbours: 2 })
    expect(requestOf({ max_context_tokens: 500 }).context).toEqual({ unit: 'chunks', maxTokens: 500 })
    expect(isConsistent({ context: 'pages', expand: { neighbors: 1 } })).toBe(false)
    expect(isConsistent({ context: 'pages', expand: { neighbors: 0 } })).toBe(true)
  })

  it.each([
    [{ top_k: 1e9 }],
    [{ top_k: 0 }],
    [{ top_k: 1.5 }],
    [{ vector_weight: -1 }],
    [{ vector_weight: null, similarity_threshold: 2 }],
    [{ fusion: 'rrf_k=-1' }],
    [{ max_per_source: 0 }],
    [{ rerank: { candidate_count: 101 } }],
    [{ rerank: { model: 'expensive' } }],
    [{ expand: { neighbors: 6 } }],
    [{ expand: 3 }],
    [{ context: 'images' }],
    [{ max_context_tokens: 1e9 }],
    [{ filter_metadata: ['a'] }],
    [{ filter_metadata: { a: 'x'.repeat(10_000) } }],
    [{ source_ids: Array.from({ length: 201 }, () => '99999999-9999-4999-8999-999999999999') }],
    [{ query_embedding: [1] }],
  ])('refuse %j', (options) => {
    expect(schema.safeParse(options).success).toBe(false)
  })

  it('refuse a filter that nests for its own sake, however deep', () => {
    let filter: Record<string, unknown> = { a: 1 }
    for (let depth = 0; depth < 5000; depth++) filter = { a: [filter] }
    expect(schema.safeParse({ filter_metadata: filter }).success).toBe(false)
    expect(schema.safeParse({ filter_metadata: { a: { b: [{ c: 1 }] }, 'x->>y': '%' } }).success).toBe(true)
  })
})

describe('hits of several searches', () => {
  const hits = (prefix: string, ...scores: number[]) =>
    scores.map((score, index) => hitOf({ text: `${prefix}${index}`, chunk_id: `${prefix}${index}`, score }))
  const ids = (found: { chunk_id: string }[]) => found.map((hit) => hit.chunk_id)

  it('are merged by their share of the best of their own search', () => {
    const merged = mergeHits([hits('a', 0.9, 0.8, 0.1), hits('b', 0.3, 0.2), []])
    expect(ids(merged)).toEqual(['a0', 'b0', 'a1', 'b1', 'a2'])
    expect(merged.map((hit) => hit.score)).toEqual([1, 1, 0.8 / 0.9, 0.2 / 0.3, 0.1 / 0.9])
  })

  it('of one search stay as they are', () => {
    expect(mergeHits([hits('a', 0.9, 0.3), []]).map((hit) => hit.score)).toEqual([0.9, 0.3])
    expect(mergeHits([])).toEqual([])
    expect(mergeHits([hits('a', 0), hits('b', 0)]).map((hit) => hit.score)).toEqual([0, 0])
  })

  it('lose equal texts and what is too much of one source', () => {
    const found = [
      hitOf({ text: 'same', chunk_id: '1', source_id: 's' }),
      hitOf({ text: 'same', chunk_id: '2', source_id: 't' }),
      hitOf({ text: 'other', chunk_id: '3', source_id: 's' }),
      hitOf({ text: 'third', chunk_id: '4', source_id: 's' }),
    ]
    expect(ids(diversify(found, {}))).toEqual(['1', '2', '3', '4'])
    expect(ids(diversify(found, { deduplicate: true }))).toEqual(['1', '3', '4'])
    expect(ids(diversify(found, { maxPerSource: 1 }))).toEqual(['1', '2'])
    expect(ids(diversify(found, { maxPerSource: 2, deduplicate: true }))).toEqual(['1', '3'])
  })

  it('of several knowledge bases have a passage once, and each record', () => {
    const text = 'The total is twelve.'
    const record = (id: string, written: string, score: number) =>
      hitOf({ text: written, chunk_id: id, score, end_char: text.length, meta: { record: {} } })
    const found = [
      hitOf({ text, chunk_id: 'p2', score: 0.6 }),
      record('r1', 'total: 12', 1),
      record('r2', 'total: 12', 0.9),
      record('r3', 'currency: EUR', 0.8),
      hitOf({ text, chunk_id: 'p1', score: 0.7 }),
      hitOf({ text, chunk_id: 'q', source_id: 's1', score: 0.5 }),
    ]
    expect(ids(withoutTwins(found))).toEqual(['r1', 'r3', 'p1', 'q'])
  })

  it('have the pages that are numbers', () => {
    expect(pagesOf({ meta: { pages: [1, 2] } })).toEqual([1, 2])
    for (const pages of [undefined, 3, 'x', null]) expect(pagesOf({ meta: { pages } })).toEqual([])
  })
})

describe('the embedder for a model', () => {
  const names = (env: Record<string, string>, ...models: string[]) => {
    const { embedder, embedderFor } = providersFromEnv(env)
    return [embedder.model, ...models.map((model) => embedderFor(model)?.model ?? null)]
  }

  it('is the configured one, the offline one, or whatever the endpoint has', () => {
    expect(names({}, 'bulkhead-hash-384', 'gte-small', 'text-embedding-3-small')).toEqual([
      'bulkhead-hash-384',
      'bulkhead-hash-384',
      null,
      null,
    ])
    const env = { OPENAI_BASE_URL: 'http://127.0.0.1:9/v1', EMBEDDING_MODEL: 'new' }
    expect(names(env, 'new', 'old', 'old@256', 'bulkhead-hash-384', 'gte-small')).toEqual([
      'new',
      'new',
      'old',
      'old@256',
      'bulkhead-hash-384',
      null,
    ])
    expect(names({ ...env, EMBEDDING_DIMENSIONS: '256' }, 'new', '@cf/baai/bge-m3')).toEqual([
      'new@256',
      'new',
      '@cf/baai/bge-m3',
    ])
  })

  it('is made once', () => {
    const { embedder, embedderFor } = providersFromEnv({ OPENAI_API_KEY: 'k' })
    expect(embedderFor(embedder.model)).toBe(embedder)
    expect(embedderFor('other')).toBe(embedderFor('other'))
  })
})

describe('results spread over sources', () => {
  const hits = ['a', 'a', 'a', 'b', 'a', 'b', 'c'].map((source_id, index) => hitOf({ text: `${index}`, source_id }))
  const texts = (topK: number, min?: number) => spreadOver(hits, topK, min).map(({ text }) => text)

  it.each([
    [3, undefined, ['0', '1', '2']],
    [3, 1, ['0', '3', '6']],
    [4, 1, ['0', '1', '3', '6']],
    [5, 2, ['0', '1', '3', '5', '6']],
    [2, 1, ['0', '3']],
    [2, 2, ['0', '1']],
    [9, 9, ['0', '1', '2', '3', '4', '5', '6']],
  ])('at most %d, at least %s of each', (topK, min, expected) => {
    expect(texts(topK, min)).toEqual(expected)
  })

  it('are asked for by the knowledge base or the request', () => {
    expect(settings({ min_per_source: 2 }).minPerSource).toBe(2)
    expect(settings({ min_per_source: 0 })).not.toHaveProperty('minPerSource')
    expect(requestOf({}, { min_per_source: 2 }).minPerSource).toBe(2)
    expect(requestOf({ min_per_source: 1 }, { min_per_source: 2 }).minPerSource).toBe(1)
    expect(requestOf({ min_per_source: 0 }, { min_per_source: 2 }).minPerSource).toBeUndefined()
  })
})
