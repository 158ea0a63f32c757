import { UnsecuredJWT } from 'jose'
import { describe, expect, it } from 'vitest'
import type { Caller, Db } from '../../supabase/functions/_shared/context.ts'
import type { Embedder } from '../../supabase/functions/_shared/providers/index.ts'
import { findPassages } from '../../supabase/functions/_shared/search/find.ts'
import type { FindRequest } from '../../supabase/functions/_shared/search/find.ts'
import { createQueryVectors } from '../../supabase/functions/_shared/search/query-vectors.ts'
import { HARBOR, MERIDIAN } from './support/http.ts'

const caller = (userId: string, tenantId: string | null = null, claims: Record<string, unknown> = {}): Caller => ({
  userId,
  tenantId,
  token: new UnsecuredJWT({ sub: userId, ...claims }).encode(),
})

/** Counts what it is asked for. */
function countingEmbedder(model = 'm', embed: (text: string) => Promise<number[]> = async (text) => [text.length]) {
  const asked: string[] = []
  const embedder: Embedder = {
    model,
    dimensions: 1,
    embed: (texts) => {
      asked.push(...texts)
      return Promise.all(texts.map(embed))
    },
  }
  return { embedder, asked }
}

describe('the memory of query vectors', () => {
  it('embeds the same question of the same caller once', async () => {
    const vectors = createQueryVectors()
    const { embedder, asked } = countingEmbedder()
    const me = caller('u1', HARBOR)
    expect(await vectors.vectorOf(me, embedder, 'a')).toEqual([1])
    expect(await vectors.vectorOf({ ...me, token: caller('u1').token }, embedder, 'a')).toEqual([1])
    await vectors.vectorOf(me, embedder, 'ab')
    expect(asked).toEqual(['a', 'ab'])
  })

  it('tells what was embedded, once, as it was counted or estimated', async () => {
    const vectors = createQueryVectors()
    const uses: unknown[] = []
    const { embedder } = countingEmbedder()
    const counting: Embedder = {
      ...embedder,
      embed: (texts, signal, onUsage) => {
        onUsage?.(7)
        return embedder.embed(texts, signal)
      },
    }
    const gone = new AbortController()
    const ask = (of: Embedder, query: string, signal?: AbortSignal) =>
      vectors.vectorOf(caller('u1', HARBOR), of, query, signal, (use) => uses.push(use))
    await Promise.all([ask(counting, 'a'), ask(counting, 'a')])
    await ask(counting, 'a')
    expect(uses).toEqual([{ model: 'm', tokens: 7, isEstimate: false }])
    const asked = ask(embedder, 'x'.repeat(40), gone.signal)
    gone.abort(new Error('gone'))
    await expect(asked).rejects.toThrow('gone')
    await expect.poll(() => uses).toHaveLength(2)
    expect(uses[1]).toEqual({ model: 'm', tokens: 10, isEstimate: true })
    const broken = { ...embedder, embed: () => Promise.reject(new Error('down')) }
    await expect(ask(broken, 'new')).rejects.toThrow('down')
    expect(uses).toHaveLength(2)
  })

  it.each([
    ['another person', caller('u2', HARBOR), 'm'],
    ['another tenant by header', caller('u1', MERIDIAN), 'm'],
    ['no header', caller('u1'), 'm'],
    ['another tenant by claim', caller('u1', HARBOR, { tenant_id: MERIDIAN }), 'm'],
    ['another tenant by app_metadata', caller('u1', HARBOR, { app_metadata: { tenant_id: MERIDIAN } }), 'm'],
    ['another model', caller('u1', HARBOR), 'n'],
  ])('shares nothing with %s', async (_name, other, model) => {
    const vectors = createQueryVectors()
    const first = countingEmbedder('m')
    await vectors.vectorOf(caller('u1', HARBOR), first.embedder, 'a')
    const second = countingEmbedder(model)
    await vectors.vectorOf(other, second.embedder, 'a')
    expect(second.asked).toEqual(['a'])
  })

  it('embeds what is asked twice at once once, and lets one asker go without the other', async () => {
    const vectors = createQueryVectors()
    let finish = (_vector: number[]) => {}
    const { embedder, asked } = countingEmbedder('m', () => new Promise((resolve) => (finish = resolve)))
    const stop = new AbortController()
    const leaving = vectors.vectorOf(caller('u1'), embedder, 'a', stop.signal)
    const staying = vectors.vectorOf(caller('u1'), embedder, 'a')
    stop.abort(new Error('gone'))
    await expect(leaving).rejects.toThrow('gone')
    finish([7])
    expect(await staying).toEqual([7])
    expect(asked).toEqual(['a'])
    await expect(vectors.vectorOf(caller('u1'), embedder, 'a', stop.signal)).rejects.toThrow('gone')
  })

  it('forgets failures', async () => {
    const vectors = createQueryVectors()
    let fails = true
    const { embedder, asked } = countingEmbedder('m', async () => {
      if (fails) throw new Error('down')
      return [1]
    })
    await expect(vectors.vectorOf(caller('u1'), embedder, 'a')).rejects.toThrow('down')
    fails = false
    expect(await vectors.vectorOf(caller('u1'), embedder, 'a')).toEqual([1])
    expect(await vectors.vectorOf(caller('u1'), embedder, 'a')).toEqual([1])
    expect(asked).toEqual(['a', 'a'])
  })

  it('forgets a vector that cannot be compared', async () => {
    const vectors = [[1], [0, 1]]
    const { embedder, asked } = countingEmbedder('m', async () => vectors.shift() ?? [])
    const rpc = (name: string, args: Record<string, unknown>) => {
      if (name === 'search_models') {
        return Promise.resolve({ data: [{ embedding_model: 'm', knowledge_base_ids: ['k'] }], error: null })
      }
      const fits = args['query_embedding'] === '[0,1]'
      const error = { code: 'PT400', message: 'Another length.', details: '{"code":"invalid_embedding"}' }
      return Promise.resolve(fits ? { data: [], error: null } : { data: null, error })
    }
    const parts = {
      db: { schema: () => ({ rpc }) } as unknown as Db,
      caller: caller('u1'),
      embedderFor: () => embedder,
      queryVectors: createQueryVectors(),
      onEmbedded: () => {},
      signal: undefined,
    }
    const find = () => findPassages(parts, { query: 'a', vectorQuery: 'a', topK: 1 } as FindRequest)
    await expect(find()).rejects.toMatchObject({ code: 'upstream_failed' })
    for (let time = 0; time < 2; time++) expect(await find()).toMatchObject({ hits: [], models: ['m'] })
    expect(asked).toEqual(['a', 'a'])
  })

  it('forgets with time, and the least recent first', async () => {
    let now = 0
    const vectors = createQueryVectors({ ttlMs: 100, maxQueries: 2, maxCallers: 2, now: () => now })
    const { embedder, asked } = countingEmbedder()
    const ask = async (user: string, ...queries: string[]) => {
      asked.length = 0
      for (const query of queries) await vectors.vectorOf(caller(user), embedder, query)
      return [...asked]
    }
    expect(await ask('u1', 'a', 'b', 'a', 'c', 'a', 'b')).toEqual(['a', 'b', 'c', 'b'])
    now = 100
    expect(await ask('u1', 'a')).toEqual(['a'])
    // Another caller's questions take none of this one's room...
    expect(await ask('u2', 'x', 'y', 'z')).toEqual(['x', 'y', 'z'])
    expect(await ask('u1', 'a')).toEqual([])
    // ...and a third caller takes the place of the one who has been away longest.
    await ask('u3', 'x')
    expect(await ask('u1', 'a')).toEqual([])
    expect(await ask('u2', 'z')).toEqual(['z'])
  })

  it('reads a token that is none as one without tenant', async () => {
    const { embedder } = countingEmbedder()
    expect(await createQueryVectors().vectorOf({ ...caller('u1'), token: 'x' }, embedder, 'a')).toEqual([1])
  })
})
