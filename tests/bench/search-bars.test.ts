import { expect, test } from 'vitest'
import { barsOf, figure, sizeName, verdict } from '../../bench/search/bars.ts'
import { at } from '../../bench/search/layout.ts'
import type { Latency, PerClass, SizeResult } from '../../bench/search/results.ts'
import { tableOf } from '../../bench/search/report.ts'

const all = <T>(value: T): PerClass<T> => ({
  L: structuredClone(value),
  M: structuredClone(value),
  S: structuredClone(value),
})
const latency = (p50: number, p95 = p50): Latency => ({
  count: 100,
  cpu: { p50, p95, max: p95 },
  wall: { p50: 2 * p50, p95: 9 * p95, max: 9 * p95 },
  foreignRows: 0,
  shortAnswers: 0,
})
const recall = { queries: 30, at10: 1, at60: 1, worstAt10: 1, shortAnswers: 0, foreignRows: 0 }
const firstCall = { first: { cpu: 20, wall: 21 }, second: { cpu: 2, wall: 3 } }

/** A result of which every bar holds, at its limit where that is simple. */
function goodResult(rows: number): SizeResult {
  const [a, b] =
    rows === 1_000_000
      ? [
          { L: 4000, M: 450, S: 70 },
          { L: 400, M: 50, S: 6 },
        ]
      : [
          { L: 500, M: 50, S: 8 },
          { L: 50, M: 6.5, S: 1.8 },
        ]
  const of = (name: 'L' | 'M' | 'S') => ({
    a: { ours: latency(1), other: latency(a[name]) },
    b: { ours: latency(1, 3), other: latency(b[name]) },
    mixed: latency(2, 9),
  })
  return {
    rows,
    shareOfGlobalTop: all(0.2),
    tenantRows: all({ least: 5, most: 70 }),
    graphs: 4,
    latency: { L: of('L'), M: of('M'), S: of('S') },
    commonWordsWorstMs: 15,
    recall: {
      deciles: Array.from({ length: 10 }, () => ({ ...recall, at10: 0.99, worstAt10: 0.5 })),
      classes: all(recall),
    },
    knownItem: { ours: all(1), b: all(1) },
    identifier: { ours: all(0.9), b: all(0.4), attainable: all(0.925) },
    mistyped: { ours: all(0.75), b: all(0), attainable: all(0.81) },
    throughput: { clients: 8, oursPerSecond: 1000, bPerSecond: 20, ours: latency(5).wall, b: latency(90).wall },
    ingest: { rows: 4000, oursPerSecond: 850, bPerSecond: 1000 },
    rls: all({ onMs: 1.1, offMs: 1, ratio: 1.1, differentAnswers: 0 }),
    floor: all({ searchMs: 2, floorMs: 1, share: 0.5 }),
    firstCall: all(firstCall),
    sizes: [
      { name: '(b) documents', bytes: 2 ** 20 },
      { name: 'ours: ai.chunks', bytes: 2 ** 20 },
      { name: 'ours: ai.chunks, btree', bytes: 2 ** 18 },
    ],
    promoted: null,
    loadSeconds: { baselines: 1, ours: 1, graphs: 1 },
  }
}

const shortOf = (result: SizeResult) =>
  barsOf(result)
    .filter(({ holds }) => !holds)
    .map(({ name }) => name)

test.each([10_000, 100_000, 1_000_000])('at the limits all bars of %i rows hold', (rows) => {
  const bars = barsOf(goodResult(rows))
  expect(bars.filter(({ holds }) => !holds)).toEqual([])
  expect(verdict(bars)).toBe('all bars hold')
})

