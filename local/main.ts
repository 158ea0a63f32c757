import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { inspect } from 'node:util'
import { parseStartArguments, USAGE } from './arguments.ts'
import { readStackConfig } from './config.ts'
import { DataLockedError } from './data-lock.ts'
import { createLifetime } from './lifetime.ts'
import { confirmReset, removeLocalData } from './reset.ts'
import { watchForShutdown } from './shutdown.ts'
import { startEverything } from './start.ts'

// `npm start`: the whole local stack in the foreground, until Ctrl-C.

/** What stops within this time stops cleanly; the rest is left to the process guard and to the next start. */
const END_LIMIT_MS = 10_000
const ROOT = fileURLToPath(new URL('..', import.meta.url))

const lifetime = createLifetime((error) => console.error('While stopping:', error))
let starting: Promise<void> = Promise.resolve()
let dataDir = ''

// npm, killed, takes the other end of our output with it; that is no reason to die before everything is stopped.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})

async function end(exitCode: number): Promise<never> {
  const limit = setTimeout(() => {
    console.error(`Not everything stopped within ${END_LIMIT_MS / 1000} s.`)
    process.exit(1)
  }, END_LIMIT_MS)
  limit.unref()
  const ended = lifetime.end()
  await starting.catch(() => {}) // what a start under way still brings up is undone as it comes
  await ended
  process.exit(exitCode)
}

function explain(error: unknown): string {
  if (error instanceof DataLockedError) {
    const where = error.holder.note ? ` It answers at ${error.holder.note}.` : ''
    return `${error.message}${where}\nStop it first, or start this one with another folder: BULKHEAD_DATA_DIR=.local-2 npm start`
  }
  if (!(error instanceof Error)) {
    // PGlite's file system, which is no Node: 51 is its ENOSPC.
    const { errno } = (error ?? {}) as { errno?: unknown }
    return errno === 51 ? `No space is left where the data is kept: ${dataDir}` : inspect(error)
  }
  // What the stack throws on purpose has a message for its user; a slip of the code is told by its stack trace.
  const isSlip = ['TypeError', 'ReferenceError', 'RangeError', 'SyntaxError', 'AssertionError'].includes(error.name)
  return isSlip || process.env.BULKHEAD_DEBUG ? (error.stack ?? error.message) : error.message
}

async function fail(error: unknown): Promise<never> {
  console.error(`\n${explain(error)}`)
  return end(1)
}

async function run(): Promise<void> {
  const options = parseStartArguments(process.argv.slice(2))
  if (options.help) {
    console.log(USAGE)
    process.exit(0)
  }
  const config = readStackConfig(process.env, ROOT)
  dataDir = config.dataDir
  if (options.reset || options.resetOnly) {
    if (!options.yes && !(await confirmReset(config.dataDir))) {
      console.log('Nothing was removed.')
      process.exit(0)
    }
    removeLocalData(config.dataDir)
    console.log(`Removed the local data in ${config.dataDir}.`)
    if (config.databaseUrl) console.log('The database that DATABASE_URL names was left as it is.')
    if (options.resetOnly) process.exit(0)
  }

  watchForShutdown({
    stop(reason) {
      console.log(`\nStopping (${reason}). Ctrl-C again ends everything at once.`)
      void end(0)
    },
    force: () => process.exit(130),
  })
  process.on('uncaughtException', (error) => void fail(error))
  starting = startEverything({ config, rootDir: ROOT, watch: options.watch, lifetime })
  await starting
}

run().catch((error: unknown) => {
  if (!lifetime.ending) return fail(error)
})
