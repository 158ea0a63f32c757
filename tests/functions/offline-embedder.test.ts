import { describe, expect, it } from 'vitest'
import {
  OFFLINE_EMBEDDING_MODEL,
  createOfflineEmbedder,
} from '../../supabase/functions/_shared/providers/offline-embedder.ts'
import { fold } from '../../supabase/functions/_shared/providers/text.ts'

const embedder = createOfflineEmbedder()
const cosine = (a: number[], b: number[]) => a.reduce((sum, value, i) => sum + value * (b[i] ?? 0), 0)
const similarity = async (left: string, right: string) => {
  const [a = [], b = []] = await embedder.embed([left, right])
  return cosine(a, b)
}

describe('the offline embedder', () => {
  it('gives unit vectors of 384 numbers, the same every time', async () => {
    expect(embedder).toMatchObject({ model: OFFLINE_EMBEDDING_MODEL, dimensions: 384 })
    const texts = ['Gate B opens at seven.', '', '!!!', '漢字', 'a', '🦆', '\u0000', 'x'.repeat(50_000)]
    const vectors = await embedder.embed(texts)
    expect(vectors).toEqual(await embedder.embed(texts))
    for (const vector of vectors) {
      expect(vector).toHaveLength(384)
      expect(cosine(vector, vector)).toBeCloseTo(1, 5)
    }
  })

  it('never changes its arithmetic under the same name', async () => {
    const [vector = []] = await embedder.embed(['The quay closes at six.'])
    const largest = vector.map((value, index) => [Math.abs(value), index] as const).sort((a, b) => b[0] - a[0])
    // Stored vectors are compared with new ones: if this fails, give the model another name.
    expect(largest.slice(0, 4).map(([, index]) => index)).toMatchInlineSnapshot(`
      [
        15,
        315,
        362,
        318,
      ]
    `)
  })

  it.each([
    ['When does the gate open?', 'The gate opens at seven.', 'Salaries are paid monthly.'],
    ['cancellation of a booking', 'A booking can be cancelled.', 'A vessel can be chartered.'],
    ['Wann öffnet das Tor?', 'Das Tor öffnet um sieben.', 'Gehälter werden monatlich bezahlt.'],
    ['码头几点关门', '七号码头晚上六点关门。', '工资每月支付一次。'],
    ['كم تبلغ رسوم التأخير', 'تبلغ رسوم التأخير أربعين يورو', 'يفتح الباب في السابعة'],
  ])('%s is nearer to %s than to %s', async (query, near, far) => {
    expect(await similarity(query, near)).toBeGreaterThan((await similarity(query, far)) + 0.1)
  })

  it('hardly looks at stop words, case and accents', async () => {
    expect(await similarity('the gate is at the quay', 'GATE QUAY')).toBeGreaterThan(0.7)
    expect(await similarity('Café', 'cafe')).toBeCloseTo(1, 5)
    expect(await similarity('the of and is', 'gate quay berth')).toBeLessThan(0.2)
  })

  it.each([
    ['Größe, naïve, e\u0301', 'große, naive, e'],
    ['a\u0301\u0302b\u0303', 'ab'],
    ['Ελλάδα ΐ', 'ελλαδα ι'],
    ['Ёлка й', 'елка и'],
    ['हिन्दी กำ עִברית', 'हिन्दी กํา עִברית'],
    ['\u0301a', '\u0301a'],
    ['ﬁ ①', 'fi 1'],
  ])('folds %j', (text, folded) => {
    expect(fold(text)).toBe(folded)
  })

  it('reads a letter under half a million accents at once', async () => {
    expect(fold(`e${'\u0301'.repeat(500_000)}`)).toBe('e')
  }, 10_000)

  it('stops when it is told to', () => {
    expect(() => embedder.embed(['x'], AbortSignal.abort(new Error('stop')))).toThrow('stop')
  })
})
