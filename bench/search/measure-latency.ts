import { percentile } from '../support/stats.ts'
import type { Corpus } from './corpus.ts'
import { at, CLASSES, type QueryClass } from './layout.ts'
import type { Query } from './queries.ts'
import { shuffle, stream } from './random.ts'
import type { Latency, Percentiles, PerClass, SizeResult } from './results.ts'
import type { CallerSession, Times } from './sessions.ts'
import { ASK, askOurs, type Found, isForeign, RESULT_ROWS, type Variant } from './variants.ts'

const VARIANTS = ['ours', 'a', 'b'] as const
const WARM_UP = 4
const GUIDE_ROWS = 5

/** How many queries of a class each variant is asked: all it can be without the run taking hours. */
export type QueryCounts = Record<Variant, PerClass<number>>

export function queryCounts(rows: number): QueryCounts {
  const all = { L: 100, M: 100, S: 100 }
  if (rows <= 20_000) return { ours: all, a: { L: 30, M: 100, S: 100 }, b: all }
  if (rows <= 200_000) return { ours: all, a: { L: 8, M: 30, S: 100 }, b: { L: 60, M: 100, S: 100 } }
  // (a) takes 20 s a call of L, (b) 2 s.
  return { ours: all, a: { L: 3, M: 8, S: 30 }, b: { L: 30, M: 60, S: 100 } }
}

type Asked = Found & { query: Query }

/** Asks all variants the same queries, in a random order at each query, and times them. */
export async function measureLatency(
  session: CallerSession,
  corpus: Corpus,
  queries: PerClass<Query[]>,
): Promise<Pick<SizeResult, 'latency' | 'knownItem'>> {
  const random = stream(corpus.seed, 'order of variants')
  const counts = queryCounts(corpus.rows)
  const asked: Record<Variant, PerClass<Asked[]>> = {
    ours: perClass(() => []),
    a: perClass(() => []),
    b: perClass(() => []),
  }
  for (const name of CLASSES) {
    for (const query of queries[name].slice(0, WARM_UP)) {
      for (const variant of ['ours', 'b'] as const) await ASK[variant](session, corpus, query)
    }
    await ASK.a(session, corpus, at(queries[name], 0))
  }
  const rounds = CLASSES.flatMap((name) => queries[name].map((query, round) => ({ name, query, round })))
  for (const { name, query, round } of shuffle(random, rounds)) {
    const takesPart = VARIANTS.filter((variant) => round < counts[variant][name])
    for (const variant of shuffle(random, takesPart)) {
      asked[variant][name].push({ ...(await ASK[variant](session, corpus, query)), query })
    }
  }
  return {
    latency: perClass((name) => ({
      ours: latencyOf(corpus, asked.ours[name], RESULT_ROWS),
      a: latencyOf(corpus, asked.a[name], GUIDE_ROWS),
      b: latencyOf(corpus, asked.b[name], 0),
    })),
    knownItem: {
      ours: perClass((name) => hitRate(asked.ours[name].filter(aboutItsTarget))),
      b: perClass((name) => hitRate(asked.b[name].filter(aboutItsTarget))),
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