test.each<[string, number, (result: SizeResult) => void, string]>([
  ['the guide’s query is not slow enough', 100_000, (r) => (r.latency.M.a.other = latency(49)), '100k (a)/ours M'],
  ['hybrid_search is not slow enough', 100_000, (r) => (r.latency.S.b.other = latency(1.7)), '100k (b)/ours S'],
  ['the bars of a million rows are higher', 1_000_000, (r) => (r.latency.L.b.other = latency(399)), '1M (b)/ours L'],
  ['one decile misses neighbours', 10_000, (r) => (at(r.recall.deciles, 3).at10 = 0.98), '10k recall@10 decile 4'],
  [
    'one query misses most neighbours',
    10_000,
    (r) => (r.recall.classes.L = { ...recall, worstAt10: 0.4 }),
    '10k worst recall@10',
  ],
  [
    'a vector search returns too few rows',
    10_000,
    (r) => (at(r.recall.deciles, 0).shortAnswers = 1),
    '10k answers with too few rows',
  ],
  [
    'a search returns too few rows',
    10_000,
    (r) => (r.latency.S.a.ours.shortAnswers = 1),
    '10k answers with too few rows',
  ],
  ['a row of another tenant shows', 10_000, (r) => (r.latency.L.mixed.foreignRows = 1), '10k rows of other tenants'],
  ['the tail is long', 100_000, (r) => (r.latency.L.b.ours = latency(1, 3.1)), '100k p95/p50 L'],
  ['identifiers are missed', 10_000, (r) => (r.identifier.ours = { L: 0.8, M: 0.9, S: 0.9 }), '10k identifier hit@10'],
  ['mistyped identifiers are missed', 10_000, (r) => (r.mistyped.ours.S = 0.7), '10k mistyped identifier hit@10'],
  ['policies cost too much', 100_000, (r) => (r.rls.M.ratio = 1.11), '100k RLS on/off M'],
  [
    'the search without policies finds something else',
    100_000,
    (r) => (r.rls.L.differentAnswers = 1),
    '100k answers that differ without RLS',
  ],
  ['common words cost too much', 1_000_000, (r) => (r.commonWordsWorstMs = 15.1), '1M common words L, ms'],
  ['ingest is slow', 100_000, (r) => (r.ingest.oursPerSecond = 849), '100k ingest rate over (b)'],
])('falls short when %s', (_, rows, spoil, name) => {
  const result = goodResult(rows)
  spoil(result)
  expect(shortOf(result)).toEqual([name])
  expect(verdict(barsOf(result))).toMatch(/^short: /)
  expect(verdict(barsOf(result))).toContain(name)
})

test('a figure that could not be measured falls short', () => {
  const result = goodResult(100_000)
  result.ingest.bPerSecond = 0
  result.ingest.oursPerSecond = 0
  expect(shortOf(result)).toEqual(['100k ingest rate over (b)'])
})

test('without processor times the wall decides', () => {
  const result = goodResult(100_000)
  for (const { a, b, mixed } of Object.values(result.latency)) {
    for (const variant of [a.ours, a.other, b.ours, b.other, mixed]) variant.cpu = null
  }
  expect(shortOf(result)).toEqual(['100k p95/p50 L', '100k p95/p50 M', '100k p95/p50 S'])
})

test('bars of latency, policies and ingest are set for the sizes they were set for', () => {
  const names = (rows: number) => barsOf(goodResult(rows)).map(({ name }) => name.replace(/^\S+ /, ''))
  expect(names(10_000).some((name) => /ours|p95|RLS|ingest|common/.test(name))).toBe(false)
  expect(names(100_000)).not.toContain('common words L, ms')
  expect(names(1_000_000)).not.toContain('RLS on/off L')
})

test('the table shows every part; a table counts with its indexes once', () => {
  const lines = tableOf(goodResult(100_000))
  expect(lines[0]).toBe('100k rows, 4 graphs')
  for (const part of [
    'ours beside (a), cpu',
    'ours, classes mixed, wall',
    '(a)/ours',
    'decile 10',
    'mistyped',
    'searches per second',
    'ingest',
    'row-level security',
  ]) {
    expect(
      lines.some((line) => line.includes(part)),
      part,
    ).toBe(true)
  }
  expect(lines.find((line) => line.startsWith('identifier hit@10, attainable'))).toMatch(/0\.925 +0\.925 +0\.925$/)
  expect(lines.find((line) => line.startsWith('mistyped identifier hit@10, attainable'))).toMatch(
    /0\.81 +0\.81 +0\.81$/,
  )
  expect(lines.find((line) => line.startsWith('size'))).toMatch(/ours 1 MB +\(b\) 1 MB +1x/)
})

test('numbers are written with three digits', () => {
  expect([0.12345, 1.5, 12.345, 1234.5, 0].map(figure)).toEqual(['0.123', '1.5', '12.3', '1235', '0'])
  expect([10_000, 100_000, 1_000_000].map(sizeName)).toEqual(['10k', '100k', '1M'])
})
