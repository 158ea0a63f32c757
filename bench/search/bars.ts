import { CLASSES, type QueryClass } from './layout.ts'
import type { Latency, Pair, SizeResult } from './results.ts'

/** One thing that has to hold, what was measured, and whether it does. */
export type Bar = { name: string; value: number; limit: number; atLeast: boolean; holds: boolean }

type Ratios = Record<QueryClass, number>
/** How many times faster than the guide's query (a) and than the documented hybrid_search (b), by rows. */
const RATIOS: Record<number, { a: Ratios; b: Ratios }> = {
  100_000: { a: { L: 500, M: 50, S: 8 }, b: { L: 50, M: 6.5, S: 1.8 } },
  1_000_000: { a: { L: 4000, M: 450, S: 70 }, b: { L: 400, M: 50, S: 6 } },
}
const RECALL_AT_10 = 0.99
const WORST_RECALL_AT_10 = 0.5
const P95_OVER_P50 = 3
const IDENTIFIER_HITS = 0.9
const MISTYPED_HITS = 0.75
const COMMON_WORDS_MS = 15
const RLS_RATIO = 1.1
const INGEST_RATIO = 0.85

/** The median by the server's processor time if it is known, else by the wall. */
export const medianOf = ({ cpu, wall }: Latency): number => (cpu ?? wall).p50

/** How many times as long as ours the other takes. */
export const ratioOf = ({ ours, other }: Pair): number => medianOf(other) / medianOf(ours)

/** Every bar that is set for this number of rows, with what was measured. */
export function barsOf(result: SizeResult): Bar[] {
  const { rows, latency, recall } = result
  const size = sizeName(rows)
  const bars: Bar[] = []
  const atLeast = (name: string, value: number, limit: number) =>
    bars.push({ name: `${size} ${name}`, value, limit, atLeast: true, holds: value >= limit })
  const atMost = (name: string, value: number, limit: number) =>
    bars.push({ name: `${size} ${name}`, value, limit, atLeast: false, holds: value <= limit })

  const ratios = RATIOS[rows]
  for (const variant of ['a', 'b'] as const) {
    for (const name of CLASSES) {
      const limit = ratios?.[variant][name]
      if (limit) atLeast(`(${variant})/ours ${name}`, ratioOf(latency[name][variant]), limit)
    }
  }
  recall.deciles.forEach(({ at10 }, i) => atLeast(`recall@10 decile ${i + 1}`, at10, RECALL_AT_10))
  const searched = [...recall.deciles, ...CLASSES.map((name) => recall.classes[name])]
  atLeast('worst recall@10', Math.min(...searched.map(({ worstAt10 }) => worstAt10)), WORST_RECALL_AT_10)
  const answers = [
    ...searched,
    ...CLASSES.flatMap((name) => [latency[name].a.ours, latency[name].b.ours, latency[name].mixed]),
  ]
  atMost('answers with too few rows', sum(answers.map(({ shortAnswers }) => shortAnswers)), 0)
  atMost('rows of other tenants', sum(answers.map(({ foreignRows }) => foreignRows)), 0)
  atLeast('identifier hit@10', mean(CLASSES.map((name) => result.identifier.ours[name])), IDENTIFIER_HITS)
  atLeast('mistyped identifier hit@10', mean(CLASSES.map((name) => result.mistyped.ours[name])), MISTYPED_HITS)
  if (rows >= 100_000)
    atLeast('ingest rate over (b)', result.ingest.oursPerSecond / result.ingest.bPerSecond, INGEST_RATIO)
  if (rows === 100_000) {
    for (const name of CLASSES) {
      const times = latency[name].b.ours.cpu ?? latency[name].b.ours.wall
      atMost(`p95/p50 ${name}`, times.p95 / times.p50, P95_OVER_P50)
    }
    for (const name of CLASSES) atMost(`RLS on/off ${name}`, result.rls[name].ratio, RLS_RATIO)
    // Otherwise the ratio compares two different things.
    atMost('answers that differ without RLS', sum(CLASSES.map((name) => result.rls[name].differentAnswers)), 0)
  }
  if (rows === 1_000_000) atMost('common words L, ms', result.commonWordsWorstMs, COMMON_WORDS_MS)
  return bars
}

/** The last line of a run: which bars fall short and by what. */
export function verdict(bars: Bar[]): string {
  const short = bars.filter(({ holds }) => !holds)
  if (short.length === 0) return 'all bars hold'
  const shown = short.map(
    ({ name, value, limit, atLeast }) => `${name} ${figure(value)} (${atLeast ? '>=' : '<='} ${limit})`,
  )
  return `short: ${shown.join('; ')}`
}

/** 10k, 100k, 1M. */
export const sizeName = (rows: number): string =>
  rows % 1_000_000 === 0 ? `${rows / 1_000_000}M` : rows % 1000 === 0 ? `${rows / 1000}k` : String(rows)

/** Three significant digits, and none lost before the point. */
export const figure = (value: number): string =>
  Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)))

const sum = (values: number[]): number => values.reduce((total, value) => total + value, 0)
const mean = (values: number[]): number => sum(values) / values.length
