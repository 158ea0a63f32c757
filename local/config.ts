import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { parseToml, type TomlTable, type TomlValue } from './toml.ts'

/** What the local stack reads from supabase/config.toml; the rest of the file is the CLI's business. */
export type ProjectConfig = {
  projectId: string
  apiPort: number
  dbPort: number
  /** Schemas exposed through PostgREST. */
  schemas: string[]
  maxRows: number
  /** Paths relative to the project folder; empty when seeding is off. */
  seedFiles: string[]
  /** Largest object Storage accepts, in bytes. */
  fileSizeLimitBytes: number
  auth: {
    siteUrl: string
    /** Lifetime of an access token, in seconds. */
    jwtExpiry: number
    enableSignup: boolean
    enableEmailSignup: boolean
    enableConfirmations: boolean
    minimumPasswordLength: number
    refreshTokenRotation: boolean
    /** Qualified name of the custom access token hook, quoted for SQL; undefined when none is enabled. */
    accessTokenHook: string | undefined
  }
  /** Per function: whether the gateway itself refuses requests without a valid JWT. */
  functions: Record<string, { verifyJwt: boolean }>
}

const at = (table: TomlTable, dotted: string): TomlValue | undefined => {
  let value: TomlValue | undefined = table
  for (const key of dotted.split('.')) {
    if (typeof value !== 'object' || Array.isArray(value)) return undefined
    value = value[key]
  }
  return value
}

const UNITS = { B: 1, KB: 1e3, MB: 1e6, GB: 1e9, KIB: 2 ** 10, MIB: 2 ** 20, GIB: 2 ** 30 } as const

/** `50MiB`, `1 GB` or a plain number, in bytes. @throws for anything else. */
export const parseSize = (value: string | number): number => {
  const [, amount, unit = 'B'] = /^\s*([\d.]+)\s*([A-Za-z]+)?\s*$/.exec(String(value)) ?? []
  const factor = UNITS[unit.toUpperCase() as keyof typeof UNITS]
  if (!amount || !factor) throw new Error(`Not a size: ${value}`)
  return Math.floor(Number(amount) * factor)
}

/** `pg-functions://postgres/public/name` as a quoted SQL name. @throws for other kinds of hooks. */
const hookFunction = (uri: string): string => {
  const [, schema, name] = /^pg-functions:\/\/[^/]+\/(\w+)\/(\w+)$/.exec(uri) ?? []
  if (!schema || !name) throw new Error(`Only pg-functions:// hooks run on the local stack, not ${uri}`)
  return `"${schema}"."${name}"`
}

/** Reads `config.toml` of a project folder; a missing file means the CLI's defaults. */
export const readProjectConfig = (projectDir: string): ProjectConfig => {
  const file = path.join(projectDir, 'config.toml')
  const toml = existsSync(file) ? parseToml(readFileSync(file, 'utf8'), file) : {}
  const read = <T extends TomlValue>(key: string, fallback: T): T => {
    const value = at(toml, key)
    if (value === undefined) return fallback
    if (typeof value !== typeof fallback || Array.isArray(value) !== Array.isArray(fallback)) {
      throw new Error(`${file}: ${key} has the wrong type`)
    }
    return value as T
  }
  const functions = at(toml, 'functions')
  return {
    projectId: read('project_id', 'local'),
    apiPort: read('api.port', 54321),
    dbPort: read('db.port', 54322),
    schemas: read<string[]>('api.schemas', ['public', 'graphql_public']),
    maxRows: read('api.max_rows', 1000),
    seedFiles: read('db.seed.enabled', true) ? read<string[]>('db.seed.sql_paths', ['./seed.sql']) : [],
    fileSizeLimitBytes: parseSize(read('storage.file_size_limit', '50MiB')),
    auth: {
      siteUrl: read('auth.site_url', 'http://127.0.0.1:3000'),
      jwtExpiry: read('auth.jwt_expiry', 3600),
      enableSignup: read('auth.enable_signup', true),
      // The newer name of the setting, then the older one.
      enableEmailSignup: read('auth.email.enabled', true) && read('auth.email.enable_signup', true),
      enableConfirmations: read('auth.email.enable_confirmations', false),
      minimumPasswordLength: read('auth.minimum_password_length', 6),
      refreshTokenRotation: read('auth.enable_refresh_token_rotation', true),
      accessTokenHook: read('auth.hook.custom_access_token.enabled', false)
        ? hookFunction(read('auth.hook.custom_access_token.uri', ''))
        : undefined,
    },
    functions: Object.fromEntries(
      Object.entries(typeof functions === 'object' && !Array.isArray(functions) ? functions : {}).map(
        ([name, table]) => [
          name,
          { verifyJwt: typeof table !== 'object' || Array.isArray(table) || table['verify_jwt'] !== false },
        ],
      ),
    ),
  }
}

export type StackConfig = {
  /** The folder that holds config.toml, migrations and functions. */
  projectDir: string
  project: ProjectConfig
  /** The folder of everything the stack keeps: database, objects, signing key, lock. Ignored by git. */
  dataDir: string
  apiPort: number
  dbPort: number
  /** Set: a native PostgreSQL is used instead of PGlite. */
  databaseUrl: string | undefined
}

const port = (value: string | undefined, name: string, fallback: number): number => {
  if (value === undefined || value === '') return fallback
  const number = Number(value)
  if (!Number.isInteger(number) || number < 0 || number > 65_535) throw new Error(`${name} is not a port: ${value}`)
  return number
}

/** The configuration of `npm start`: config.toml, overridden by the environment. */
export const readStackConfig = (env: Record<string, string | undefined>, rootDir: string): StackConfig => {
  const projectDir = path.join(rootDir, 'supabase')
  const project = readProjectConfig(projectDir)
  return {
    projectDir,
    project,
    dataDir: path.resolve(rootDir, env['BULKHEAD_DATA_DIR'] || '.local'),
    apiPort: port(env['BULKHEAD_API_PORT'], 'BULKHEAD_API_PORT', project.apiPort),
    dbPort: port(env['BULKHEAD_DB_PORT'], 'BULKHEAD_DB_PORT', project.dbPort),
    databaseUrl: env['DATABASE_URL'] || undefined,
  }
}
