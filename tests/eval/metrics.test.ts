import { describe, expect, test } from 'vitest'
import { meanScore, ndcgAt, recallAt } from '../../eval/support/metrics.ts'

const judged = (grades: Record<string, number>) => new Map(Object.entries(grades))

describe('nDCG', () => {
  test('takes the grade as it is, not two to its power', () => {
    // (1 + 3 / log2 3) / (3 + 1 / log2 3), worked out by hand.
    expect(ndcgAt(['low', 'high'], judged({ high: 3, low: 1 }))).toBeCloseTo(0.796708, 6)
  })

  test('is 1 for the best order and discounts by log2 of the rank + 1', () => {
    const one = judged({ right: 1 })
    expect(ndcgAt(['right', 'a', 'b'], one)).toBe(1)
    expect(ndcgAt(['a', 'right', 'b'], one)).toBeCloseTo(0.63093, 5)
    expect(ndcgAt(['a', 'b', 'right'], one)).toBe(0.5)
  })

  test('looks no further than the depth, in the ranking and in the ideal', () => {
    const ranking = Array.from({ length: 20 }, (_, index) => `d${index}`)
    expect(ndcgAt(ranking, judged({ d10: 1 }))).toBe(0)
    expect(ndcgAt(ranking, judged({ d9: 1 }))).toBeCloseTo(1 / Math.log2(11), 10)
    // Eleven relevant documents, the first ten found: there is no better ten.
    expect(ndcgAt(ranking, judged(Object.fromEntries(ranking.slice(0, 11).map((id) => [id, 1]))))).toBe(1)
    expect(ndcgAt(['a', 'right'], judged({ right: 1 }), 1)).toBe(0)
  })

  test('counts relevant documents that were not found, and not the irrelevant ones', () => {
    expect(ndcgAt(['a'], judged({ a: 1, b: 1 }))).toBeCloseTo(1 / (1 + 1 / Math.log2(3)), 10)
    expect(ndcgAt(['bad', 'a'], judged({ a: 1, bad: 0, worse: -1 }))).toBeCloseTo(0.63093, 5)
    expect(ndcgAt(['worse', 'a'], judged({ a: 1, bad: 0, worse: -1 }))).toBeCloseTo(0.63093, 5)
  })

  test('of a search that finds nothing is 0, and of a question without a relevant document there is none', () => {
    expect(ndcgAt([], judged({ a: 1 }))).toBe(0)
    expect(ndcgAt(['a'], judged({}))).toBeNull()
    expect(ndcgAt(['a'], judged({ a: 0 }))).toBeNull()
  })
})

describe('recall', () => {
  test('is the share of the relevant documents among the first 100, whatever their grade', () => {
    const ranking = Array.from({ length: 150 }, (_, index) => `d${index}`)
    expect(recallAt(ranking, judged({ d0: 5, d99: 1, d100: 5, elsewhere: 1 }))).toBe(0.5)
    expect(recallAt(ranking, judged({ d0: 5, d99: 1, d100: 5, elsewhere: 1 }), 101)).toBe(0.75)
    expect(recallAt(ranking, judged({ d0: 0, d1: 2 }))).toBe(1)
    expect(recallAt(ranking, judged({ d0: 0 }))).toBeNull()
  })
})

describe('the mean', () => {
  test('is over the questions that have a score', () => {
    expect(meanScore([1, null, 0, 0.5])).toBe(0.5)
    expect(() => meanScore([null])).toThrow('No question has a relevant document')
  })
})
