import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { originsOfProject } from '../web/build/content-security-policy.ts'
import { createApiKeyResolver } from './auth/api-keys.ts'
import { createAuth, type AuthService } from './auth/auth.ts'
import { loadSigningKey } from './auth/signing-key.ts'
import { createTokenAuthority, generateSigningKey, type SigningKey, type TokenAuthority } from './auth/tokens.ts'
import { readProjectConfig, type ProjectConfig } from './config.ts'
import { startConsole, type ConsoleServer } from './console/console.ts'
import type { Snapshot } from './database/snapshot-file.ts'
import type { SessionDatabase } from './database/database.ts'
import { openDatabase, PgliteDatabase } from './database/open.ts'
import { prepareDatabase } from './database/prepare.ts'
import { startWireServer } from './database/wire/server.ts'
import { startFunctions, type FunctionsRunner } from './functions/runner.ts'
import { createGateway, serveGateway } from './gateway.ts'
import { LOCAL_KEYS, type StackKeys } from './keys.ts'
import { createLifetime } from './lifetime.ts'
import { startGuard, type ProcessGuard } from './process/guard.ts'
import { createRealtime, type RealtimeLimits } from './realtime/realtime.ts'
import { createRest } from './rest/rest.ts'
import { installQuietConsole } from './rest/quiet-console.ts'
import { createS3 } from './s3/s3.ts'
import { openFileStore } from './storage/files.ts'
import { createStorage } from './storage/storage.ts'
import { startWorkerProcess, type WorkerProcess } from './worker-process.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))

export type StackOptions = {
  /** The folder with config.toml, migrations and functions. Default: supabase/ of this repository. */
  projectDir?: string
  /**
   * Folder for database, objects and signing key. Undefined: the database is in memory, the objects in a temporary
   * folder that `stop` removes, the key is made anew. The caller holds the lock on the folder.
   */
  dataDir?: string | undefined
  /** A native PostgreSQL 17 to use instead of PGlite. */
  databaseUrl?: string | undefined
  /** A PGlite database that is prepared already: neither migrations nor seeds are looked at. */
  snapshot?: Snapshot | undefined
  /** Default: the ports of config.toml. 0 takes any free one. */
  apiPort?: number
  /** The Postgres wire port, PGlite only. */
  dbPort?: number
  /** Default: signing-key.json in `dataDir`. */
  signingKeyFile?: string
  /** Run the seed files once. Default: true. */
  seed?: boolean
  /** Run the functions of the project: all at once, or each from its first request on. Default: false. */
  functions?: boolean | 'on-demand'
  /** Run the worker in a process of its own. Default: false. */
  worker?: boolean
  /** Build the console, or take the build that is kept, and serve it at `/`. Default: false. */
  console?: boolean
  /** Where builds of the console are kept. Default: node_modules/.cache/bulkhead-console. */
  consoleCacheDir?: string | undefined
  /** Reload functions, and build the console again, when their files change. */
  watch?: boolean
  /** Another Deno for the functions. */
  denoBin?: string | undefined
  /** What the user sets for functions and worker; goes before what the stack sets. */
  userEnv?: Record<string, string>
  realtimeLimits?: Partial<RealtimeLimits>
  /** Milliseconds a wire connection may hold an open transaction without doing anything. Default: 30000. */
  idleInTransactionMs?: number
  guard?: ProcessGuard
  /** A line of output of a function or the worker. */
  log?: (source: string, line: string) => void
  /** Ends a start at its next step, or between two migrations; `startStack` throws an AbortError then. */
  signal?: AbortSignal
  /** Milestones of the start, for `npm start` to print. */
  onProgress?: (message: string) => void
}

export type Stack = {
  /** Base URL of all services, e.g. http://127.0.0.1:54321. */
  url: string
  dbUrl: string
  keys: StackKeys
  signingKey: SigningKey
  project: ProjectConfig
  db: SessionDatabase
  tokens: TokenAuthority
  auth: AuthService
  /** Environment for functions; the worker has DATABASE_URL besides. */
  env: Record<string, string>
  workerEnv: Record<string, string>
  /** Files applied at this start. */
  applied: { migrations: string[]; seeds: string[] }
  functions: FunctionsRunner | undefined
  worker: WorkerProcess | undefined
  console: ConsoleServer | undefined
  stop(): Promise<void>
}

