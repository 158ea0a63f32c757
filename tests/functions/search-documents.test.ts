import { describe, expect, it } from 'vitest'
import type { Db } from '../../supabase/functions/_shared/context.ts'
import { wholeDocuments } from '../../supabase/functions/_shared/search/documents.ts'
import { hitOf } from './support/hits.ts'

/** Pages of each source, and how often somebody asked for some. */
function storeOf(sources: Record<string, string[]>) {
  let requests = 0
  const query = (id: string) => ({
    order: () => ({
      range: (from: number, to: number) => ({
        returns: () => {
          requests++
          const pages = (sources[id] ?? []).map((text, index) => ({ page_number: index + 1, text }))
          return Promise.resolve({ data: pages.slice(from, to + 1), error: null })
        },
      }),
    }),
  })
  const db = { schema: () => ({ from: () => ({ select: () => ({ eq: (_: string, id: string) => query(id) }) }) }) }
  return { db: db as unknown as Db, requests: () => requests }
}
const hit = (id: string) => hitOf({ source_id: id, text: 'found', start_char: 7, meta: { pages: [1] } })

describe('whole documents', () => {
  it('are their pages joined, however many there are', async () => {
    const texts = Array.from({ length: 250 }, (_, index) => `page ${index}`)
    const { db } = storeOf({ long: texts, short: ['only'] })
    const { hits, warnings } = await wholeDocuments(db, [hit('long'), hit('short')])
    expect(hits.map(({ text }) => text)).toEqual([texts.join('\n\n'), 'only'])
    expect(hits[0]).toMatchObject({ start_char: 0, end_char: texts.join('\n\n').length })
    expect(hits[0]?.meta['pages']).toHaveLength(250)
    expect(hits[1]?.meta).toEqual({ pages: [1], passage: { start_char: 7, end_char: 12, pages: [1] } })
    expect(warnings).toEqual([])
  })

  it('fill an allowance together: one is cut between characters, the next stay passages', async () => {
    const page = '👋'.repeat(100_000)
    const { db, requests } = storeOf({ a: [`x${page}`], b: [page], c: Array(1000).fill('c'), d: ['d'] })
    const { hits, warnings } = await wholeDocuments(db, [hit('a'), hit('b'), hit('c'), hit('d')])
    expect(hits.map(({ text }) => text.length)).toEqual([200_001, 199_998, 5, 5])
    expect(hits[1]?.text.isWellFormed()).toBe(true)
    expect(hits[2]).toEqual(hit('c'))
    expect(warnings).toEqual(['3 of the documents are too long to be given whole.'])
    expect(requests()).toBe(2)
  })

  it('are read no further than they can be shown', async () => {
    const { db, requests } = storeOf({ huge: Array(10_000).fill('z'.repeat(5000)) })
    const { hits } = await wholeDocuments(db, [hit('huge')])
    expect(hits[0]?.text).toHaveLength(400_000)
    expect(requests()).toBe(1)
  })

  it('that are not there any more stay what was found', async () => {
    const { db } = storeOf({})
    expect(await wholeDocuments(db, [hit('gone')])).toEqual({ hits: [hit('gone')], warnings: [] })
  })
})
