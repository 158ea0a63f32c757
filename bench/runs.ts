import { cpus, loadavg, totalmem } from 'node:os'
import process from 'node:process'
import pg from 'pg'
import { createLifetime } from '../local/lifetime.ts'
import { watchForShutdown } from '../local/shutdown.ts'
import { formatLine, time, type Line } from './agent/report.ts'
import { startModel, startWorld } from './agent/world.ts'
import { measureDecisions } from './runs/decisions.ts'
import { measureDevices } from './runs/devices.ts'
import { measureDispatch } from './runs/dispatch.ts'
import { measureFairness } from './runs/fairness.ts'
import { measureFlood } from './runs/flood.ts'
import { measureJoins } from './runs/joins.ts'
import { measureSteps } from './runs/steps.ts'
import { measureStops } from './runs/stops.ts'
import { measureTakeover } from './runs/takeover.ts'
import { beside, shown } from './runs/tools.ts'
import { figure, verdict, type Bar } from './search/bars.ts'

// `npm run bench:runs`: what runs cost and how soon they begin, go on and are seen, on a stack of its own with a scripted model;
// beside each figure another of the same run. The last line and the exit code say which bars fall short.

/** The end of a run that hangs. */
const LIMIT_MS = 600_000
const STOP_LIMIT_MS = 20_000
const WAIT_RATIO = 2
const TAKEOVER_MS = 10_000
const STOP_MS = 1_000
const FLOOD_PER_SECOND = 200
const JOURNAL_ROWS = 2
const WRITES = 2
const LEASES_PER_SECOND = 1

const lifetime = createLifetime((error) => console.error('While stopping:', error))

async function end(exitCode: number): Promise<never> {
  setTimeout(() => process.exit(exitCode || 1), STOP_LIMIT_MS).unref()
  await lifetime.end()
  process.exit(exitCode)
}

function print(lines: Line[]): void {
  for (const line of lines) console.log(formatLine(line))
}

type Context = {
  world: Awaited<ReturnType<typeof startWorld>>
  model: Awaited<ReturnType<typeof startModel>>
  db: pg.Pool
  isNative: boolean
}

const atMost = (name: string, value: number, limit: number): Bar => ({
  name,
  value,
  limit,
  atLeast: false,
  holds: value <= limit,
})

const atLeast = (name: string, value: number, limit: number): Bar => ({
  name,
  value,
  limit,
  atLeast: true,
  holds: value >= limit,
})

