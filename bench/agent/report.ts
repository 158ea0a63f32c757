import { figure } from '../search/bars.ts'
import { duration } from '../support/stats.ts'
import {
  type HttpResult,
  type LoopResult,
  type Pair,
  type QueryResult,
  ratioOf,
  type Spread,
  type StreamsResult,
  type TokenResult,
} from './results.ts'

/** One figure: what it is, and its value. */
export type Line = [label: string, value: string]

const LABEL_WIDTH = 44

export const formatLine = ([label, value]: Line): string => `${label.padEnd(LABEL_WIDTH)} ${value}`

/** "12.3 ms", and below a millisecond "7.5 µs". */
export const time = (ms: number): string => (Math.abs(ms) < 0.9995 ? `${figure(ms * 1000)} µs` : duration(ms))

const spread = ({ p50, p99, count }: Spread): string => `p50 ${time(p50)}  p99 ${time(p99)}  (${count})`

const pair = (of: Pair, ours: string, bare: string): string =>
  `added ${time(of.added)}  ${ours} ${time(of.ours.p50)} (p99 ${time(of.ours.p99)}), ${bare} ${time(of.bare.p50)}, ` +
  `${figure(ratioOf(of))}x  (${of.ours.count} pairs)`

export const loopLines = ({ deltas, first, event, heldShare, rest }: LoopResult): Line[] => [
  ['loop, first token', pair(first, 'loop', 'bare stream')],
  ['loop, each event', `added ${spread(event)}`],
  ['loop, pieces held for the next one', `${figure(heldShare * 100)}%`],
  [
    `loop, the other ${deltas - 1} pieces`,
    `${pair(rest, 'loop', 'bare stream')}, ${time(rest.added / (deltas - 1))} a piece`,
  ],
]

export const httpLines = ({ first, started }: HttpResult): Line[] => [
  ['api over HTTP, first token', pair(first, 'api', "model's server")],
  ['api over HTTP, event start (run is open)', spread(started)],
]

export const tokenLines = ({ mint, delegated, call }: TokenResult): Line[] => [
  ['delegated token, signing alone', spread(mint)],
  [
    'delegated token, delegate_run and signing',
    `${spread(delegated)}, ${figure(delegated.p50 / call.p50)}x another call of the database, ${time(call.p50)}`,
  ],
]

export const queryLines = (queries: QueryResult[]): Line[] =>
  queries.flatMap(({ name, rows, translate, whole }): Line[] => [
    [`query, ${name}: parsing and translating`, spread(translate)],
    [`query, ${name}: whole, ${rows} rows`, pair(whole, 'tool', 'plain SQL')],
  ])

export function streamsLines(result: StreamsResult): Line[] {
  const { streams, deltas, finished, atOnce, wallMs, first, memory, cpuMs } = result
  const pieces = finished * deltas
  const name = `${streams} streams`
  return [
    [`${name} of ${deltas} pieces`, `${finished} finished, ${atOnce} at once, in ${duration(wallMs)}`],
    [`${name}, first token, all wait for all`, spread(first)],
    [
      `${name}, processor time of the function`,
      cpuMs === null
        ? 'only known on Linux'
        : `${duration(cpuMs)}, ${time(cpuMs / streams)} a stream, ${time(cpuMs / pieces)} a piece, ${figure((cpuMs / wallMs) * 100)}% of a core`,
    ],
    [
      `${name}, memory of the function`,
      memory === null
        ? 'only known on Linux'
        : `${memory.before.toFixed(0)} MB before, ${memory.peak.toFixed(0)} MB at most, ${memory.after.toFixed(0)} MB after, ` +
          `${figure((memory.peak - memory.before) / streams)} MB a stream`,
    ],
  ]
}
