-- What a model is told about the tables its agent may ask. Shapes only, which everybody with access to a schema may read in the
-- catalog; columns that the caller may not select are left out.
create function ai.describe_tables(tables jsonb)
returns jsonb
language sql
stable
set search_path = ''
as $$
  select coalesce(jsonb_agg(described.entry order by described.schema, described.name), '[]')
  from (
    select
      pg_namespace.nspname as schema,
      pg_class.relname as name,
      jsonb_build_object(
        'schema', pg_namespace.nspname,
        'name', pg_class.relname,
        'columns', (
          select coalesce(jsonb_agg(jsonb_build_object('name', columns.attname, 'type', pg_catalog.format_type(columns.atttypid, null)) order by columns.attnum), '[]')
          from pg_catalog.pg_attribute as columns
          where columns.attrelid = pg_class.oid and columns.attnum > 0 and not columns.attisdropped
            and pg_catalog.has_column_privilege(pg_class.oid, columns.attnum, 'select')
        ),
        'keys', (
          select coalesce(jsonb_agg(keys.columns), '[]')
          from (
            select (
              select jsonb_agg(parts.attname order by listed.position)
              from unnest(pg_constraint.conkey) with ordinality as listed (attnum, position)
              join pg_catalog.pg_attribute as parts on parts.attrelid = pg_constraint.conrelid and parts.attnum = listed.attnum
            ) as columns
            from pg_catalog.pg_constraint
            where pg_constraint.conrelid = pg_class.oid and pg_constraint.contype in ('p', 'u')
          ) as keys
        ),
        'foreignKeys', (
          select coalesce(
            jsonb_agg(
              jsonb_build_object(
                'name', pg_constraint.conname,
                'columns', (
                  select jsonb_agg(parts.attname order by listed.position)
                  from unnest(pg_constraint.conkey) with ordinality as listed (attnum, position)
                  join pg_catalog.pg_attribute as parts on parts.attrelid = pg_constraint.conrelid and parts.attnum = listed.attnum
                ),
                'schema', referenced_schema.nspname,
                'table', referenced.relname,
                'referencedColumns', (
                  select jsonb_agg(parts.attname order by listed.position)
                  from unnest(pg_constraint.confkey) with ordinality as listed (attnum, position)
                  join pg_catalog.pg_attribute as parts on parts.attrelid = pg_constraint.confrelid and parts.attnum = listed.attnum
                )
              )
              order by pg_constraint.conname
            ),
            '[]'
          )
          from pg_catalog.pg_constraint
          join pg_catalog.pg_class as referenced on referenced.oid = pg_constraint.confrelid
          join pg_catalog.pg_namespace as referenced_schema on referenced_schema.oid = referenced.relnamespace
          where pg_constraint.conrelid = pg_class.oid and pg_constraint.contype = 'f'
        )
      ) as entry
    from jsonb_to_recordset(tables) as asked (schema text, name text)
    join pg_catalog.pg_namespace on pg_namespace.nspname = asked.schema
    join pg_catalog.pg_class on pg_class.relnamespace = pg_namespace.oid and pg_class.relname = asked.name
    where pg_class.relkind in ('r', 'v', 'm', 'p', 'f')
      and pg_catalog.has_schema_privilege(pg_namespace.oid, 'usage')
      and pg_catalog.has_any_column_privilege(pg_class.oid, 'select')
    limit 200
  ) as described;
$$;

comment on function ai.describe_tables(jsonb) is
  'Shapes of the named tables [{schema, name}] as far as the caller may select from them: [{schema, name, columns: [{name, type}], keys: [[column]], '
  'foreignKeys: [{name, columns, schema, table, referencedColumns}]}]. At most 200; others are left out.';

revoke execute on function ai.describe_tables(jsonb) from public, anon, authenticated, service_role;
grant execute on function ai.describe_tables(jsonb) to authenticated;
