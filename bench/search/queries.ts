import { type Corpus, tenantsOfClass } from './corpus.ts'
import type { QueryClass } from './layout.ts'
import { pickFrom, type Random, shuffle, stream } from './random.ts'
import { mistype } from './texts.ts'

/** nl: a question; kw: three keywords; code: an identifier; typo: an identifier with one wrong character; common: common words only. */
export type QueryKind = 'nl' | 'kw' | 'code' | 'typo' | 'common'

export type Query = {
  class: QueryClass
  kind: QueryKind
  tenant: number
  /** Row of the chunk it was made from: the known item. */
  target: number
  text: string
  vector: Float32Array
}

/** The mix of a hundred queries of a class. */
const MIX: [QueryKind, number][] = [
  ['nl', 40],
  ['kw', 30],
  ['code', 20],
  ['common', 10],
]
const TARGETS_PER_CLASS = 400
const STOP_WORDS = ['the', 'of', 'in', 'and', 'with', 'for', 'on', 'from', 'by', 'to']
const CODE_LEADS = ['status of ', 'details for ', 'find ', '']

/** The queries of a class, 100 or a multiple in the mix above, shuffled; fewer codes where too few targets have one. */
export function makeQueries(corpus: Corpus, wanted: QueryClass): Query[] {
  const random = stream(corpus.seed, `queries ${wanted}`)
  const targets = targetsOf(corpus, wanted, random)
  const withCode = targets.filter((row) => corpus.chunkOf(row).codes.length > 0)
  const queries = MIX.flatMap(([kind, count]) =>
    Array.from({ length: count }, () =>
      makeQuery(corpus, wanted, kind, pickFrom(random, kind === 'code' ? withCode : targets), random),
    ),
  )
  return shuffle(random, queries)
}

/** Queries with the code of their target, right or mistyped: more than the mix has, for a steady hit rate. */
export function makeCodeQueries(corpus: Corpus, wanted: QueryClass, kind: 'code' | 'typo', count: number): Query[] {
  const random = stream(corpus.seed, `${kind} ${wanted}`)
  const targets = targetsOf(corpus, wanted, random).filter((row) => corpus.chunkOf(row).codes.length > 0)
  return shuffle(random, targets)
    .slice(0, count)
    .map((row) => makeQuery(corpus, wanted, kind, row, random))
}

/** Questions to `count` tenants drawn from the given ones, for recall: each about a chunk of the tenant. */
export function makeQuestions(corpus: Corpus, tenants: number[], count: number, purpose: string): Query[] {
  const random = stream(corpus.seed, `questions ${purpose}`)
  return Array.from({ length: count }, () => {
    const rows = corpus.rowsOfTenant[pickFrom(random, tenants)] as Int32Array
    return makeQuery(corpus, 'S', 'nl', rows[Math.floor(random() * rows.length)] as number, random)
  })
}

/** Rows of the class, each as likely as another. */
function targetsOf(corpus: Corpus, wanted: QueryClass, random: Random): number[] {
  const rows = tenantsOfClass(corpus, wanted).flatMap((tenant) => [...(corpus.rowsOfTenant[tenant] as Int32Array)])
  return shuffle(random, rows).slice(0, TARGETS_PER_CLASS)
}

function makeQuery(corpus: Corpus, queryClass: QueryClass, kind: QueryKind, target: number, random: Random): Query {
  const source = corpus.sourceOf(target)
  // A code says little of a topic, and common words say nothing; the vector of such a query is about its subject only.
  const [towards, noise] = kind === 'nl' || kind === 'kw' ? [0.55, 0.5] : [0, kind === 'common' ? 0.5 : 0.6]
  return {
    class: queryClass,
    kind,
    tenant: source.tenant,
    target,
    text: textOf(corpus, kind, target, random),
    vector: corpus.vectors.ofQuery(source, target, towards as number, noise as number, random),
  }
}

function textOf(corpus: Corpus, kind: QueryKind, target: number, random: Random): string {
  const chunk = corpus.chunkOf(target)
  const spell = (rank: number) => corpus.vocabulary.words[rank] as string
  const between = (from: number, to: number) => chunk.words.filter((rank) => rank >= from && rank < to)
  const pickRank = (ranks: number[]) => spell(pickFrom(random, ranks.length > 0 ? ranks : chunk.words))
  const topical = chunk.words.filter((_, i) => chunk.ofTopic[i])
  const leading = (corpus.texts.topicWords[corpus.sourceOf(target).topic] as number[]).slice(0, 30)
  const stop = () => pickFrom(random, STOP_WORDS)
  if (kind === 'nl') {
    const middle = between(60, 2_000)
    const words = [
      pickRank(middle),
      pickRank(middle),
      stop(),
      pickRank(topical),
      pickRank(topical),
      stop(),
      pickRank(leading),
    ]
    return `how do we ${words.join(' ')}`
  }
  if (kind === 'kw') return [pickRank(topical), pickRank(topical), pickRank(between(200, 5_000))].join(' ')
  if (kind === 'common') {
    const words = Array.from({ length: 4 }, () => spell(20 + Math.floor(random() * 180)))
    return `what is the ${words.join(' ')}`
  }
  const code = chunk.codes[0] as string
  return pickFrom(random, CODE_LEADS) + (kind === 'typo' ? mistype(code, random) : code)
}
