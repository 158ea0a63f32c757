// What every part of the local stack sees of the database. Two engines implement it: PGlite and a native server.

export type Row = Record<string, unknown>

export interface Sql {
  /**
   * Runs one statement with positional parameters ($1, $2, ...) and returns its rows.
   * Values: timestamps are ISO 8601 strings, json is parsed, bytea is a Uint8Array, int8 and numeric are numbers as long
   * as that loses nothing and strings beyond. Pass json parameters as JSON text.
   * @throws the database's error, with `code` (SQLSTATE), `detail` and `hint`.
   */
  query<R extends Row = Row>(text: string, params?: unknown[]): Promise<R[]>
}

/** Who a statement runs for: Postgres role and the settings PostgREST would make for one transaction. */
export type DbCaller = {
  role: string
  claims: Record<string, unknown>
  /** Request headers, lower-case names. */
  headers?: Record<string, string>
  settings?: Record<string, string>
}

export interface Database extends Sql {
  readonly kind: 'pglite' | 'native'
  /** Runs several statements as the owner; the session's settings are put back afterwards. */
  exec(sql: string): Promise<void>
  /** One transaction as the owner. Rolled back when `fn` throws. Inside it use `tx`, not the database: that throws. */
  transaction<T>(fn: (tx: Sql) => Promise<T>): Promise<T>
  /** One transaction as `caller`: role, request.jwt.claims, request.headers and settings, all local to it. */
  asCaller<T>(caller: DbCaller, fn: (tx: Sql) => Promise<T>): Promise<T>
  /**
   * Calls `onNotify` with the payload of each notification on `channel`, outside of any session lock or transaction.
   * @returns a function that stops listening.
   */
  listen(channel: string, onNotify: (payload: string) => void): Promise<() => Promise<void>>
  close(): Promise<void>
}

export type StatementResult = { rows: Row[]; affected: number | undefined }

/** A session that belongs to one user at a time, until it is released. */
export interface Session {
  /** @param isRepeated whether the same text comes again and again: a server then keeps it, and need not parse and plan it anew. */
  run(text: string, params?: readonly unknown[], isRepeated?: boolean): Promise<StatementResult>
  exec(sql: string): Promise<void>
  /** Gives the session back; a transaction left open is rolled back first. */
  release(): Promise<void>
}

/** What the parts that manage sessions themselves need: the PostgREST engine and the bootstrap. */
export interface SessionDatabase extends Database {
  /** Waits for a session of one's own. */
  lease(): Promise<Session>
  /** Reads type information again. Needed after DDL that adds types, so that arrays and vectors keep their shape. */
  refreshTypes(): Promise<void>
  /** Settings to make for each transaction of a role, such as its statement_timeout. */
  roleSettings(role: string): Record<string, string>
}
