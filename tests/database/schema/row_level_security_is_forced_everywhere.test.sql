-- RLS enabled and forced on every table and partition; policies only for signed-in people, named by what they say.
begin;
select plan(12);

prepare unprotected as
  select format('%I.%I', pg_namespace.nspname, pg_class.relname)
  from pg_class
  join pg_namespace on pg_namespace.oid = pg_class.relnamespace
  -- Queue tables too, partitions among them.
  where pg_namespace.nspname in ('public', 'ai', 'private', 'pgboss') and pg_class.relkind in ('r', 'p')
    and not (pg_class.relrowsecurity and pg_class.relforcerowsecurity);
select is_empty('unprotected', 'row-level security is enabled and forced');

create table ai.careless (id int primary key);
select isnt_empty('unprotected', 'a table without it is noticed');
drop table ai.careless;

select is_empty(
  $$select schemaname, tablename, policyname from pg_policies where schemaname in ('public', 'ai', 'private') and roles <> '{authenticated}'$$,
  'every policy is for authenticated and nobody else'
);
select is_empty(
  $$
    select schemaname, tablename, policyname
    from pg_policies
    where schemaname in ('public', 'ai', 'private') and cmd = 'ALL'
  $$,
  'every policy is for one command'
);
select is_empty(
  $$
    select schemaname, tablename, policyname
    from pg_policies
    where schemaname in ('public', 'ai', 'private')
      and array_length(string_to_array(policyname, ' '), 1) < 3
      -- Named by the recipe of the cookbook that replaces them.
      and policyname not in ('auth_read_sources', 'auth_read_chunks')
  $$,
  'every policy is called by a sentence'
);
select set_eq(
  $$select policyname::text from pg_policies where permissive = 'RESTRICTIVE' and schemaname in ('public', 'ai', 'private')$$,
  array[
    'sources stay inside their tenant on read', 'sources stay inside their tenant on update',
    'sources stay inside their tenant on delete', 'chunks stay inside their tenant'
  ],
  'where an app may replace policies, isolation is restrictive'
);

-- ( SELECT auth.uid() AS uid) and ARRAY( SELECT private.caller_tenant_ids(...)): once per statement, not per row.
create function pg_temp.unwrapped(expression text)
returns text
language sql
as $$
  select regexp_replace(
    expression, '\( SELECT (auth|private|realtime)\.[a-z_]+\([^()]*\)( AS [a-z_]+)?\)', '', 'g'
  );
$$;
prepare unwrapped_lookups as
  select schemaname, tablename, policyname
  from pg_policies
  where (schemaname in ('public', 'ai', 'private') or (schemaname = 'realtime' and tablename = 'messages'))
    and pg_temp.unwrapped(concat(qual, ' ', with_check)) ~ '(auth\.(uid|jwt|role|email)|private\.caller_[a-z_]+|realtime\.topic)\(';
select is_empty('unwrapped_lookups', 'caller lookups are wrapped, so that they run once per statement');
create policy "a careless policy here" on public.groups for select to authenticated using (tenant_id = auth.uid());
select isnt_empty('unwrapped_lookups', 'an unwrapped lookup is noticed');
drop policy "a careless policy here" on public.groups;

select is_empty(
  $$
    select pg_class.oid::regclass
    from pg_class
    join pg_namespace on pg_namespace.oid = pg_class.relnamespace
    where pg_namespace.nspname in ('public', 'ai', 'private') and pg_class.relkind = 'v'
      and not coalesce(pg_class.reloptions @> '{security_invoker=true}', false)
  $$,
  'views run with the rights of the caller'
);
select is_empty(
  $$
    select pg_class.oid::regclass
    from pg_class
    join pg_namespace on pg_namespace.oid = pg_class.relnamespace
    where pg_namespace.nspname in ('public', 'ai') and pg_class.relkind in ('m', 'f')
  $$,
  'no materialized view and no foreign table is exposed: neither can have row-level security'
);

-- Nobody but the database speaks on a channel, and nobody reaches the bytes but through presigned URLs.
select set_eq(
  $$select policyname::text, cmd from pg_policies where schemaname = 'realtime'$$,
  $$values ('people read their own chat channel', 'SELECT'), ('people read the channels of runs they may read', 'SELECT')$$,
  'realtime.messages has two policies, to read'
);
select is_empty($$select policyname from pg_policies where schemaname = 'storage'$$, 'storage has no policy');

select * from finish();
rollback;
