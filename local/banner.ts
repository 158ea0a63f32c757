import type { Sql } from './database/database.ts'

export type BannerFacts = {
  consoleUrl: string
  apiUrl: string
  dbUrl: string
  publishableKey: string
  secretKey: string
  anonKey: string
  serviceRoleKey: string
  jwtSecret: string
  s3AccessKey: string
  s3SecretKey: string
  s3Region: string
  /** 'PGlite in .local' or the like. */
  database: string
  functions: string[]
  /** What answers questions and makes embeddings. */
  providers: string
  users: SeededUser[]
  notes: string[]
}

export type SeededUser = { email: string; memberships: string }

/** Password of every user in supabase/seed.sql. */
const SEED_PASSWORD = 'bulkhead-demo'

/** What the user needs to begin: the labels of `supabase start`, then what is particular to Bulkhead. */
export function banner(facts: BannerFacts): string {
  const table = (rows: [string, string][]) => {
    const width = Math.max(...rows.map(([label]) => label.length))
    return rows.map(([label, value]) => `${label.padStart(width)}: ${value}`).join('\n')
  }
  const addresses = table([
    ['Console URL', facts.consoleUrl],
    ['API URL', facts.apiUrl],
    ['S3 Storage URL', `${facts.apiUrl}/storage/v1/s3`],
    ['Functions URL', `${facts.apiUrl}/functions/v1/{${facts.functions.join(',')}}`],
    ['DB URL', facts.dbUrl],
    ['Publishable key', facts.publishableKey],
    ['Secret key', facts.secretKey],
    ['JWT secret', facts.jwtSecret],
    ['anon key', facts.anonKey],
    ['service_role key', facts.serviceRoleKey],
    ['S3 Access Key', facts.s3AccessKey],
    ['S3 Secret Key', facts.s3SecretKey],
    ['S3 Region', facts.s3Region],
    ['Database', facts.database],
    ['Providers', facts.providers],
  ])
  const users =
    facts.users.length === 0
      ? []
      : [
          `\nSeeded users (password of all: ${SEED_PASSWORD})`,
          ...facts.users.map(({ email, memberships }) => `  ${email.padEnd(26)} ${memberships}`),
        ]
  const notes = facts.notes.length === 0 ? [] : ['', ...facts.notes]
  return ['', addresses, ...users, ...notes, ''].join('\n')
}

/**
 * The users that supabase/seed.sql has made and that are still there, with their tenants and roles. They are known by
 * their addresses: nobody can own one under .example (RFC 2606).
 */
export async function seededUsers(sql: Sql): Promise<SeededUser[]> {
  return sql.query<SeededUser>(
    `select users.email::text as email,
       coalesce(string_agg(tenants.name || ' (' || memberships.role || ')', ', ' order by tenants.name), 'no tenant') as memberships
     from auth.users
     left join public.memberships on memberships.user_id = users.id
     left join public.tenants on tenants.id = memberships.tenant_id
     where users.email like '%.example'
     group by users.id, users.email, users.created_at
     order by min(tenants.name) nulls last, users.email
     limit 20`,
  )
}
