import type { QueryClass } from './layout.ts'

/** Milliseconds of the calls of one variant; by the server's processor time or, where that is not known, by the wall. */
export type Latency = {
  count: number
  cpu: Percentiles | null
  wall: Percentiles
  foreignRows: number
  shortAnswers: number
}
/** Two variants that were asked the same queries in one pass. */
export type Pair = { ours: Latency; other: Latency }
export type Percentiles = { p50: number; p95: number; max: number }
export type PerClass<T> = Record<QueryClass, T>

export type Recall = {
  queries: number
  at10: number
  at60: number
  worstAt10: number
  shortAnswers: number
  foreignRows: number
}
export type HitRate = { ours: PerClass<number>; b: PerClass<number> | null }
/** With what the best search could reach that knows the identifier and nothing else. */
export type IdentifierHitRate = HitRate & { attainable: PerClass<number> }
export type Throughput = {
  clients: number
  oursPerSecond: number
  bPerSecond: number
  ours: Percentiles
  b: Percentiles
}
/** Rows per second of the server's processor time (of the wall where that is not known), 200 rows per transaction. */
export type Ingest = { rows: number; oursPerSecond: number; bPerSecond: number }
export type RlsRatio = { onMs: number; offMs: number; ratio: number; differentAnswers: number }
/** A search, and what is left of it when it is told what to find: rights and rows. */
export type Floor = { searchMs: number; floorMs: number; share: number }
/** The first call of a new connection, which plans everything, and its second: medians. */
export type FirstCall = { first: Times; second: Times }
type Times = { cpu: number | null; wall: number }
export type Promoted = {
  tenants: number
  before: { search: Percentiles; firstCall: FirstCall }
  after: { search: Percentiles; firstCall: FirstCall }
}

/** What was measured on one number of rows. */
export type SizeResult = {
  rows: number
  /** Median share of the query's tenant in the hundred nearest rows of all tenants: what makes filtered search hard. */
  shareOfGlobalTop: PerClass<number>
  tenantRows: PerClass<{ least: number; most: number }>
  graphs: number
  /** Ours beside (a) and beside (b), asked in turns; and ours alone, the classes mixed. */
  latency: PerClass<{ a: Pair; b: Pair; mixed: Latency }>
  /** Questions of common words only, of the large tenant: the slowest, each the median of three calls. */
  commonWordsWorstMs: number
  recall: { deciles: Recall[]; classes: PerClass<Recall> }
  knownItem: HitRate
  identifier: IdentifierHitRate
  mistyped: IdentifierHitRate
  throughput: Throughput
  ingest: Ingest
  rls: PerClass<RlsRatio>
  floor: PerClass<Floor>
  firstCall: PerClass<FirstCall>
  sizes: { name: string; bytes: number }[]
  promoted: Promoted | null
  loadSeconds: { baselines: number; ours: number; graphs: number }
}
