import { writeFileSync } from 'node:fs'
import { cpus, totalmem } from 'node:os'
import process from 'node:process'
import { redactUrl } from '../local/database/native.ts'
import { type Bar, barsOf, sizeName, verdict } from './search/bars.ts'
import { type BenchDatabase, benchDatabase } from './search/database.ts'
import { measureSize } from './search/measure.ts'
import { type Options, readOptions, USAGE } from './search/options.ts'
import { tableOf } from './search/report.ts'
import type { SizeResult } from './search/results.ts'
import { watchedPid } from './search/sessions.ts'

// `npm run bench:search`: the search of the product against the guide's query (a) and the documented hybrid_search (b) on
// generated data, on a database of its own of a native server. The last line and the exit code say which bars fall short.

const NO_SERVER = `bench:search measures on a native PostgreSQL 17 with pgvector, as a superuser. Set BENCH_DATABASE_URL (or TEST_DATABASE_URL), e.g.

  docker run --rm -p 127.0.0.1:54329:5432 -e POSTGRES_PASSWORD=postgres --shm-size 2g pgvector/pgvector:pg17 \\
    -c shared_buffers=3GB -c maintenance_work_mem=512MB -c max_wal_size=8GB
  BENCH_DATABASE_URL=postgresql://postgres:postgres@127.0.0.1:54329/postgres npm run bench:search

It creates a database of its own there and drops it. Processor time is read from /proc, so run it on the server's own host
(not across a container's border: the processes of a container have other numbers there); elsewhere wall times count.`

let current: BenchDatabase | null = null
let isInterrupted = false

async function measureAll(serverUrl: string, options: Options): Promise<boolean> {
  const bars: Bar[] = []
  const results: SizeResult[] = []
  let settings: Record<string, string> = {}
  for (const rows of options.rows) {
    const startedAt = performance.now()
    const database = benchDatabase(serverUrl)
    current = database
    try {
      const effective = await database.create()
      if (results.length === 0) {
        settings = effective
        await printSettings(serverUrl, database, settings)
      }
      const progress = (what: string) =>
        console.error(`${sizeName(rows)} ${((performance.now() - startedAt) / 1000).toFixed(0).padStart(4)} s  ${what}`)
      const result = await measureSize(database, rows, options, progress)
      results.push(result)
      bars.push(...barsOf(result))
      console.log(`\n${tableOf(result).join('\n')}`)
      console.log(`took ${((performance.now() - startedAt) / 1000).toFixed(0)} s`)
    } finally {
      await database.drop()
      current = null
    }
  }
  if (options.json)
    writeFileSync(options.json, `${JSON.stringify({ date: new Date(), settings, results, bars }, null, 2)}\n`)
  console.log(`\n${verdict(bars)}`)
  return bars.every(({ holds }) => holds)
}

async function printSettings(
  serverUrl: string,
  database: BenchDatabase,
  settings: Record<string, string>,
): Promise<void> {
  const client = await database.connect()
  const isCpuKnown = (await watchedPid(client)) !== null
  await client.end()
  const gigabytes = (totalmem() / 2 ** 30).toFixed(0)
  console.log(`date      ${new Date().toISOString().slice(0, 10)}`)
  console.log(
    `machine   ${cpus().length} cores, ${gigabytes} GB, ${process.platform} ${process.arch}, Node ${process.versions.node}`,
  )
  console.log(`server    ${redactUrl(serverUrl)}`)
  console.log(
    `settings  ${Object.entries(settings)
      .map((pair) => pair.join('='))
      .join(' ')}`,
  )
  console.log(
    `clock     ${isCpuKnown ? "processor time of the server's process" : 'wall: the server is not on this host'}`,
  )
}

for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  process.once(signal, async () => {
    isInterrupted = true
    await current?.drop().catch((error) => console.error(`The database was not dropped: ${(error as Error).message}`))
    process.exit(code)
  })
}

const serverUrl = process.env.BENCH_DATABASE_URL ?? process.env.TEST_DATABASE_URL
let options: Options
try {
  options = readOptions(process.argv.slice(2))
} catch (error) {
  console.error(`${(error as Error).message}\n\n${USAGE}`)
  process.exit(2)
}
if (!serverUrl) {
  console.error(NO_SERVER)
  process.exit(2)
}
try {
  process.exitCode = (await measureAll(serverUrl, options)) ? 0 : 1
} catch (error) {
  // The database went away under it because the signal's handler dropped it; that one ends the process.
  if (!isInterrupted) throw error
}
