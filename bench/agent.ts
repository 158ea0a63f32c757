import { cpus, loadavg, totalmem } from 'node:os'
import process from 'node:process'
import { createLifetime } from '../local/lifetime.ts'
import { watchForShutdown } from '../local/shutdown.ts'
import { barsOf } from './agent/bars.ts'
import { measureHttp } from './agent/measure-http.ts'
import { measureLoop } from './agent/measure-loop.ts'
import { measureQueries } from './agent/measure-query.ts'
import { measureStreams } from './agent/measure-streams.ts'
import { measureToken } from './agent/measure-token.ts'
import { formatLine, httpLines, type Line, loopLines, queryLines, streamsLines, tokenLines } from './agent/report.ts'
import type { AgentResult } from './agent/results.ts'
import { startModel, startWorld } from './agent/world.ts'
import { verdict } from './search/bars.ts'

// `npm run bench:agent`: what agents cost over the bare model stream, on a stack of its own with a scripted model. One line
// per figure; the last line and the exit code say which bars fall short. Nothing of it leaves this machine.

/** The end of a run that hangs. Stopping comes after it, and five minutes are the most all of it may take. */
const LIMIT_MS = 270_000
const STOP_LIMIT_MS = 20_000

const lifetime = createLifetime((error) => console.error('While stopping:', error))

async function end(exitCode: number): Promise<never> {
  setTimeout(() => process.exit(exitCode || 1), STOP_LIMIT_MS).unref()
  await lifetime.end()
  process.exit(exitCode)
}

function print(lines: Line[]): void {
  for (const line of lines) console.log(formatLine(line))
}

function printMachine(serverUrl: string | undefined): void {
  const gigabytes = (totalmem() / 2 ** 30).toFixed(0)
  print([
    ['date', new Date().toISOString().slice(0, 10)],
    [
      'machine',
      `${cpus().length} cores, ${gigabytes} GB, ${process.platform} ${process.arch}, Node ${process.versions.node}`,
    ],
    // A machine that does other things as well gives longer times.
    ['load of the last minute', loadavg()[0]?.toFixed(1) ?? 'unknown'],
    ['database', serverUrl ? 'native PostgreSQL' : 'PGlite'],
  ])
}

async function measureAll(serverUrl: string | undefined): Promise<AgentResult> {
  const model = await startModel(lifetime)
  const loop = await measureLoop(model)
  print(loopLines(loop))
  const world = await startWorld(model, serverUrl, lifetime)
  const http = await measureHttp(world, model)
  print(httpLines(http))
  const token = await measureToken(world)
  print(tokenLines(token))
  const queries = await measureQueries(world)
  print(queryLines(queries))
  const streams = await measureStreams(world, model)
  print(streamsLines(streams))
  return { loop, http, token, queries, streams }
}

watchForShutdown({ stop: () => void end(130), force: () => process.exit(130) })
const limit = setTimeout(() => {
  console.error(`It was not done after ${LIMIT_MS / 1000} s.`)
  void end(1)
}, LIMIT_MS)

const serverUrl = process.env.BENCH_DATABASE_URL ?? process.env.TEST_DATABASE_URL
printMachine(serverUrl)
try {
  const bars = barsOf(await measureAll(serverUrl))
  clearTimeout(limit)
  console.log(`\n${verdict(bars)}`)
  await end(bars.every(({ holds }) => holds) ? 0 : 1)
} catch (error) {
  // What was stopped under it fails in its own way; whoever stopped it ends the process.
  if (!lifetime.ending) {
    console.error(error)
    await end(1)
  }
}
