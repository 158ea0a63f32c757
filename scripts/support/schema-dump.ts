import type { Sql } from '../../local/database/database.ts'

/** Schemas whose whole content the migrations own. */
const OWN_SCHEMAS = ['public', 'ai', 'private']

/**
 * Describes what the migrations leave behind as SQL text: the schemas public, ai and private with tables, columns,
 * constraints, indexes, policies, grants, triggers, functions and comments, and the policies and triggers on tables of
 * the platform. The same schema gives the same text on every server of the same major version.
 *
 * It is written to be read and compared, not to be run: objects stand in alphabetical order, not in that of their needs.
 *
 * @param sql a transaction: the search path is set for its duration
 */
export async function dumpSchema(sql: Sql): Promise<string> {
  // With an empty path every name in an expression is printed with its schema.
  await sql.query(`select set_config('search_path', '', true)`)
  const parts: string[] = []
  for (const schema of OWN_SCHEMAS) {
    parts.push(`-- Schema ${schema}\n`)
    parts.push(...(await texts(sql, SCHEMA, [schema])))
    parts.push(...(await texts(sql, TYPES, [schema])))
    for (const table of await texts(sql, RELATIONS, [schema])) parts.push(await describeRelation(sql, table))
    parts.push(...(await texts(sql, FUNCTIONS, [schema])))
  }
  parts.push('-- On tables of the platform\n')
  for (const query of [FOREIGN_POLICIES, FOREIGN_TRIGGERS])
    parts.push((await texts(sql, query, [OWN_SCHEMAS])).join('\n'))
  return `${parts
    .filter((part) => part.trim() !== '')
    .join('\n')
    .replace(/\n{3,}/g, '\n\n')
    .trimEnd()}\n`
}

async function texts(sql: Sql, query: string, params: unknown[]): Promise<string[]> {
  return (await sql.query<{ text: string }>(query, params)).map(({ text }) => text)
}

async function describeRelation(sql: Sql, name: string): Promise<string> {
  const sections = [HEAD, COMMENTS, INDEXES, RLS, GRANTS, COLUMN_GRANTS, POLICIES, TRIGGERS]
  const lines: string[] = []
  for (const section of sections) lines.push(...(await texts(sql, section, [name])))
  return `${lines.join('\n')}\n`
}

/** "grant select, insert on table x to role", one row per grantee other than the owner, given an acl. */
const grants = (acl: string, kind: string, object: string, owner: string) => `
  select format('grant %s on ${kind} %s to %s%s;', string_agg(lower(privilege_type), ', ' order by privilege_type collate "C"),
    ${object}, coalesce(pg_get_userbyid(nullif(grantee, 0)), 'public'),
    case when is_grantable then ' with grant option' else '' end) as text
  from aclexplode(${acl}) where grantee <> ${owner} group by grantee, is_grantable
  order by coalesce(pg_get_userbyid(nullif(grantee, 0)), 'public') collate "C"`

const SCHEMA = `
  select concat_ws(E'\\n',
    format('create schema %I;', nspname),
    'comment on schema ' || quote_ident(nspname) || ' is ' || quote_literal(obj_description(oid, 'pg_namespace')) || ';',
    (select string_agg(text, E'\\n') from (${grants("coalesce(nspacl, acldefault('n', nspowner))", 'schema', 'quote_ident(nspname)', 'nspowner')}) as granted),
    '') as text
  from pg_namespace where nspname = $1`

