import type pg from 'pg'

const GROUPS = `
  select case
    when namespace = 'bench' and relation = 'documents' then '(b) documents'
    when namespace = 'bench' then '(a) memories'
    when relation like 'vector\\_graph\\_%' then 'ours: graphs'
    when namespace = 'ai' then 'ours: ai.' || relation
    else 'ours: private.' || relation
  end`

/** Bytes of each table with its indexes and TOAST, then of the single indexes; the graphs of all tenants together. */
export async function measureSizes(client: pg.Client): Promise<{ name: string; bytes: number }[]> {
  const { rows } = await client.query<{ name: string; bytes: string }>(`
    with tables as (
      select pg_class.oid, nspname as namespace, relname as relation
      from pg_class join pg_namespace on pg_namespace.oid = relnamespace
      where relkind = 'r' and (
        (nspname = 'bench' and relname in ('documents', 'memories'))
        or (nspname = 'ai' and relname = 'chunks')
        or (nspname = 'private' and (relname in ('search_lexemes', 'search_vectors', 'term_statistics', 'search_segments', 'vector_sets')
          or relname like 'vector\\_graph\\_%'))
      )
    ),
    grouped as (select tables.oid, (${GROUPS}) as name from tables)
    select name, sum(pg_total_relation_size(oid)) as bytes from grouped group by name
    union all
    select grouped.name || ', ' || access.amname, sum(pg_relation_size(indexrelid))
    from grouped
    join pg_index on indrelid = grouped.oid
    join pg_class as index_class on index_class.oid = indexrelid
    join pg_am as access on access.oid = index_class.relam
    group by grouped.name, access.amname
    order by name`)
  return rows.map(({ name, bytes }) => ({ name, bytes: Number(bytes) }))
}
