import { describe, expect, it } from 'vitest'
import type { Db } from '../../supabase/functions/_shared/context.ts'
import { entitiesIn } from '../../supabase/functions/_shared/ingestion/strategies/graph-index.ts'
import { withNeighbours } from '../../supabase/functions/_shared/search/graph.ts'
import { hitOf } from './support/hits.ts'

type Found = { id: string; from?: string; rarity?: number; text?: string; source?: string }

/** A database that knows these neighbours, and what it was asked. */
function graphOf(found: Found[]) {
  const asked: Record<string, unknown>[] = []
  const rpc = (name: string, args: Record<string, unknown>) => {
    asked.push({ name, ...args })
    const rows = found.map(({ id, from = 'a', rarity = 1, text = id, source = id }) => {
      const {
        score: _,
        vector_score: _v,
        text_score: _t,
        explanation: _e,
        ...row
      } = hitOf({ chunk_id: id, source_id: source, text })
      return { ...row, from_chunk_id: from, entities: ['Otto Berg'], rarity }
    })
    return Promise.resolve({ data: rows, error: null })
  }
  return { db: { schema: () => ({ rpc }) } as unknown as Db, asked }
}
const hits = (...scores: number[]) =>
  scores.map((score, index) => {
    const id = 'abcdefghij'.charAt(index)
    return hitOf({ chunk_id: id, source_id: id, text: id, score })
  })
const idsOf = (found: { chunk_id: string }[]) => found.map((hit) => hit.chunk_id).join(' ')
const hasGraph = true

describe('neighbours of hits', () => {
  it('are asked for only where there is a graph, a hit, and room', async () => {
    const { db, asked } = graphOf([{ id: 'n' }])
    expect(await withNeighbours(db, {}, hits(1), 10)).toEqual(hits(1))
    expect(await withNeighbours(db, { hasGraph: false }, hits(1), 10)).toEqual(hits(1))
    expect(await withNeighbours(db, { hasGraph }, [], 10)).toEqual([])
    expect(await withNeighbours(db, { hasGraph }, hits(1), 2)).toEqual(hits(1))
    expect(asked).toEqual([])
    const filters = { knowledgeBaseIds: ['k'], sourceIds: ['s'], filterMetadata: { year: 1 }, query: 'gate -storm' }
    expect(idsOf(await withNeighbours(db, { hasGraph, ...filters }, hits(1, 0.1), 10))).toBe('a n b')
    expect(asked).toEqual([
      {
        name: 'graph_neighbours',
        chunk_ids: ['a', 'b'],
        knowledge_base_ids: ['k'],
        match_count: 4,
        source_ids: ['s'],
        filter_metadata: { year: 1 },
        query: 'gate -storm',
      },
    ])
  })

  it('score below the hit they come from, the rarer what they share, the nearer', async () => {
    const found = [
      { id: 'rare', rarity: 100 },
      { id: 'common', rarity: 0.26 },
      { id: 'ofb', from: 'b', rarity: 1.44 },
    ]
    const all = await withNeighbours(graphOf(found).db, { hasGraph }, hits(0.9, 0.8), 10)
    expect(all.map((hit) => [hit.chunk_id, Number(hit.score.toFixed(3))])).toEqual([
      ['a', 0.9],
      ['rare', 0.9],
      ['b', 0.8],
      ['ofb', 0.61],
      ['common', 0.206],
    ])
    expect(all[1]?.meta['graph']).toEqual({ entities: ['Otto Berg'], from: 'a' })
    expect(all[1]?.explanation).toBeNull()
  })

  it('take the place of worse hits only, and not of all', async () => {
    const strong = Array.from({ length: 4 }, (_, index) => ({ id: `n${index}`, rarity: 1.44 }))
    // The database gives no more than it is asked for: two for five places.
    const two = graphOf(strong.slice(0, 2)).db
    expect(idsOf(await withNeighbours(two, { hasGraph }, hits(1, 0.9, 0.85, 0.82, 0.8), 5))).toBe('a b c d e')
    expect(idsOf(await withNeighbours(two, { hasGraph }, hits(1, 0.5, 0.4, 0.3, 0.2), 5))).toBe('a n0 n1 b c')
    expect(idsOf(await withNeighbours(two, { hasGraph }, hits(1, 0.5), 5))).toBe('a n0 n1 b')
  })

  it('keep to the threshold of similarity, to one of each text, and to so many of a source', async () => {
    const found = [
      { id: 'n', rarity: 1.44 },
      { id: 'm', rarity: 0.3, text: 'a' },
      { id: 'o', rarity: 0.3, source: 'a' },
    ]
    const ask = (more: object) => withNeighbours(graphOf(found).db, { hasGraph, ...more }, hits(1), 10)
    expect(idsOf(await ask({}))).toBe('a n m o')
    expect(idsOf(await ask({ method: 'vector_search', similarityThreshold: 0.5 }))).toBe('a n')
    expect(idsOf(await ask({ method: 'hybrid', similarityThreshold: 0.5 }))).toBe('a n m o')
    expect(idsOf(await ask({ deduplicate: true }))).toBe('a n o')
    expect(idsOf(await ask({ maxPerSource: 1 }))).toBe('a n m')
    expect(idsOf(await withNeighbours(graphOf(found).db, { hasGraph }, hits(0), 10))).toBe('a')
  })

  it('are left out when they lead back to no hit', async () => {
    const { db } = graphOf([{ id: 'n', from: 'elsewhere' }])
    expect(idsOf(await withNeighbours(db, { hasGraph }, hits(1), 10))).toBe('a')
  })
})

describe('entities in an answer', () => {
  it.each([
    ['names', ['Otto Berg', 'Pier 4'], ['Otto Berg', 'Pier 4']],
    ['one of each, whatever the case', ['Otto Berg', 'OTTO  berg', 'Ｏｔｔｏ Berg'], ['Otto Berg']],
    ['in one line', [' Otto\n\tBerg '], ['Otto Berg']],
    ['without what cannot be seen', ['O\u200btto\u0000 \u0007 Be\ud800rg\u202e'], ['Otto Berg']],
    ['with joiners of a script', ['می\u200cخواهم'], ['می\u200cخواهم']],
    ['nothing that is no name', [7, null, {}, ['x'], '', '…', '- -', 'x'.repeat(101), 'y'.repeat(1e6)], []],
    ['names of objects as names', ['__proto__', 'constructor'], ['__proto__', 'constructor']],
    ['no list, no names', { 0: 'x' }, []],
    ['nothing, no names', undefined, []],
  ])('%s', (_, answer, names) => {
    expect(entitiesIn(answer)).toEqual(names)
  })

  it('are twenty at most, the first', () => {
    const names = entitiesIn(Array.from({ length: 10_000 }, (_, index) => `Name ${index}`))
    expect(names).toHaveLength(20)
    expect(names.at(-1)).toBe('Name 19')
  })
})