const TYPES = `
  select case typtype
    when 'e' then format('create type %s as enum (%s);', format_type(pg_type.oid, null),
      (select string_agg(quote_literal(enumlabel), ', ' order by enumsortorder) from pg_enum where enumtypid = pg_type.oid))
    when 'd' then concat_ws(' ', 'create domain', format_type(pg_type.oid, null), 'as', format_type(typbasetype, typtypmod),
      (select string_agg('constraint ' || quote_ident(conname) || ' ' || pg_get_constraintdef(pg_constraint.oid), ' ' order by conname)
       from pg_constraint where contypid = pg_type.oid)) || ';'
    else format('create type %s as (%s);', format_type(pg_type.oid, null),
      (select string_agg(quote_ident(attname) || ' ' || format_type(atttypid, atttypmod), ', ' order by attnum)
       from pg_attribute where attrelid = typrelid and attnum > 0 and not attisdropped))
    end || E'\\n' as text
  from pg_type
  left join pg_class on pg_class.oid = typrelid
  where typnamespace = $1::regnamespace and (typtype in ('e', 'd') or (typtype = 'c' and relkind = 'c'))
    and not exists (select from pg_depend where objid = pg_type.oid and deptype = 'e')
  order by typname`

const RELATIONS = `
  select pg_class.oid::regclass::text as text
  from pg_class
  where relnamespace = $1::regnamespace and relkind in ('r', 'p', 'v', 'm')
    and not exists (select from pg_depend where objid = pg_class.oid and deptype = 'e')
  order by relname`

const HEAD = `
  select case
    when relkind in ('v', 'm') then format(E'create %s %s%s as\\n%s', case relkind when 'm' then 'materialized view' else 'view' end,
      $1::regclass, coalesce(' with (' || array_to_string(reloptions, ', ') || ')', ''), pg_get_viewdef($1::regclass))
    else format(E'create table %s (\\n%s\\n)%s%s;', $1::regclass,
      (select string_agg('  ' || line, E',\\n' order by kind, position, line collate "C") from (
        select 1 as kind, attnum as position, concat_ws(' ', quote_ident(attname), format_type(atttypid, atttypmod),
          case when attcollation <> typcollation then 'collate ' || attcollation::regcollation end,
          case attidentity when 'a' then 'generated always as identity' when 'd' then 'generated by default as identity' end,
          case attgenerated when 's' then 'generated always as (' || pg_get_expr(adbin, adrelid) || ') stored'
            else 'default ' || pg_get_expr(adbin, adrelid) end,
          case when attnotnull then 'not null' end) as line
        from pg_attribute
        join pg_type on pg_type.oid = atttypid
        left join pg_attrdef on adrelid = attrelid and adnum = attnum
        where attrelid = $1::regclass and attnum > 0 and not attisdropped
        union all
        select 2, 0, 'constraint ' || quote_ident(conname) || ' ' || pg_get_constraintdef(oid)
        from pg_constraint where conrelid = $1::regclass and contype in ('p', 'u', 'f', 'c', 'x')
      ) as lines),
      case when relkind = 'p' then ' partition by ' || pg_get_partkeydef(oid) else '' end,
      case when relispartition then ' /* partition of ' || (select inhparent::regclass::text from pg_inherits where inhrelid = $1::regclass)
        || ' ' || pg_get_expr(relpartbound, oid) || ' */' else '' end)
    end as text
  from pg_class where oid = $1::regclass`

const COMMENTS = `
  select format('comment on %s is %L;', object, description) as text from (
    select 0 as position, '' as name, 'table ' || $1::regclass as object, description
    from pg_description where objoid = $1::regclass and classoid = 'pg_class'::regclass and objsubid = 0
    union all
    select attnum, attname, 'column ' || $1::regclass || '.' || quote_ident(attname), description
    from pg_description join pg_attribute on attrelid = objoid and attnum = objsubid
    where objoid = $1::regclass and classoid = 'pg_class'::regclass
    union all
    select 10000, conname, 'constraint ' || quote_ident(conname) || ' on ' || $1::regclass, description
    from pg_description join pg_constraint on pg_constraint.oid = objoid
    where conrelid = $1::regclass and classoid = 'pg_constraint'::regclass
  ) as comments order by position, name collate "C"`

