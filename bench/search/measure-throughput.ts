import type { BenchDatabase } from './database.ts'
import type { Corpus } from './corpus.ts'
import { at, CLASSES } from './layout.ts'
import { summary } from './measure-latency.ts'
import type { Query } from './queries.ts'
import type { PerClass, Throughput } from './results.ts'
import { CallerSession } from './sessions.ts'
import { askDocs, askOurs, type Found } from './variants.ts'

const CLIENTS = 8
const WARM_UP_MS = 1_500
const MEASURED_MS = 8_000

/** Searches per second of eight clients at once, a third of the queries of each class; this process takes its share of the cores. */
export async function measureThroughput(
  database: BenchDatabase,
  corpus: Corpus,
  queries: PerClass<Query[]>,
): Promise<Throughput> {
  const mix = queries.L.flatMap((_, i) => CLASSES.map((name) => at(queries[name], i)))
  const ours = await run(database, corpus, mix, askOurs)
  const b = await run(database, corpus, mix, askDocs)
  return {
    clients: CLIENTS,
    oursPerSecond: ours.perSecond,
    bPerSecond: b.perSecond,
    ours: summary(ours.times),
    b: summary(b.times),
  }
}

type Ask = (session: CallerSession, corpus: Corpus, query: Query) => Promise<Found>

async function run(database: BenchDatabase, corpus: Corpus, mix: Query[], ask: Ask) {
  const sessions = await Promise.all(Array.from({ length: CLIENTS }, () => CallerSession.open(database.connect)))
  try {
    let times: number[] = []
    let asked = 0
    let isOver = false
    const clients = sessions.map(async (session) => {
      while (!isOver) {
        const { wall } = await ask(session, corpus, at(mix, asked++ % mix.length))
        times.push(wall)
      }
    })
    await pause(WARM_UP_MS)
    times = []
    const startedAt = performance.now()
    await pause(MEASURED_MS)
    const perSecond = times.length / ((performance.now() - startedAt) / 1000)
    const measured = times
    isOver = true
    await Promise.all(clients)
    if (measured.length === 0) throw new Error('No search ended in time.')
    return { perSecond, times: measured.slice() }
  } finally {
    await Promise.all(sessions.map((session) => session.close()))
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
