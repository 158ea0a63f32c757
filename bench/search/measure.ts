import type pg from 'pg'
import { timed } from '../support/stats.ts'
import type { BenchDatabase } from './database.ts'
import { makeCorpus, tenantsOfClass } from './corpus.ts'
import { at, CLASSES } from './layout.ts'
import { loadBaselines } from './load-baselines.ts'
import { buildGraphs, loadChunks, loadTenants } from './load-product.ts'
import { measureFirstCall } from './measure-first-call.ts'
import { measureFloor } from './measure-floor.ts'
import { arrivingRows, measureIngest } from './measure-ingest.ts'
import { measureCommonWords, measureLatency, perClass } from './measure-latency.ts'
import { measurePromoted } from './measure-promoted.ts'
import { measureIdentifiers, measureRecall, measureShare } from './measure-recall.ts'
import { measureRls } from './measure-rls.ts'
import { measureSizes } from './measure-sizes.ts'
import { measureThroughput } from './measure-throughput.ts'
import { makeQueries, type Query } from './queries.ts'
import type { PerClass, SizeResult } from './results.ts'
import { CallerSession } from './sessions.ts'

/** Says what is being done now; nobody waits minutes in silence. */
export type Progress = (what: string) => void

/** Loads a corpus of so many rows into the database and measures everything on it. */
export async function measureSize(
  database: BenchDatabase,
  rows: number,
  options: { seed: number; promoted: number },
  progress: Progress,
): Promise<SizeResult> {
  progress('making the corpus')
  const corpus = makeCorpus(rows, options.seed)
  const queries: PerClass<Query[]> = perClass((name) => makeQueries(corpus, name))
  const shareOfGlobalTop = measureShare(corpus, queries)
  const arrivals = corpus.arrivals(arrivingRows(rows))

  const client = await database.connect()
  const session = await CallerSession.open(database.connect)
  const seconds = async (what: string, work: () => Promise<unknown>): Promise<number> => {
    progress(what)
    return (await timed(work)).ms / 1000
  }
  const counted = (what: string) => {
    let done = 0
    return (added: number) => {
      if (Math.floor((done + added) / 20_000) > Math.floor(done / 20_000)) progress(`${what}: ${done + added} rows`)
      done += added
    }
  }
  try {
    const baselines = await seconds('filling the tables of (a) and (b)', () =>
      loadBaselines(client, corpus, counted('(a) and (b)')),
    )
    const ours = await seconds('filling the tables of ours', async () => {
      await loadTenants(client, corpus, [...corpus.sources, ...arrivals])
      await loadChunks(client, corpus, counted('ours'))
    })
    let graphs = 0
    const graphSeconds = await seconds('building graphs', async () => (graphs = await buildGraphs(client)))
    await settle(client)

    progress('latency')
    const { latency, knownItem } = await measureLatency(session, corpus, queries)
    const commonWordsWorstMs = await measureCommonWords(session, corpus, queries.L)
    progress('recall')
    const recall = await measureRecall(session, corpus, queries)
    progress('identifiers')
    const { identifier, mistyped } = await measureIdentifiers(session, corpus)
    progress('row-level security on and off')
    const rls = await measureRls(database, corpus, queries)
    progress('rights and rows alone')
    const floor = await measureFloor(database, corpus, queries)
    progress('first calls')
    const firstCall = {} as SizeResult['firstCall']
    for (const name of CLASSES) firstCall[name] = await measureFirstCall(database, corpus, queries[name])
    progress('throughput')
    const throughput = await measureThroughput(database, corpus, queries)
    const sizes = await measureSizes(client)
    progress('ingest')
    const ingest = await measureIngest(client, corpus, arrivals)
    if (options.promoted > 0) progress(`${options.promoted} further tenants with graphs`)
    const promoted =
      options.promoted > 0 ? await measurePromoted(database, client, corpus, queries.L, options.promoted) : null

    return {
      rows,
      shareOfGlobalTop,
      tenantRows: perClass((name) => {
        const counts = tenantsOfClass(corpus, name).map((tenant) => at(corpus.tenants, tenant).size)
        return { least: Math.min(...counts), most: Math.max(...counts) }
      }),
      graphs,
      latency,
      commonWordsWorstMs,
      recall,
      knownItem,
      identifier,
      mistyped,
      throughput,
      ingest,
      rls,
      floor,
      firstCall,
      sizes,
      promoted,
      loadSeconds: { baselines, ours, graphs: graphSeconds },
    }
  } finally {
    await session.close()
    await client.end()
  }
}

/** What autovacuum would have done by the time anybody searches, and the pages of the load on disk. */
async function settle(client: pg.Client): Promise<void> {
  await client.query('vacuum analyze')
  await client.query('checkpoint')
}