/**
 * Starts the whole local stack and returns when it serves.
 * @throws an Error with a message fit for the user; what had been started by then is stopped again.
 */
export const startStack = async (options: StackOptions = {}): Promise<Stack> => {
  const lifetime = createLifetime((error) => console.error('While stopping:', error))
  try {
    return await compose(options, lifetime)
  } catch (error) {
    await lifetime.end()
    throw error
  }
}

const compose = async (options: StackOptions, lifetime: ReturnType<typeof createLifetime>): Promise<Stack> => {
  const { projectDir = path.join(ROOT, 'supabase'), dataDir, log = () => {}, onProgress = () => {} } = options
  const project = readProjectConfig(projectDir)
  const keys = LOCAL_KEYS
  const logEvent = (event: string, fields: Record<string, unknown>) =>
    log('stack', `${event} ${JSON.stringify(fields)}`)

  let guard = options.guard
  if (!guard && (options.functions || options.worker || options.console)) {
    const own = (guard = startGuard())
    await lifetime.onEnd(() => own.stop())
  }
  let url = ''
  let env: Record<string, string> = {}
  let consoleServer: ConsoleServer | undefined
  // First of all: its build runs beside the rest of the start.
  if (options.console && guard) {
    const started = startConsole({
      rootDir: ROOT,
      cacheDir: options.consoleCacheDir,
      publishableKey: keys.publishable,
      origins: () => consoleOrigins(url, env),
      guard,
      ...(options.watch === undefined ? {} : { watch: options.watch }),
      log: (line) => log('console', line),
    })
    consoleServer = started
    await lifetime.onEnd(() => started.stop())
  }

  const db = await openDatabase({
    databaseUrl: options.databaseUrl,
    dataDir: dataDir && path.join(dataDir, 'database'),
    snapshot: options.snapshot,
  })
  await lifetime.onEnd(() => db.close())
  onProgress('database open')
  options.signal?.throwIfAborted()
  let applied: Stack['applied'] = { migrations: [], seeds: [] }
  if (options.snapshot) await db.refreshTypes()
  else applied = await prepareDatabase(db, projectDir, project, options.seed ?? true, options.signal)
  onProgress('schema ready')

  const signingKey = await readSigningKey(options)
  const tokens = await createTokenAuthority(signingKey, keys.jwtSecret)
  const resolveApiKey = createApiKeyResolver(keys, tokens)
  const shared = { db, tokens, resolveApiKey, log: logEvent }

  const uninstall = installQuietConsole()
  await lifetime.onEnd(uninstall)
  const { introspections } = options.snapshot ?? {}
  const rest = await createRest({ ...shared, introspections, schemas: project.schemas, maxRows: project.maxRows })
  await lifetime.onEnd(() => rest.close())
  options.signal?.throwIfAborted()
  const auth = await createAuth({ ...shared, config: project.auth, externalUrl: () => url })

  const files = await openFileStore(storageFolder(dataDir, lifetime))
  const fileSizeLimit = project.fileSizeLimitBytes
  const storage = createStorage({ db, tokens, resolveApiKey, files, fileSizeLimit, urlSigningSecret: keys.jwtSecret })
  const s3 = createS3({ db, files, credentials: keys.s3, region: keys.s3.region, fileSizeLimit })
  await Promise.all([storage.recover(), s3.recover()])
  const limits = options.realtimeLimits
  const realtime = createRealtime({ db, tokens, resolveApiKey, ...(limits && { limits }) })
  await lifetime.onEnd(() => realtime.close())
  await realtime.ready
  options.signal?.throwIfAborted()

  let functions: FunctionsRunner | undefined
  const gateway = createGateway({
    rest: rest.fetch,
    auth: auth.fetch,
    storage: storage.fetch,
    s3: s3.fetch,
    realtime: realtime.fetch,
    functions: () => functions?.fetch,
    console: consoleServer?.fetch,
  })
  const served = await serveGateway((request) => gateway.fetch(request), options.apiPort ?? project.apiPort)
  await lifetime.onEnd(() => served.close())
  realtime.attach(served.server)
  // Before the gateway, which waits for its connections to end, and a socket ends when its client likes.
  await lifetime.onEnd(() => realtime.close())
  url = served.url
  const dbUrl = options.databaseUrl ?? (await openWirePort(db, options, project, lifetime))
  onProgress('gateway ready')

  env = functionsEnvironment(url, keys, tokens, signingKey, options.userEnv ?? {})
  const workerEnv = {
    // The embedded database has one session for everybody.
    ...(options.databaseUrl ? {} : { WORKER_DB_POOL: '1' }),
    ...env,
    SUPABASE_DB_URL: dbUrl,
    DATABASE_URL: dbUrl,
  }
  let worker: WorkerProcess | undefined
  if (guard) {
    if (options.functions) {
      functions = startFunctions({
        root: path.join(projectDir, 'functions'),
        env,
        denoBin: options.denoBin,
        onDemand: options.functions === 'on-demand',
        ...(options.watch === undefined ? {} : { watch: options.watch }),
        settings: project.functions,
        verifyToken: (token) => tokens.verify(token),
        guard,
        log: (line) => log('functions', line),
      })
      const runner = functions
      await lifetime.onEnd(() => runner.stop())
    }
    if (options.worker) {
      const started = startWorkerProcess({ env: workerEnv, guard, log: (line) => log('worker', line) })
      worker = started
      await lifetime.onEnd(() => started.stop())
    }
  }

  return {
    url, dbUrl, keys, signingKey, project, db, tokens, auth, env, workerEnv, applied, functions, worker, console: consoleServer,
    stop: () => lifetime.end(),
  } // prettier-ignore
}

