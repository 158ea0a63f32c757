import { percentile } from '../support/stats.ts'
import type { Corpus } from './corpus.ts'
import { at, CLASSES, type QueryClass } from './layout.ts'
import type { Query } from './queries.ts'
import { shuffle, stream } from './random.ts'
import type { Latency, Percentiles, PerClass, SizeResult } from './results.ts'
import type { CallerSession, Times } from './sessions.ts'
import { ASK, askOurs, type Found, isForeign, RESULT_ROWS, type Variant } from './variants.ts'

const WARM_UP = 4
const GUIDE_ROWS = 5

type Baseline = Exclude<Variant, 'ours'>

/** How many queries of a class each baseline is asked: all it can be without the run taking hours. */
export type QueryCounts = Record<Baseline, PerClass<number>>

export function queryCounts(rows: number): QueryCounts {
  const all = { L: 100, M: 100, S: 100 }
  if (rows <= 20_000) return { a: { L: 30, M: 100, S: 100 }, b: all }
  if (rows <= 200_000) return { a: { L: 8, M: 30, S: 100 }, b: { L: 60, M: 100, S: 100 } }
  // (a) takes 20 s a call of L, (b) 2 s.
  return { a: { L: 3, M: 8, S: 30 }, b: { L: 30, M: 60, S: 100 } }
}

type Asked = Found & { query: Query }

/**
 * Class by class, asks ours beside each of the others the same queries, in a random order at each query, and times them; then
 * ours alone with the classes shuffled. A statement finds the caches as the one before has left them, so a search of a
 * millisecond is only comparable beside one that reads the same tenant.
 */
export async function measureLatency(
  session: CallerSession,
  corpus: Corpus,
  queries: PerClass<Query[]>,
): Promise<Pick<SizeResult, 'latency' | 'knownItem'>> {
  const counts = queryCounts(corpus.rows)
  const askBeside = async (other: Baseline, name: QueryClass) => {
    const random = stream(corpus.seed, `order beside ${other} ${name}`)
    const asked: Record<'ours' | 'other', Asked[]> = { ours: [], other: [] }
    const ask = { ours: ASK.ours, other: ASK[other] }
    for (const query of queries[name].slice(0, WARM_UP)) await ask.ours(session, corpus, query)
    await ask.other(session, corpus, at(queries[name], 0))
    for (const query of queries[name].slice(0, counts[other][name])) {
      for (const variant of shuffle(random, ['ours', 'other'] as const)) {
        asked[variant].push({ ...(await ask[variant](session, corpus, query)), query })
      }
    }
    return asked
  }
  const beside = {} as Record<Baseline, PerClass<Record<'ours' | 'other', Asked[]>>>
  for (const other of ['b', 'a'] as const) {
    beside[other] = {} as PerClass<Record<'ours' | 'other', Asked[]>>
    for (const name of CLASSES) beside[other][name] = await askBeside(other, name)
  }
  const mixed: PerClass<Asked[]> = perClass(() => [])
  const rounds = CLASSES.flatMap((name) => queries[name].map((query) => ({ name, query })))
  for (const { name, query } of shuffle(stream(corpus.seed, 'order of classes'), rounds)) {
    mixed[name].push({ ...(await ASK.ours(session, corpus, query)), query })
  }
  const pairOf = (other: Baseline, name: QueryClass, wanted: number) => ({
    ours: latencyOf(corpus, beside[other][name].ours, RESULT_ROWS),
    other: latencyOf(corpus, beside[other][name].other, wanted),
  })
  return {
    latency: perClass((name) => ({
      a: pairOf('a', name, GUIDE_ROWS),
      b: pairOf('b', name, 0),
      mixed: latencyOf(corpus, mixed[name], RESULT_ROWS),
    })),
    knownItem: {
      ours: perClass((name) => hitRate(mixed[name].filter(aboutItsTarget))),
      b: perClass((name) => hitRate(beside.b[name].other.filter(aboutItsTarget))),
    },
  }
}

/** Questions and keywords are made from their target's own words; codes are counted apart, common words say nothing of it. */
const aboutItsTarget = ({ query }: Asked): boolean => query.kind === 'nl' || query.kind === 'kw'

/** Share of the queries whose target is among the rows found. */
export const hitRate = (asked: { query: Query; found: number[] }[]): number =>
  asked.filter(({ query, found }) => found.includes(query.target)).length / asked.length

export const perClass = <T>(make: (name: QueryClass) => T): PerClass<T> => ({
  L: make('L'),
  M: make('M'),
  S: make('S'),
})

/** Summary of times, the processor's if all are known. */
export function percentilesOf(times: Times[]): { cpu: Percentiles | null; wall: Percentiles } {
  const known = times.flatMap(({ cpu }) => (cpu === null ? [] : [cpu]))
  return {
    cpu: known.length === times.length ? summary(known) : null,
    wall: summary(times.map(({ wall }) => wall)),
  }
}

export const summary = (values: number[]): Percentiles => ({
  p50: percentile(values, 0.5),
  p95: percentile(values, 0.95),
  max: Math.max(...values),
})

function latencyOf(corpus: Corpus, asked: Asked[], wanted: number): Latency {
  return {
    count: asked.length,
    ...percentilesOf(asked),
    foreignRows: asked.flatMap(({ query, found }) => found.filter((row) => isForeign(corpus, query, row))).length,
    shortAnswers: asked.filter(
      ({ query, found }) => found.length < Math.min(wanted, at(corpus.tenants, query.tenant).size),
    ).length,
  }
}

const COMMON_REPEATS = 3

/** The slowest of the large tenant's questions of common words only, each by the median of its repetitions, in milliseconds. */
export async function measureCommonWords(session: CallerSession, corpus: Corpus, queries: Query[]): Promise<number> {
  const medians: number[] = []
  for (const query of queries.filter(({ kind }) => kind === 'common')) {
    const times: number[] = []
    for (let i = 0; i < COMMON_REPEATS; i++) {
      const { cpu, wall } = await askOurs(session, corpus, query)
      times.push(cpu ?? wall)
    }
    medians.push(percentile(times, 0.5))
  }
  return Math.max(...medians)
}
