import { readFileSync } from 'node:fs'
import type pg from 'pg'
import type { Tenant } from './layout.ts'

/** Times of one statement in milliseconds; cpu is that of the server's process, null where it runs elsewhere. */
export type Times = { wall: number; cpu: number | null }
export type Statement = { name: string; text: string; values: unknown[] }
export type Answer<T> = Times & { rows: T[] }

/** Claims of the tenant's member as the auth server writes them; rights come from the membership, so no tenant is named. */
export const memberClaims = (tenant: Tenant): string => claims(tenant, {})

/** The same for the baselines, whose policies read the tenant from the token. */
export const tenantClaims = (tenant: Tenant): string => claims(tenant, { tenant_id: tenant.id })

function claims(tenant: Tenant, appMetadata: Record<string, string>): string {
  return JSON.stringify({
    role: 'authenticated',
    sub: tenant.userId,
    aud: 'authenticated',
    iss: 'http://127.0.0.1:54321/auth/v1',
    exp: 1_900_000_000,
    iat: 1_800_000_000,
    email: `member-${tenant.index}@bench.example`,
    app_metadata: { provider: 'email', ...appMetadata },
    user_metadata: {},
  })
}

/** A connection that asks as PostgREST does: under a role, each statement in a transaction with the caller's claims. */
export class CallerSession {
  #client: pg.Client
  /** Null when its processor time is not known here. */
  #pid: number | null

  private constructor(client: pg.Client, pid: number | null) {
    this.#client = client
    this.#pid = pid
  }

  static async open(connect: () => Promise<pg.Client>, role = 'authenticated'): Promise<CallerSession> {
    const client = await connect()
    const pid = await watchedPid(client)
    await client.query('set search_path = bench, public, extensions')
    await client.query(`set role ${role}`)
    return new CallerSession(client, pid)
  }

  /** Runs one statement with these claims; the clocks stand around it alone, not around the transaction. */
  async ask<T extends pg.QueryResultRow>(callerClaims: string, statement: Statement): Promise<Answer<T>> {
    await this.#client.query('begin')
    await this.#client.query({
      name: 'claims',
      text: `select set_config('request.jwt.claims', $1, true)`,
      values: [callerClaims],
    })
    const cpuBefore = cpuOf(this.#pid)
    const startedAt = performance.now()
    const { rows } = await this.#client.query<T>(statement)
    const wall = performance.now() - startedAt
    const cpuAfter = cpuOf(this.#pid)
    await this.#client.query('commit')
    return { rows, wall, cpu: cpuBefore === null || cpuAfter === null ? null : cpuAfter - cpuBefore }
  }

  close(): Promise<void> {
    return this.#client.end()
  }
}

/** Milliseconds the process has been on a processor; null for null, and once it is gone. */
export function cpuOf(pid: number | null): number | null {
  if (pid === null) return null
  try {
    // The kernel brings the number up to date when the process goes to sleep, a moment after its answer is here.
    let before = readSchedstat(pid)
    for (let i = 0; i < 20; i++) {
      const now = readSchedstat(pid)
      if (now === before) break
      before = now
    }
    return before / 1e6
  } catch {
    return null
  }
}

const readSchedstat = (pid: number): number => Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[0])

/**
 * The process behind a connection, if its processor time can be read here: one that works for a moment must show it. On
 * another system or host, or across a container's border, there is no process of that number or a different one.
 */
export async function watchedPid(client: pg.Client): Promise<number | null> {
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid')
  const { pid } = rows[0] as { pid: number }
  const before = cpuOf(pid)
  await client.query('select count(*) from generate_series(1, 100000)')
  const after = cpuOf(pid)
  return before !== null && after !== null && after - before > 2 ? pid : null
}
