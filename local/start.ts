import { join } from 'node:path'
import process from 'node:process'
import { providersFromEnv } from '../supabase/functions/_shared/providers/index.ts'
import { banner, seededUsers } from './banner.ts'
import type { StackConfig } from './config.ts'
import { acquireDataLock } from './data-lock.ts'
import { foreignMigrations } from './database/migrations.ts'
import type { Lifetime } from './lifetime.ts'
import { requireFreePorts } from './ports.ts'
import { startGuard } from './process/guard.ts'
import { watchFolder } from './process/watch-folder.ts'
import { hasDatabase, startStack, type Stack } from './stack.ts'
import { userEnvironment } from './user-env.ts'

export type StartOptions = {
  config: StackConfig
  /** Folder of the repository. */
  rootDir: string
  /** Reload functions and worker, and build the console again, when their files change. */
  watch: boolean
  /** Is given the undoing of every step taken. */
  lifetime: Lifetime
}

/**
 * Starts what `npm start` runs and prints how to use it.
 * @throws StartProblem, DataLockedError, or an Error with a message for the user
 */
export async function startEverything(options: StartOptions): Promise<void> {
  const { config, rootDir, watch, lifetime } = options
  const lock = acquireDataLock(config.dataDir)
  await lifetime.onEnd(() => lock.release())
  await requireFreePorts([
    { port: config.apiPort, purpose: 'API', variable: 'BULKHEAD_API_PORT' },
    ...(config.databaseUrl ? [] : [{ port: config.dbPort, purpose: 'database', variable: 'BULKHEAD_DB_PORT' }]),
  ])
  const guard = startGuard()
  await lifetime.onEnd(() => guard.stop())

  const isFirst = !config.databaseUrl && !hasDatabase(config.dataDir)
  console.log(isFirst ? 'Starting for the first time: the database is set up, which takes a moment.' : 'Starting.')
  const userEnv = userEnvironment(process.env, join(config.projectDir, 'functions/.env'))
  const starting = startStack({
    projectDir: config.projectDir,
    dataDir: config.dataDir,
    databaseUrl: config.databaseUrl,
    apiPort: config.apiPort,
    dbPort: config.dbPort,
    functions: true,
    worker: true,
    console: true,
    watch,
    denoBin: process.env.DENO_BIN,
    userEnv,
    guard,
    signal: lifetime.signal,
    log: (source, line) => {
      // A build of the console that is cut off has not failed.
      if (source === 'console' && lifetime.ending) return
      console.log(source === 'functions' ? line : `[${source}] ${line}`)
    },
  })
  // Before it is there: until it has stopped, guard and lock are kept.
  await lifetime.onEnd(async () => (await starting.catch(() => null))?.stop())
  const stack = await starting
  if (lifetime.ending) return
  lock.announce(stack.url)
  if (watch) await lifetime.onEnd(reloadWorker(stack, rootDir))

  const failed = (await stack.functions?.ready()) ?? []
  if (lifetime.ending) return
  console.log(await describe(stack, config, failed))
  console.log(`Ready in ${process.uptime().toFixed(1)} s. Ctrl-C stops it.`)
}

/** Restarts the worker when its files or those it shares with the functions change. Returns what ends that. */
function reloadWorker(stack: Stack, rootDir: string): () => void {
  const reload = () => {
    console.log('[worker] reloading')
    void stack.worker?.restart()
  }
  const stops = ['worker', 'supabase/functions/_shared'].map((folder) => watchFolder(join(rootDir, folder), reload))
  return () => stops.forEach((stop) => stop())
}

async function describe(stack: Stack, config: StackConfig, failedFunctions: string[]): Promise<string> {
  const { keys, applied } = stack
  const notes = []
  const foreign = await foreignMigrations(stack.db, config.projectDir)
  if (foreign.length > 0)
    notes.push(
      `The database has ${foreign.length} migrations that are not in supabase/migrations, the last of them ${foreign.at(-1)}:`,
      'a newer version or another branch was here. What is here may not fit it; BULKHEAD_DATA_DIR chooses another folder.',
    )
  if (applied.migrations.length > 0) notes.push(`Applied ${applied.migrations.length} migrations.`)
  if (applied.seeds.length > 0) notes.push(`Ran ${applied.seeds.join(', ')}.`)
  if (failedFunctions.length > 0) notes.push(`Did not start: ${failedFunctions.join(', ')}. The reason is above.`)
  if (stack.console && !stack.console.settled)
    notes.push('The console is still being built; its page shows it when it is there.')
  return banner({
    consoleUrl: stack.url,
    apiUrl: stack.url,
    dbUrl: stack.dbUrl,
    publishableKey: keys.publishable,
    secretKey: keys.secret,
    anonKey: keys.anon,
    serviceRoleKey: keys.serviceRole,
    jwtSecret: keys.jwtSecret,
    s3AccessKey: keys.s3.accessKeyId,
    s3SecretKey: keys.s3.secretAccessKey,
    s3Region: keys.s3.region,
    database: config.databaseUrl ? 'native PostgreSQL' : `PGlite in ${join(config.dataDir, 'database')}`,
    functions: stack.functions?.functions.map(({ name }) => name) ?? [],
    providers: providersFromEnv(stack.env).describe(),
    users: await seededUsers(stack.db),
    notes,
  })
}