const readSigningKey = async ({ signingKeyFile, dataDir }: StackOptions): Promise<SigningKey> => {
  const file = signingKeyFile ?? (dataDir && path.join(dataDir, 'signing-key.json'))
  return file ? loadSigningKey(file) : generateSigningKey()
}

const storageFolder = (dataDir: string | undefined, lifetime: ReturnType<typeof createLifetime>): string => {
  if (dataDir) return path.join(dataDir, 'storage')
  const folder = mkdtempSync(path.join(os.tmpdir(), 'bulkhead-storage-'))
  void lifetime.onEnd(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

const openWirePort = async (
  db: SessionDatabase,
  options: StackOptions,
  project: ProjectConfig,
  lifetime: ReturnType<typeof createLifetime>,
): Promise<string> => {
  if (!(db instanceof PgliteDatabase)) throw new Error('Only PGlite needs a wire port.')
  const { idleInTransactionMs = 30_000 } = options
  const wire = await startWireServer({ database: db, port: options.dbPort ?? project.dbPort, idleInTransactionMs })
  await lifetime.onEnd(() => wire.close())
  return `postgresql://postgres:postgres@127.0.0.1:${wire.port}/postgres`
}

const functionsEnvironment = (
  url: string,
  keys: StackKeys,
  tokens: TokenAuthority,
  signingKey: SigningKey,
  userEnv: Record<string, string>,
): Record<string, string> => ({
  SUPABASE_URL: url,
  SUPABASE_ANON_KEY: keys.anon,
  SUPABASE_SERVICE_ROLE_KEY: keys.serviceRole,
  SUPABASE_PUBLISHABLE_KEYS: JSON.stringify({ default: keys.publishable }),
  SUPABASE_SECRET_KEYS: JSON.stringify({ default: keys.secret }),
  SUPABASE_JWKS: JSON.stringify(tokens.jwks),
  BULKHEAD_SIGNING_JWK: JSON.stringify(signingKey),
  S3_ENDPOINT: `${url}/storage/v1/s3`,
  S3_REGION: keys.s3.region,
  S3_BUCKET: 'sources',
  S3_ACCESS_KEY_ID: keys.s3.accessKeyId,
  S3_SECRET_ACCESS_KEY: keys.s3.secretAccessKey,
  ...userEnv,
})

/** The stack itself, which may have been opened as `localhost`, and the store that files are uploaded to. */
const consoleOrigins = (url: string, env: Record<string, string>): string[] => {
  const store = env['S3_PUBLIC_ENDPOINT'] ?? env['S3_ENDPOINT'] ?? ''
  return [...(url ? originsOfProject(url) : []), ...(URL.canParse(store) ? [new URL(store).origin] : [])]
}

/** Whether a data folder holds a database already, i.e. whether this would be a first start. */
export const hasDatabase = (dataDir: string): boolean => existsSync(path.join(dataDir, 'database', 'PG_VERSION'))
