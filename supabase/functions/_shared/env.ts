/**
 * Settings of the functions, parsed from an environment object. Only `index.ts` files hand the real environment in;
 * everything else gets the parsed values.
 */

/** An environment: names to values. */
export type Env = Readonly<Record<string, string | undefined>>

/** What every function needs to know about the project it runs in. */
export type ProjectSettings = {
  /** Base URL of the project, without a trailing slash. */
  supabaseUrl: string
  /** The key sent as `apikey` with a caller's token. It carries no rights of its own. */
  publishableKey: string
  /** Keys whose holder is the trusted backend: `sb_secret_...` and the legacy service_role JWT. */
  secretKeys: string[]
  /** `iss` values accepted in user tokens; the first one is put into tokens we mint. */
  issuers: string[]
  /** JWKS given inline, or null: then it is fetched from the project. */
  jwks: string | null
  /** Private ES256 JWK that signs delegated tokens, or null: then service-key calls are refused. */
  signingJwk: string | null
  /** Origins that may read answers in a browser. */
  corsOrigins: string[]
  /** Tenant of a service-key call that names neither a resource nor a tenant. */
  defaultTenant: string | null
  /** Requests per minute of a person in a tenant; 0: as many as they like. */
  requestsPerMinute: number
  /** Event streams that a person has open at once at this instance; 0: as many as they like. */
  streamsPerPerson: number
  /** Header in which the proxy in front of the functions says where a request comes from. */
  addressHeader: string
}

/** The value of a variable, or undefined when it is unset or blank. */
export function optional(env: Env, name: string): string | undefined {
  const value = env[name]?.trim()
  return value ? value : undefined
}

/** The value of a variable. @throws Error naming the variable when it is unset or blank. */
export function required(env: Env, name: string): string {
  const value = optional(env, name)
  if (value === undefined) throw new Error(`The environment variable ${name} is not set.`)
  return value
}

/** A comma-separated variable as a list; empty when unset. */
export function list(env: Env, name: string): string[] {
  return (optional(env, name) ?? '')
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')
}

/** The values of a JSON map such as SUPABASE_SECRET_KEYS; empty when unset. @throws Error when it is no such map. */
export function keyMap(env: Env, name: string): string[] {
  const text = optional(env, name)
  if (text === undefined) return []
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    throw new Error(`The environment variable ${name} is not JSON.`)
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw new Error(`The environment variable ${name} is not a JSON object.`)
  }
  return Object.values(parsed).filter((value): value is string => typeof value === 'string' && value !== '')
}

const DEFAULT_REQUESTS_PER_MINUTE = 600
const DEFAULT_STREAMS_PER_PERSON = 200

/** A variable as a whole number from 0 to a million. @throws Error naming the variable when it is none. */
function wholeNumber(env: Env, name: string, fallback: number): number {
  const text = optional(env, name)
  if (text === undefined) return fallback
  const value = Number(text)
  if (!Number.isInteger(value) || value < 0 || value > 1_000_000) {
    throw new Error(`The environment variable ${name} must be a whole number from 0 to 1000000.`)
  }
  return value
}

/**
 * Settings shared by all functions.
 * @throws Error naming the first variable that is missing or malformed.
 */
export function projectSettings(env: Env): ProjectSettings {
  const supabaseUrl = required(env, 'SUPABASE_URL').replace(/\/+$/, '')
  const publicUrl = optional(env, 'SUPABASE_PUBLIC_URL')?.replace(/\/+$/, '')
  const publishableKey = keyMap(env, 'SUPABASE_PUBLISHABLE_KEYS')[0] ?? optional(env, 'SUPABASE_ANON_KEY')
  if (publishableKey === undefined) throw new Error('Set SUPABASE_PUBLISHABLE_KEYS or SUPABASE_ANON_KEY.')
  const secretKeys = keyMap(env, 'SUPABASE_SECRET_KEYS')
  const legacy = optional(env, 'SUPABASE_SERVICE_ROLE_KEY')
  // `supabase start` gives functions an internal URL, which is not the `iss` of its tokens: hence the override.
  const issuers = list(env, 'BULKHEAD_JWT_ISSUER')
  if (issuers.length === 0) {
    for (const url of new Set([publicUrl ?? supabaseUrl, supabaseUrl])) issuers.push(`${url}/auth/v1`)
  }
  return {
    supabaseUrl,
    publishableKey,
    secretKeys: legacy === undefined ? secretKeys : [...secretKeys, legacy],
    issuers,
    jwks: optional(env, 'SUPABASE_JWKS') ?? null,
    signingJwk: optional(env, 'BULKHEAD_SIGNING_JWK') ?? null,
    corsOrigins: list(env, 'BULKHEAD_CORS_ORIGINS'),
    defaultTenant: optional(env, 'BULKHEAD_DEFAULT_TENANT') ?? null,
    requestsPerMinute: wholeNumber(env, 'RATE_LIMIT_PER_MINUTE', DEFAULT_REQUESTS_PER_MINUTE),
    streamsPerPerson: wholeNumber(env, 'MAX_OPEN_STREAMS', DEFAULT_STREAMS_PER_PERSON),
    addressHeader: optional(env, 'RATE_LIMIT_ADDRESS_HEADER') ?? 'x-forwarded-for',
  }
}