/** The parts, in order; each prints its figures and says which bars it has. */
const PARTS: Record<string, (context: Context) => Promise<Bar[]>> = {
  async dispatch({ world, model, db }) {
    const { run, job } = await measureDispatch(world, model, db)
    print(beside('dispatch: enqueued to begun', run, 'plain pg-boss job', job))
    return []
  },
  async steps({ world, model, db, isNative }) {
    const steps = await measureSteps(world, model, db, isNative)
    const { withTool, without, request } = steps.turns
    print([
      ['steps a second, one run, a tool call each', figure(steps.stepsPerSecond)],
      ...beside('a turn with a tool call', withTool, 'plain request to the function', request),
      ['  ratio of medians', `${figure(withTool.p50 / request.p50)}x`],
      ...beside('a turn without', without, 'plain request to the function', request),
      ['  ratio of medians', `${figure(without.p50 / request.p50)}x`],
      ['rows a step writes, by table', steps.rows === null ? 'only known on a native server' : ''],
      ...[...(steps.rows?.byTable ?? [])].map(([table, rows]): Line => [`  ${table}`, figure(rows)]),
      ['  all of them besides events and deliveries', steps.rows === null ? '' : figure(steps.rows.besidesEvents)],
      ['transactions of a step that write', steps.rows === null ? '' : figure(steps.rows.transactions.all)],
      ...[...(steps.rows?.transactions.byTables ?? [])].map(([tables, many]): Line => [`  ${tables}`, figure(many)]),
      ['  besides, with pieces of text only', steps.rows === null ? '' : figure(steps.rows.transactions.text)],
      [
        '  numbers given to transactions, without deliveries',
        steps.rows === null ? '' : figure(steps.rows.transactions.numbers),
      ],
      [
        'bytes of a turn, answer of 100 words',
        `${steps.turnBytes} in ${steps.events} events, ${steps.foldedBytes} folded; the text alone ${steps.textBytes}, ` +
          `${figure(steps.foldedBytes / steps.textBytes)}x`,
      ],
    ])
    if (steps.rows === null) return []
    return [
      atMost('transactions that write per step, besides text', steps.rows.transactions.all, WRITES),
      atMost('rows of the journal per step', steps.rows.journal, JOURNAL_ROWS),
      atMost('leases renewed in a second', steps.rows.leasesPerSecond, LEASES_PER_SECOND),
    ]
  },
  async devices({ world, model, db }) {
    const devices = await measureDevices(world, model, db)
    print([
      ...beside('insert to device, by the gateway', devices.device, 'plain WebSocket', devices.socket),
      ['  plain insert', shown(devices.insert)],
      ['  events that did not come', String(devices.missed)],
    ])
    return [atMost('events that did not come', devices.missed, 0)]
  },
  async flood({ world, model, db }) {
    const flood = await measureFlood(world, model, db)
    print([
      ['a minute of two people with two devices', `${flood.events} events, ${figure(flood.perSecond)}/s`],
      ['  arrivals by Realtime and by streams', `${flood.expected} expected`],
      [
        '  lost, twice, out of order, of others',
        `${flood.lost}, ${flood.twice}, ${flood.outOfOrder}, ${flood.foreign}`,
      ],
    ])
    return [
      atLeast('events a second of the flood', flood.perSecond, FLOOD_PER_SECOND),
      atMost(
        'events lost, twice, out of order or of others',
        flood.lost + flood.twice + flood.outOfOrder + flood.foreign,
        0,
      ),
    ]
  },
  async joins({ world, model, db }) {
    const joins = await measureJoins(world, model, db)
    print(beside('joining a run in progress, first event', joins.join, 'plain request to the function', joins.request))
    return []
  },
  async decisions({ world, model, db }) {
    const { decision, request } = await measureDecisions(world, model, db)
    print(beside('decision to going on', decision, 'plain request to the function', request))
    return []
  },
  async stops({ world, model, db }) {
    const { cancelled, removed } = await measureStops(world, model, db)
    const withMax = (times: typeof cancelled.inline) => `${shown(times)}  max ${time(times.max)}`
    print([
      ['cancelled to the model hung up on, by a function', withMax(cancelled.inline)],
      ['  by a worker', withMax(cancelled.worker)],
      ['removed from the tenant to the end of a stream', withMax(removed.begun)],
      ['  of one that follows', withMax(removed.followed)],
    ])
    return [
      atMost(
        'cancelled to the model hung up on, p95 in ms',
        Math.max(cancelled.inline.p95, cancelled.worker.p95),
        STOP_MS,
      ),
      atMost('removed to the end of a stream, p95 in ms', Math.max(removed.begun.p95, removed.followed.p95), STOP_MS),
    ]
  },
  async takeover({ world, model, db }) {
    const { times, byFunction, lost } = await measureTakeover(world, model, db)
    print([
      ['worker killed to the next event of the run', `${shown(times)}  max ${time(times.max)}`],
      ['  function killed as soon as it has begun', `${shown(byFunction)}  max ${time(byFunction.max)}`],
      ['  runs lost', String(lost)],
    ])
    return [
      atMost('executor killed to the next event, max ms', Math.max(times.max, byFunction.max), TAKEOVER_MS),
      atMost('runs lost with their executor', lost, 0),
    ]
  },
  async fairness({ world, model, db }) {
    const fairness = await measureFairness(world, model, db)
    const { idle } = fairness
    const situations = [
      ['wait beside 10,000 runs of another tenant, answered in 0.3 s', fairness.quick],
      ['wait beside 10,000 runs of another tenant, answered in 2 s', fairness.longer],
    ] as const
    for (const [name, { waits, requests, perSecond, atOnce }] of situations) {
      print([
        ...beside(name, waits, 'with nobody else there', idle.waits),
        ...beside('plain request meanwhile', requests, 'with nobody else there', idle.requests),
        ['  runs of that tenant', `${figure(perSecond)}/s, ${figure(atOnce)} at once`],
      ])
    }
    print([
      [
        '  runs of that tenant at once, at most',
        `${fairness.most} of ${fairness.limit}; ${fairness.left} still waited`,
      ],
    ])
    return [
      ...situations.map(([name, { waits }]) => atMost(`${name}, ratio of p95`, waits.p95 / idle.waits.p95, WAIT_RATIO)),
      atMost('runs of a tenant beyond its places', Math.max(fairness.most - fairness.limit, 0), 0),
    ]
  },
}

async function measureAll(parts: readonly string[], serverUrl: string | undefined): Promise<Bar[]> {
  const model = await startModel(lifetime)
  const world = await startWorld(model, serverUrl, lifetime)
  const isNative = serverUrl !== undefined
  // The embedded database has one session for everybody.
  const db = new pg.Pool({ connectionString: world.dbUrl, max: isNative ? 4 : 1 })
  db.on('error', () => undefined)
  await lifetime.onEnd(() => db.end())
  const bars: Bar[] = []
  for (const part of parts) bars.push(...((await PARTS[part]?.({ world, model, db, isNative })) ?? []))
  return bars
}

const only = process.argv.slice(2)
const unknown = only.filter((part) => !(part in PARTS))
if (unknown.length > 0) {
  console.error(`Usage: npm run bench:runs [-- part...], of ${Object.keys(PARTS).join(', ')}.`)
  process.exit(2)
}

watchForShutdown({ stop: () => void end(130), force: () => process.exit(130) })
const limit = setTimeout(() => {
  console.error(`It was not done after ${LIMIT_MS / 1000} s.`)
  void end(1)
}, LIMIT_MS)

const serverUrl = process.env.BENCH_DATABASE_URL ?? process.env.TEST_DATABASE_URL
print([
  ['date', new Date().toISOString().slice(0, 10)],
  [
    'machine',
    `${cpus().length} cores, ${(totalmem() / 2 ** 30).toFixed(0)} GB, ${process.platform} ${process.arch}, Node ${process.versions.node}`,
  ],
  ['load of the last minute', loadavg()[0]?.toFixed(1) ?? 'unknown'],
  ['database', serverUrl ? 'native PostgreSQL' : 'PGlite'],
])
try {
  const bars = await measureAll(only.length > 0 ? only : Object.keys(PARTS), serverUrl)
  clearTimeout(limit)
  console.log(`\n${verdict(bars)}`)
  await end(bars.every(({ holds }) => holds) ? 0 : 1)
} catch (error) {
  if (!lifetime.ending) {
    console.error(error)
    await end(1)
  }
}