const INDEXES = `
  select pg_get_indexdef(indexrelid) || ';' as text
  from pg_index
  where indrelid = $1::regclass and not exists (select from pg_constraint where conindid = indexrelid and conrelid = indrelid)
  order by indexrelid::regclass::text collate "C"`

const RLS = `
  select format('alter table %s %s row level security;', $1::regclass, action) as text
  from pg_class, lateral (values (1, relrowsecurity, 'enable'), (2, relforcerowsecurity, 'force')) as flags (position, is_set, action)
  where oid = $1::regclass and is_set order by position`

const GRANTS = `
  select granted.text from pg_class,
  lateral (${grants("coalesce(relacl, acldefault('r', relowner))", 'table', '$1::regclass', 'relowner')}) as granted
  where oid = $1::regclass`

const COLUMN_GRANTS = `
  select format('grant %s on table %s to %s;',
    string_agg(lower(privilege_type) || ' (' || columns || ')', ', ' order by privilege_type collate "C"), $1::regclass, role) as text
  from (
    select privilege_type, coalesce(pg_get_userbyid(nullif(grantee, 0)), 'public') as role,
      string_agg(quote_ident(attname), ', ' order by attnum) as columns
    from pg_attribute, aclexplode(attacl)
    where attrelid = $1::regclass and not attisdropped
    group by privilege_type, grantee
  ) as granted group by role order by role collate "C"`

const policy = (where: string) => `
  select format(E'create policy %I on %s\\nfor %s to %s', polname, polrelid::regclass,
    case polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete' else 'all' end,
    (select string_agg(coalesce(pg_get_userbyid(nullif(role, 0)), 'public'), ', ' order by pg_get_userbyid(nullif(role, 0))) from unnest(polroles) as role))
    || case when polpermissive then '' else ' /* restrictive */' end
    || coalesce(E'\\nusing (' || pg_get_expr(polqual, polrelid) || ')', '')
    || coalesce(E'\\nwith check (' || pg_get_expr(polwithcheck, polrelid) || ')', '') || ';' as text
  from pg_policy join pg_class on pg_class.oid = polrelid
  where ${where} order by polrelid::regclass::text collate "C", polcmd, polname`

const POLICIES = policy('polrelid = $1::regclass')
const FOREIGN_POLICIES = policy('relnamespace <> all (select name::regnamespace from unnest($1::text[]) as name)')

const trigger = (where: string) => `
  select pg_get_triggerdef(pg_trigger.oid) || ';' as text
  from pg_trigger join pg_class on pg_class.oid = tgrelid join pg_proc on pg_proc.oid = tgfoid
  where not tgisinternal and ${where} order by tgrelid::regclass::text collate "C", tgname`

const TRIGGERS = trigger('tgrelid = $1::regclass')
// The platform has triggers of its own on its tables: only those that call our functions are ours.
const FOREIGN_TRIGGERS = trigger(`
  relnamespace <> all (select name::regnamespace from unnest($1::text[]) as name)
  and pronamespace = any (select name::regnamespace from unnest($1::text[]) as name)`)

const FUNCTIONS = `
  select concat_ws(E'\\n',
    regexp_replace(rtrim(pg_get_functiondef(pg_proc.oid)), '\\s+$', '') || ';',
    format('comment on %s %s is %L;', kind, signature, obj_description(pg_proc.oid, 'pg_proc')),
    (select string_agg(text, E'\\n') from (${grants("coalesce(proacl, acldefault('f', proowner))", 'function', 'signature', 'proowner')}) as granted),
    '') as text
  from pg_proc,
    lateral (select pg_proc.oid::regprocedure::text as signature, case prokind when 'p' then 'procedure' else 'function' end as kind) as names
  where pronamespace = $1::regnamespace and prokind in ('f', 'p')
    and not exists (select from pg_depend where objid = pg_proc.oid and deptype = 'e')
  order by proname, pg_get_function_identity_arguments(pg_proc.oid) collate "C"`
