import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { createClient, type SupabaseClient } from '@supabase/supabase-js'
import { afterAll, beforeAll } from 'vitest'
import { copyFromTemplate, createSnapshot } from '../../local/database/snapshot.ts'
import { startStack, type Stack, type StackOptions } from '../../local/stack.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
/** The project of the repository, and where copies of its prepared database are kept. */
export const PROJECT = path.join(ROOT, 'supabase')
export const SNAPSHOTS = path.join(ROOT, '.local/test-snapshots')

/** Password of every user in supabase/seed.sql. */
export const SEED_PASSWORD = 'bulkhead-demo'

/** For `expect.poll`, whose own second is too short on a busy machine. */
export const WAIT = { timeout: 15_000 }

/** For workers: see vitest.config.ts. */
const COMPILED = { NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'] ?? '' }

export type TestStackOptions = Omit<StackOptions, 'databaseUrl' | 'dataDir' | 'snapshot'>

export type TestStack = {
  readonly stack: Stack
  readonly url: string
  readonly dbUrl: string
  readonly keys: Stack['keys']
  readonly db: Stack['db']
  /** A client with the publishable key and nobody signed in. */
  readonly anon: SupabaseClient
  /** A client with the secret key. */
  readonly service: SupabaseClient
  /** A new client on which the user is signed in. Seeded users need no password. */
  signIn(email: string, password?: string): Promise<SupabaseClient>
  /** A new client with this key and nobody signed in. */
  client(key?: string): SupabaseClient
}

/** Whether the suite runs on a native server: TEST_DATABASE_URL names a superuser on a PostgreSQL 17 cluster. */
export const onNative = Boolean(process.env['TEST_DATABASE_URL'])

/**
 * Starts a stack of its own on free ports, on a copy of the migrated and seeded database: in memory on PGlite, or a
 * database of its own on the server that TEST_DATABASE_URL names. `stop` removes everything.
 */
export const startTestStack = async (
  options: TestStackOptions = {},
): Promise<TestStack & { stop(): Promise<void> }> => {
  const { projectDir = PROJECT } = options
  const serverUrl = process.env['TEST_DATABASE_URL']
  const copy = serverUrl ? await copyFromTemplate(projectDir, serverUrl) : undefined
  const snapshot = copy ? undefined : await createSnapshot(projectDir, SNAPSHOTS)
  let stack: Stack
  try {
    stack = await startStack({
      apiPort: 0,
      dbPort: 0,
      ...options,
      // Tests ask as fast as they can; those of the limit itself set one.
      userEnv: { RATE_LIMIT_PER_MINUTE: '0', ...COMPILED, ...options.userEnv },
      projectDir,
      databaseUrl: copy?.url,
      snapshot,
    })
  } catch (error) {
    await copy?.drop()
    throw error
  }
  const client = (key = stack.keys.publishable) =>
    createClient(stack.url, key, {
      auth: { persistSession: false, autoRefreshToken: false, detectSessionInUrl: false },
    })
  return {
    stack,
    url: stack.url,
    dbUrl: stack.dbUrl,
    keys: stack.keys,
    db: stack.db,
    anon: client(),
    service: client(stack.keys.secret),
    client,
    async signIn(email, password = SEED_PASSWORD) {
      const signedIn = client()
      const { error } = await signedIn.auth.signInWithPassword({ email, password })
      if (error) throw new Error(`${email} could not sign in: ${error.message}`)
      return signedIn
    },
    async stop() {
      await stack.stop()
      await copy?.drop()
    },
  }
}

/** `startTestStack` for a whole test file: started before its tests, stopped after them. */
export const useStack = (options: TestStackOptions = {}): TestStack => {
  let running: Awaited<ReturnType<typeof startTestStack>> | undefined
  beforeAll(async () => {
    running = await startTestStack(options)
  })
  afterAll(async () => {
    await running?.stop()
  })
  const started = () => {
    if (!running) throw new Error('The stack runs inside of tests and hooks only.')
    return running
  }
  return {
    get stack() {
      return started().stack
    },
    get url() {
      return started().url
    },
    get dbUrl() {
      return started().dbUrl
    },
    get keys() {
      return started().keys
    },
    get db() {
      return started().db
    },
    get anon() {
      return started().anon
    },
    get service() {
      return started().service
    },
    signIn: (email, password) => started().signIn(email, password),
    client: (key) => started().client(key),
  }
}
