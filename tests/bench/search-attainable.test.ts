import { expect, test } from 'vitest'
import { attainableHits, chanceInFirst, isOneEditAway, type RowsOfCode } from '../../bench/search/attainable.ts'
import { makeCorpus } from '../../bench/search/corpus.ts'
import { CLASSES } from '../../bench/search/layout.ts'
import { makeCodeQueries } from '../../bench/search/queries.ts'

const rows = (from: number, count: number) => Array.from({ length: count }, (_, i) => from + i)

test('of twenty chunks with the code that was asked for, ten are found', () => {
  const codes: RowsOfCode = new Map([
    ['INV202400812', rows(0, 20)],
    ['INV202400813', rows(20, 30)],
    ['PN48213', [77]],
  ])
  expect(chanceInFirst(10, 'INV-2024-00812', 3, codes)).toBe(0.5)
  expect(chanceInFirst(10, 'PN48213', 77, codes)).toBe(1)
})

test('of a mistyped code all chunks one edit away are as likely, and none further away', () => {
  const codes: RowsOfCode = new Map([
    ['PN48213', rows(0, 4)],
    ['PN48293', rows(4, 10)],
    ['PN4823', rows(14, 2)],
    ['PN482137', rows(16, 2)],
    ['PN48231', rows(18, 2)],
    ['PN99999', rows(20, 50)],
  ])
  // PN48233: one character from PN48213, PN48293, PN4823 and PN48231, two from PN482137.
  expect(chanceInFirst(10, 'PN48233', 0, codes)).toBeCloseTo(10 / 18)
  expect(chanceInFirst(10, 'PN48233', 16, codes)).toBe(0)
  expect(chanceInFirst(10, 'PN99990', 20, codes)).toBe(0.2)
})

test('chunks that hold the mistyped code itself come before; one with two near codes counts once', () => {
  const codes: RowsOfCode = new Map([
    ['PN10000', rows(0, 6)],
    ['PN10001', rows(3, 5)],
    ['PN10002', rows(7, 9)],
  ])
  // Six chunks hold PN10000. Rows 6 to 15 are one edit away, 7 by two codes; 3 to 5 hold it, too, and are counted there.
  expect(chanceInFirst(10, 'PN10000', 8, codes)).toBeCloseTo(4 / 10)
  expect(chanceInFirst(5, 'PN10000', 8, codes)).toBe(0)
})

test.each([
  ['wrong', 'AB123', 'AB1X3', true],
  ['missing', 'AB123', 'AB13', true],
  ['additional', 'AB123', 'AB1923', true],
  ['additional at the end', 'AB123', 'AB1234', true],
  ['exchanged', 'AB123', 'AB213', true],
  ['exchanged at the end', 'AB123', 'AB132', true],
  ['the same', 'AB123', 'AB123', false],
  ['two wrong', 'AB123', 'AB99X', false],
  ['two missing', 'AB123', 'AB1', false],
  ['exchanged over a third', 'AB123', 'AB321', false],
  ['one wrong and one missing', 'AB123', 'XB12', false],
])('an edit: %s', (_, one, other, is) => {
  expect(isOneEditAway(one, other)).toBe(is)
  expect(isOneEditAway(other, one)).toBe(is)
})

test('over a corpus it is the mean of the chances, counted by hand, in the tenant of each query', () => {
  const corpus = makeCorpus(10_000, 1)
  const codesOfRow = Array.from({ length: corpus.rows }, (_, row) => corpus.chunkOf(row).codes)
  for (const name of CLASSES) {
    const queries = makeCodeQueries(corpus, name, 'code', 8)
    let sum = 0
    for (const { tenant, target } of queries) {
      const code = codesOfRow[target]?.[0] as string
      const holders = [...(corpus.rowsOfTenant[tenant] as Int32Array)].filter((row) => codesOfRow[row]?.includes(code))
      sum += Math.min(1, 3 / holders.length)
    }
    expect(attainableHits(corpus, queries, 3)).toBeCloseTo(sum / queries.length)
    const mistyped = attainableHits(corpus, makeCodeQueries(corpus, name, 'typo', 8), 3)
    expect(mistyped).toBeGreaterThan(0)
    expect(mistyped).toBeLessThanOrEqual(1)
  }
})
