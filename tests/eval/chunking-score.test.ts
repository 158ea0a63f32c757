import { describe, expect, test } from 'vitest'
import { rankerOf } from '../../eval/support/chunking-rank.ts'
import { disjoint, lengthOf, scoreSpans, takeCharacters, type Span } from '../../eval/support/chunking-score.ts'
import { randomNumbers } from '../worker/random.ts'

const span = (start: number, end: number): Span => ({ start, end })

describe('characters returned', () => {
  const ranked = [span(50, 80), span(0, 30), span(25, 45)]

  test('the last span is cut to fit, and what is returned twice takes room twice', () => {
    expect(takeCharacters(ranked, 70)).toEqual([span(50, 80), span(0, 30), span(25, 35)])
    expect(takeCharacters(ranked, 60)).toEqual([span(50, 80), span(0, 30)])
    expect(takeCharacters(ranked, 10)).toEqual([span(50, 60)])
    expect(takeCharacters(ranked, 1_000)).toEqual(ranked)
    expect(takeCharacters(ranked, 0)).toEqual([])
  })

  test('spans that overlap or touch become one', () => {
    expect(disjoint([span(20, 30), span(0, 5), span(25, 27), span(5, 9), span(29, 40)])).toEqual([
      span(0, 9),
      span(20, 40),
    ])
    expect(ranked).toEqual([span(50, 80), span(0, 30), span(25, 45)])
    expect(lengthOf(ranked)).toBe(75)
  })
})

describe('recall, precision and intersection over union', () => {
  test('of answers that are returned in part, in full and not at all', () => {
    expect(scoreSpans([span(0, 100)], [span(50, 150)])).toEqual({ recall: 0.5, precision: 0.5, iou: 50 / 150 })
    expect(scoreSpans([span(0, 100)], [span(10, 20), span(40, 50)])).toEqual({ recall: 1, precision: 0.2, iou: 0.2 })
    expect(scoreSpans([span(0, 10)], [span(10, 20)])).toEqual({ recall: 0, precision: 0, iou: 0 })
    expect(scoreSpans([], [span(10, 20)])).toEqual({ recall: 0, precision: 0, iou: 0 })
  })

  test('are what counting character by character gives', () => {
    const length = 200
    for (let seed = 1; seed <= 300; seed++) {
      const { between } = randomNumbers(seed)
      const spans = () =>
        Array.from({ length: between(1, 6) }, () => {
          const start = between(0, length - 2)
          return span(start, between(start + 1, length))
        })
      const [returned, answers] = [spans(), spans()]
      const isIn = (set: Span[], at: number) => set.some(({ start, end }) => start <= at && at < end)
      const at = Array.from({ length }, (_, index) => ({ got: isIn(returned, index), right: isIn(answers, index) }))
      const both = at.filter(({ got, right }) => got && right).length
      expect(scoreSpans(returned, answers)).toEqual({
        recall: both / at.filter(({ right }) => right).length,
        precision: both / at.filter(({ got }) => got).length,
        iou: both / at.filter(({ got, right }) => got || right).length,
      })
    }
  })
})

test('BM25 prefers rare words, repeated words and short passages, and keeps the order of equals', () => {
  const words = (text: string) => {
    const counts = new Map<string, number>()
    for (const word of text.split(' ')) counts.set(word, (counts.get(word) ?? 0) + 1)
    return counts
  }
  const rank = (passages: string[], question: string) => rankerOf(passages.map(words))(words(question))
  expect(rank(['ship sea', 'ship crew', 'harbour sea', 'ship sky'], 'ship harbour')[0]).toBe(2)
  expect(rank(['ship sea sky', 'ship ship sky'], 'ship')).toEqual([1, 0])
  expect(rank(['ship sea sky sand', 'ship sea'], 'ship')).toEqual([1, 0])
  expect(rank(['sea', 'ship', 'sky', 'ship'], 'ship')).toEqual([1, 3, 0, 2])
  expect(rank(['sea', 'sky'], 'nothing known')).toEqual([0, 1])
})
