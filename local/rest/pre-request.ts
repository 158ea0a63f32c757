import type { Sql } from '../database/database.ts'

/**
 * The call that PostgREST makes first in the transaction of every request, if the project has set one up with
 * `alter role authenticator [in database ...] set pgrst.db_pre_request = 'schema.function'`.
 */
export const preRequestCall = async (db: Sql): Promise<string | undefined> => {
  const [row] = await db.query<{ call: string }>(`
    select 'select ' || array_to_string(array(
      select quote_ident(part) from unnest(regexp_match(setting, '^pgrst\\.db_pre_request=(?:([^.]*)\\.)?(.+)$')) as part where part is not null
    ), '.') || '()' as call
    from pg_db_role_setting
    cross join unnest(setconfig) as setting
    where setrole = 'authenticator'::regrole
      and setdatabase in (0, (select oid from pg_database where datname = current_database()))
      and setting like 'pgrst.db\\_pre\\_request=_%'
    -- What is set for this database goes before what is set for all of the cluster.
    order by setdatabase desc
    limit 1`)
  return row?.call
}
