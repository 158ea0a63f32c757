import { attainableHits } from './attainable.ts'
import type { Corpus } from './corpus.ts'
import { at, CLASSES } from './layout.ts'
import { hitRate, perClass } from './measure-latency.ts'
import { makeCodeQueries, makeQuestions, type Query } from './queries.ts'
import type { IdentifierHitRate, PerClass, Recall, SizeResult } from './results.ts'
import type { CallerSession } from './sessions.ts'
import { exactRows, recallAt, shareOfGlobalTop } from './truth.ts'
import { percentile } from '../support/stats.ts'
import { askDocs, askOurs, askVectors, type Found, isForeign, RESULT_ROWS, VECTOR_ROWS } from './variants.ts'

const DECILES = 10
const QUESTIONS_PER_DECILE = 30
const CODES_PER_CLASS = 100
/** Each costs a scan of all vectors. */
const SHARE_QUERIES = { upTo200k: 60, above: 20 }

/** What the vector part finds against what there is, by tenant size and by class. */
export async function measureRecall(
  session: CallerSession,
  corpus: Corpus,
  queries: PerClass<Query[]>,
): Promise<SizeResult['recall']> {
  const bySize = [...corpus.tenants].sort((a, b) => a.size - b.size || a.index - b.index).map(({ index }) => index)
  const deciles: Recall[] = []
  for (let n = 0; n < DECILES; n++) {
    const from = Math.round((n * bySize.length) / DECILES)
    const to = Math.round(((n + 1) * bySize.length) / DECILES)
    const questions = makeQuestions(corpus, bySize.slice(from, to), QUESTIONS_PER_DECILE, `decile ${n}`)
    deciles.push(await recallOf(session, corpus, questions))
  }
  const classes = {} as PerClass<Recall>
  for (const name of CLASSES) classes[name] = await recallOf(session, corpus, queries[name])
  return { deciles, classes }
}

async function recallOf(session: CallerSession, corpus: Corpus, queries: Query[]): Promise<Recall> {
  const recall: Recall = { queries: queries.length, at10: 0, at60: 0, worstAt10: 1, shortAnswers: 0, foreignRows: 0 }
  for (const query of queries) {
    const { found } = await askVectors(session, corpus, query)
    const exact = exactRows(corpus, query)
    const at10 = recallAt(10, exact, found)
    recall.at10 += at10 / queries.length
    recall.at60 += recallAt(VECTOR_ROWS, exact, found) / queries.length
    recall.worstAt10 = Math.min(recall.worstAt10, at10)
    recall.shortAnswers += Number(found.length < Math.min(VECTOR_ROWS, at(corpus.tenants, query.tenant).size))
    recall.foreignRows += found.filter((row) => isForeign(corpus, query, row)).length
  }
  return recall
}

/** How often an identifier in the query brings the chunk it was taken from into the first ten, right and mistyped, and how often it could. */
export async function measureIdentifiers(
  session: CallerSession,
  corpus: Corpus,
): Promise<Pick<SizeResult, 'identifier' | 'mistyped'>> {
  return { identifier: await hitsOf(session, corpus, 'code'), mistyped: await hitsOf(session, corpus, 'typo') }
}

/** (b) is asked a part of them only where each costs seconds. */
const DOCS_QUERIES = { upTo200k: 20, above: 5 }

async function hitsOf(session: CallerSession, corpus: Corpus, kind: 'code' | 'typo'): Promise<IdentifierHitRate> {
  const ours = {} as PerClass<number>
  const b = {} as PerClass<number>
  const attainable = {} as PerClass<number>
  for (const name of CLASSES) {
    const queries = makeCodeQueries(corpus, name, kind, CODES_PER_CLASS)
    const ask = async (queries: Query[], of: (query: Query) => Promise<Found>) => {
      const asked: { query: Query; found: number[] }[] = []
      for (const query of queries) asked.push({ query, found: (await of(query)).found })
      return hitRate(asked)
    }
    ours[name] = await ask(queries, (query) => askOurs(session, corpus, query))
    const some = queries.slice(0, corpus.rows <= 200_000 ? DOCS_QUERIES.upTo200k : DOCS_QUERIES.above)
    b[name] = await ask(some, (query) => askDocs(session, corpus, query))
    attainable[name] = attainableHits(corpus, queries, RESULT_ROWS)
  }
  return { ours, b, attainable }
}

/** The number to look at after a change of the generator; see truth.ts. Needs no database. */
export function measureShare(corpus: Corpus, queries: PerClass<Query[]>): PerClass<number> {
  const count = corpus.rows <= 200_000 ? SHARE_QUERIES.upTo200k : SHARE_QUERIES.above
  return perClass((name) =>
    percentile(
      queries[name].slice(0, count).map((query) => shareOfGlobalTop(corpus, query)),
      0.5,
    ),
  )
}
