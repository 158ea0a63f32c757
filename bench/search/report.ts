import { barsOf, figure, ratioOf, sizeName } from './bars.ts'
import { CLASSES } from './layout.ts'
import type { FirstCall, Latency, PerClass, Percentiles, Recall, SizeResult } from './results.ts'

const LABEL = 44
const COLUMN = 26

/** What was measured on one size, as lines of text. */
export function tableOf(result: SizeResult): string[] {
  const { latency, recall, throughput, ingest } = result
  const line = (label: string, ...columns: string[]) =>
    `${label.padEnd(LABEL)}${columns.map((column) => column.padEnd(COLUMN)).join('')}`.trimEnd()
  const classes = (label: string, show: (name: (typeof CLASSES)[number]) => string) => line(label, ...CLASSES.map(show))
  const times = (label: string, clock: 'cpu' | 'wall', pick: (of: SizeResult['latency']['L']) => Latency) =>
    classes(`${label}, ${clock} ms p50 / p95 (calls)`, (name) => latencyText(pick(latency[name]), clock))
  const total = (name: string) =>
    result.sizes
      .filter((size) => size.name.startsWith(name) && !size.name.includes(', '))
      .reduce((sum, { bytes }) => sum + bytes, 0)

  return [
    `${sizeName(result.rows)} rows, ${result.graphs} graphs`,
    classes('', (name) => name),
    classes('rows per tenant', (name) => rangeText(result.tenantRows[name])),
    classes('share of the global top 100', (name) => figure(result.shareOfGlobalTop[name])),
    ...(['cpu', 'wall'] as const).flatMap((clock) => [
      times('ours beside (a)', clock, ({ a }) => a.ours),
      times('(a)', clock, ({ a }) => a.other),
      times('ours beside (b)', clock, ({ b }) => b.ours),
      times('(b)', clock, ({ b }) => b.other),
      times('ours, classes mixed', clock, ({ mixed }) => mixed),
    ]),
    classes('(a)/ours', (name) => `${figure(ratioOf(latency[name].a))}x`),
    classes('(b)/ours', (name) => `${figure(ratioOf(latency[name].b))}x`),
    classes('ours, p95/p50', (name) => {
      const { p95, p50 } = latency[name].b.ours.cpu ?? latency[name].b.ours.wall
      return figure(p95 / p50)
    }),
    line('common words only, slowest of L', `${figure(result.commonWordsWorstMs)} ms`),
    classes('vectors: recall@10 / @60 / worst @10', (name) => recallText(recall.classes[name])),
    ...recall.deciles.map((decile, i) =>
      line(`  decile ${i + 1} of tenants by size`, `${recallText(decile)}  (${decile.queries} queries)`),
    ),
    classes('target in the first 10, ours', (name) => figure(result.knownItem.ours[name])),
    hits('target in the first 10, (b)', result.knownItem.b),
    classes('identifier hit@10, ours', (name) => figure(result.identifier.ours[name])),
    hits('identifier hit@10, (b)', result.identifier.b),
    classes('identifier hit@10, attainable', (name) => figure(result.identifier.attainable[name])),
    classes('mistyped identifier hit@10, ours', (name) => figure(result.mistyped.ours[name])),
    hits('mistyped identifier hit@10, (b)', result.mistyped.b),
    classes('mistyped identifier hit@10, attainable', (name) => figure(result.mistyped.attainable[name])),
    classes('row-level security on / off, ms', (name) => rlsText(result.rls[name])),
    classes('rights and rows alone / search, ms', (name) => floorText(result.floor[name])),
    classes('first / second call of a connection, ms', (name) => firstCallText(result.firstCall[name])),
    line(
      `searches per second, ${throughput.clients} clients`,
      `ours ${figure(throughput.oursPerSecond)}`,
      `(b) ${figure(throughput.bPerSecond)}`,
      `${figure(throughput.oursPerSecond / throughput.bPerSecond)}x`,
    ),
    line('  wall ms p50 / p95', `ours ${rangeOf(throughput.ours)}`, `(b) ${rangeOf(throughput.b)}`),
    line(
      `ingest, rows per CPU-second (${ingest.rows} rows)`,
      `ours ${figure(ingest.oursPerSecond)}`,
      `(b) ${figure(ingest.bPerSecond)}`,
      `${figure(ingest.oursPerSecond / ingest.bPerSecond)}x`,
    ),
    line(
      'load, seconds',
      `(a) and (b) ${figure(result.loadSeconds.baselines)}`,
      `ours ${figure(result.loadSeconds.ours)}`,
      `graphs ${figure(result.loadSeconds.graphs)}`,
    ),
    line(
      'size',
      `ours ${megabytes(total('ours'))}`,
      `(b) ${megabytes(total('(b)'))}`,
      `${figure(total('ours') / total('(b)'))}x`,
    ),
    ...result.sizes.map(({ name, bytes }) => line(`  ${name}`, megabytes(bytes))),
    ...(result.promoted ? promotedLines(result.promoted, line) : []),
    line(
      'bars',
      ...(barsOf(result).every(({ holds }) => holds)
        ? ['all hold']
        : [`${barsOf(result).filter(({ holds }) => !holds).length} fall short`]),
    ),
  ]

  function hits(label: string, rates: PerClass<number> | null): string {
    return rates ? classes(label, (name) => figure(rates[name])) : line(label, 'not measured')
  }
}

function promotedLines(
  promoted: NonNullable<SizeResult['promoted']>,
  line: (label: string, ...columns: string[]) => string,
): string[] {
  const { before, after, tenants } = promoted
  return [
    line(
      `L before / after ${tenants} further graphs, ms p50`,
      `${figure(before.search.p50)} / ${figure(after.search.p50)}`,
    ),
    line('  first and second call before', firstCallText(before.firstCall)),
    line('  first and second call after', firstCallText(after.firstCall)),
  ]
}

const rangeText = ({ least, most }: { least: number; most: number }): string =>
  least === most ? String(least) : `${least}-${most}`
const rangeOf = ({ p50, p95 }: Percentiles): string => `${figure(p50)} / ${figure(p95)}`
const latencyText = (latency: Latency, clock: 'cpu' | 'wall'): string =>
  latency[clock] ? `${rangeOf(latency[clock])} (${latency.count})` : 'not known'
const recallText = ({ at10, at60, worstAt10 }: Recall): string =>
  [at10, at60, worstAt10].map((share) => share.toFixed(3)).join(' / ')
const rlsText = ({ onMs, offMs, ratio, differentAnswers }: SizeResult['rls']['L']): string =>
  `${figure(onMs)} / ${figure(offMs)} = ${ratio.toFixed(2)}` + (differentAnswers ? `, ${differentAnswers} differ` : '')
const floorText = ({ floorMs, searchMs, share }: SizeResult['floor']['L']): string =>
  `${figure(floorMs)} / ${figure(searchMs)} = ${share.toFixed(2)}`
const firstCallText = ({ first, second }: FirstCall): string =>
  `${figure(first.cpu ?? first.wall)} / ${figure(second.cpu ?? second.wall)}`
const megabytes = (bytes: number): string => `${figure(bytes / 2 ** 20)} MB`
