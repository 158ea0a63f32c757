import type { Sql } from '../database/database.ts'

/**
 * The `statement_timeout` of functions that set one of their own, by `schema.function`. PostgREST makes it that of the
 * transaction: one that is set inside of a statement is none for that statement.
 */
export const functionTimeouts = async (db: Sql): Promise<ReadonlyMap<string, string>> => {
  const rows = await db.query<{ name: string; timeout: string }>(`
    select pg_namespace.nspname || '.' || pg_proc.proname as name, split_part(setting, '=', 2) as timeout
    from pg_proc
    join pg_namespace on pg_namespace.oid = pg_proc.pronamespace
    cross join unnest(pg_proc.proconfig) as setting
    where setting like 'statement\\_timeout=%'`)
  return new Map(rows.map(({ name, timeout }) => [name, timeout]))
}
