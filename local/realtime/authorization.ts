import { randomUUID } from 'node:crypto'
import { isRequestRole } from '../auth/tokens.ts'
import type { Database, Sql } from '../database/database.ts'
import type { Claims } from './token-check.ts'

/** What a policy on realtime.messages may see of a caller. */
export type Caller = {
  claims: Claims
  /** The `x-*` headers of the request that opened the socket, lower case. */
  headers: Record<string, string>
}

export type Extension = 'broadcast' | 'presence'

export type ReadVerdict = Record<Extension, boolean>

/** The probe could not be made, which says nothing about the caller. */
export class ProbeUnavailable extends Error {
  readonly reason: string
  constructor(reason: string, cause: unknown) {
    super(reason, { cause })
    this.reason = reason
  }
}

const MISSING_PARTITION = 'MissingPartition: Realtime was unable to find the expected messages partition'
const NO_DATABASE = 'UnableToConnectToProject: Realtime was unable to connect to the project database'

const sqlState = (error: unknown): string | null => {
  const code = (error as { code?: unknown } | null)?.code
  // Every SQLSTATE has a digit; a system error such as EPIPE has none.
  return typeof code === 'string' && /^(?=.*\d)[0-9A-Z]{5}$/.test(code) ? code : null
}

/** True for an error the statement itself raised: a policy, a missing grant, an unknown role. */
const isVerdict = (error: unknown): boolean => {
  const state = sqlState(error)
  // 08 connection, 53 resources, 57 operator intervention, 58 system: the database failed, nobody was refused.
  return state !== null && !['08', '53', '57', '58'].includes(state.slice(0, 2))
}

/** The token names a role that requests may not run with. */
class NotACaller extends Error {}

/** Carries a probe's answer out of its transaction: throwing is what rolls it back. */
class Answer extends Error {
  readonly value: unknown
  constructor(value: unknown) {
    super('probe finished')
    this.value = value
  }
}

const becomeCaller = async (tx: Sql, { claims, headers }: Caller, topic: string): Promise<void> => {
  // No other role: `none` would be the session's own user, here the owner of everything.
  if (!isRequestRole(claims.role)) throw new NotACaller(claims.role)
  await tx.query(
    `select set_config('role', $1, true), set_config('realtime.topic', $2, true),
       set_config('request.jwt.claims', $3, true), set_config('request.jwt.claim.sub', $4, true),
       set_config('request.jwt.claim.role', $5, true), set_config('request.headers', $6, true)`,
    [
      claims.role,
      topic,
      JSON.stringify(claims),
      typeof claims['sub'] === 'string' ? claims['sub'] : '',
      claims.role,
      JSON.stringify(headers),
    ],
  )
}

/**
 * Asks the policies on realtime.messages what a caller may do on a topic. Every probe is one transaction that is rolled
 * back: no row stays, no notification leaves, and role and settings end with it.
 */
export class Authorizer {
  readonly #db: Database
  constructor(db: Database) {
    this.#db = db
  }

  /**
   * May the caller read broadcasts (and, if asked, presence) of a private topic? As upstream: rows are inserted by the
   * owner and then looked up as the caller. A policy that raises, or a role that does not exist, means no.
   * @throws ProbeUnavailable when the question could not be put.
   */
  async mayRead(caller: Caller, topic: string, withPresence: boolean): Promise<ReadVerdict> {
    const denied: ReadVerdict = { broadcast: false, presence: false }
    const extensions: Extension[] = withPresence ? ['broadcast', 'presence'] : ['broadcast']
    return this.#probe(denied, async (tx) => {
      const ids = extensions.map(() => randomUUID())
      try {
        await tx.query(
          `insert into realtime.messages (id, topic, extension)
           select probe.id, $1, probe.extension
           from jsonb_to_recordset($2::jsonb) as probe(id uuid, extension text)`,
          [topic, JSON.stringify(extensions.map((extension, at) => ({ id: ids[at], extension })))],
        )
      } catch (error) {
        if (sqlState(error) === '23514') throw new ProbeUnavailable(MISSING_PARTITION, error)
        throw new ProbeUnavailable(NO_DATABASE, error)
      }
      await becomeCaller(tx, caller, topic)
      const visible = await tx.query<{ extension: Extension }>(
        // A plain index condition, whatever the policy: `in (select ...)` would scan the table behind it.
        `select messages.extension from realtime.messages
         where messages.id = any (string_to_array($1, ',')::uuid[])`,
        [ids.join(',')],
      )
      const seen = new Set(visible.map((row) => row.extension))
      return { broadcast: seen.has('broadcast'), presence: seen.has('presence') }
    })
  }

  /**
   * May the caller write to a private topic? An insert without RETURNING, as the caller.
   * @throws ProbeUnavailable when the question could not be put.
   */
  async mayWrite(caller: Caller, topic: string, extension: Extension): Promise<boolean> {
    return this.#probe(false, async (tx) => {
      await becomeCaller(tx, caller, topic)
      await tx.query('insert into realtime.messages (topic, extension) values ($1, $2)', [topic, extension])
      return true
    })
  }

  async #probe<T>(denied: T, ask: (tx: Sql) => Promise<T>): Promise<T> {
    try {
      await this.#db.transaction(async (tx) => {
        throw new Answer(await ask(tx))
      })
    } catch (error) {
      if (error instanceof Answer) return error.value as T
      if (error instanceof ProbeUnavailable) throw error
      if (error instanceof NotACaller || isVerdict(error)) return denied
      throw new ProbeUnavailable(NO_DATABASE, error)
    }
    throw new ProbeUnavailable(NO_DATABASE, new Error('the database swallowed the rollback'))
  }
}
