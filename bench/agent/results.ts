import { percentile } from '../support/stats.ts'

/** Milliseconds of one kind of call. */
export type Spread = { count: number; p50: number; p99: number }

/** Two ways to the same thing, asked in turns. */
export type Pair = {
  ours: Spread
  bare: Spread
  /** Median of ours minus the bare one beside it. */
  added: number
}

/** The loop beside the model stream it reads, in one process. */
export type LoopResult = {
  deltas: number
  /** Milliseconds to the first token. */
  first: Pair
  /** Milliseconds between a piece of text coming from the provider and going out as an event. */
  event: Spread
  /** Share of the pieces of which something goes out only with the next one. */
  heldShare: number
  /** Milliseconds from the first to the last token. */
  rest: Pair
}

/** The same over HTTP. */
export type HttpResult = {
  /** Milliseconds from the request to the first token. */
  first: Pair
  /** Milliseconds to the event `start`: who asks is known, the agent is read and the run is open. */
  started: Spread
}

export type TokenResult = {
  /** Signing alone. */
  mint: Spread
  /** Asking the database whether the person may still be acted for, and signing. */
  delegated: Spread
  /** Another call of the database by the same way, which does next to nothing there. */
  call: Spread
}

export type QueryResult = {
  name: string
  rows: number
  /** Reading the SQL and writing the request. */
  translate: Spread
  /** All of it: `ours` the tool, `bare` the statement on a connection with the same rights. */
  whole: Pair
}

/** What a process has used; null where there is no /proc. */
export type ProcessUse = { cpuMs: number; rssMegabytes: number }

export type StreamsResult = {
  streams: number
  deltas: number
  /** Streams that brought all of their text and ended as completed. */
  finished: number
  /** Streams that the model was answering at once. */
  atOnce: number
  wallMs: number
  first: Spread
  /** Before, at its most, and after; of the process of the function. */
  memory: { before: number; peak: number; after: number } | null
  cpuMs: number | null
}

/** Everything that was measured. */
export type AgentResult = {
  loop: LoopResult
  http: HttpResult
  token: TokenResult
  queries: QueryResult[]
  streams: StreamsResult
}

/** @throws when there are no values. */
export const spreadOf = (values: readonly number[]): Spread => ({
  count: values.length,
  p50: percentile([...values], 0.5),
  p99: percentile([...values], 0.99),
})

/** @throws when there are none, or not as many of the one as of the other. */
export function pairOf(ours: readonly number[], bare: readonly number[]): Pair {
  if (ours.length !== bare.length) throw new Error('One of ours stands beside one of the others.')
  const added = ours.map((value, index) => value - (bare[index] ?? 0))
  return { ours: spreadOf(ours), bare: spreadOf(bare), added: percentile(added, 0.5) }
}

/** How many times as long as the bare one ours takes. */
export const ratioOf = ({ ours, bare }: Pair): number => ours.p50 / bare.p50
