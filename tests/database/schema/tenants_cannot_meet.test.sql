-- Every tenant-owned row says whose it is, and rows of two tenants cannot be joined by a foreign key.
begin;
select plan(10);

create view pg_temp.ours as
select pg_class.oid, format('%I.%I', pg_namespace.nspname, pg_class.relname) as name, pg_namespace.nspname as schema_name
from pg_class
join pg_namespace on pg_namespace.oid = pg_class.relnamespace
where pg_namespace.nspname in ('public', 'ai', 'private') and pg_class.relkind in ('r', 'p');

create view pg_temp.keys as
select
  pg_constraint.conname, pg_constraint.conrelid, child.name as child, parent.name as parent, pg_constraint.conkey,
  array(
    select pg_attribute.attname::text
    from unnest(pg_constraint.conkey) with ordinality as positions (number, place)
    join pg_attribute on pg_attribute.attrelid = pg_constraint.conrelid and pg_attribute.attnum = positions.number
    order by positions.place
  ) as child_columns,
  array(
    select pg_attribute.attname::text
    from unnest(pg_constraint.confkey) with ordinality as positions (number, place)
    join pg_attribute on pg_attribute.attrelid = pg_constraint.confrelid and pg_attribute.attnum = positions.number
    order by positions.place
  ) as parent_columns
from pg_constraint
join pg_temp.ours as child on child.oid = pg_constraint.conrelid
left join pg_temp.ours as parent on parent.oid = pg_constraint.confrelid
where pg_constraint.contype = 'f';

select set_eq(
  $$
    select name
    from pg_temp.ours
    where not exists (
      select from pg_attribute
      where pg_attribute.attrelid = ours.oid and pg_attribute.attname = 'tenant_id' and pg_attribute.attnotnull
        and pg_attribute.atttypid = 'uuid'::regtype
    )
  $$,
  -- The tenants themselves; objects to remove, which outlive their tenant; ids of used tokens; requests of somebody in several
  -- tenants or in none; and what is the same for all.
  array['public.tenants', 'private.object_removals', 'private.burnt_tool_call_tokens', 'private.rate_counters', 'private.idempotency_keys', 'private.shipped_policies', 'private.queue_limits', 'private.sweeps'],
  'every other table has a tenant_id that is not null'
);

prepare loose_keys as
  select keys.child, keys.conname
  from pg_temp.keys
  where keys.parent is not null and keys.parent <> 'public.tenants'
    and not exists (
      select from unnest(keys.child_columns, keys.parent_columns) as pairs (child_column, parent_column)
      where pairs.child_column = 'tenant_id' and pairs.parent_column = 'tenant_id'
    )
    -- (reply_to_id, session_id): both messages are in one session, and a session is in one tenant.
    and keys.conname <> 'chat_messages_reply_to_fkey';
select is_empty('loose_keys', 'foreign keys between tenant-owned tables carry the tenant');
alter table ai.agent_knowledge_bases add constraint careless_fkey foreign key (agent_id) references ai.agents (id);
select set_eq('loose_keys', $$values ('ai.agent_knowledge_bases', 'careless_fkey'::name)$$, 'one that does not is noticed');
alter table ai.agent_knowledge_bases drop constraint careless_fkey;

select is_empty(
  $$
    select ours.name
    from pg_temp.ours
    where ours.schema_name <> 'private' and ours.name <> 'public.tenants'
      and not exists (
        select from pg_trigger
        where pg_trigger.tgrelid = ours.oid and pg_trigger.tgfoid in ('private.refuse_tenant_change'::regproc, 'private.refuse_audit_change'::regproc)
      )
  $$,
  'the tenant of a row is kept by a trigger, whoever writes'
);

-- An index serves a foreign key if it leads with columns of the key, one of which is not tenant_id.
prepare slow_keys as
  select keys.child, keys.conname
  from pg_temp.keys
  where not exists (
    select
    from pg_index
    where pg_index.indrelid = keys.conrelid and pg_index.indpred is null
      and pg_index.indkey[0] = any (keys.conkey)
      and (
        cardinality(keys.conkey) = 1
        or (select pg_attribute.attname from pg_attribute where pg_attribute.attrelid = keys.conrelid and pg_attribute.attnum = pg_index.indkey[0]) <> 'tenant_id'
        or pg_index.indkey[1] = any (keys.conkey)
      )
  );
select is_empty('slow_keys', 'every foreign key has an index on the side of the child');
drop index public.memberships_user_id_idx;
select set_eq('slow_keys', $$values ('public.memberships', 'memberships_user_id_fkey'::name)$$, 'one without is noticed');

select is_empty(
  $$
    select pg_constraint.conrelid::regclass, pg_constraint.conname
    from pg_constraint
    join pg_temp.ours on ours.oid = pg_constraint.conrelid
    where (pg_constraint.contype = 'c' and pg_constraint.conname ~ '_check\d*$') or pg_constraint.conname ~ '_(key|fkey|excl)\d+$'
  $$,
  'constraints say what they are for'
);
select is_empty(
  $$
    select pg_class.relname
    from pg_index
    join pg_class on pg_class.oid = pg_index.indexrelid
    join pg_temp.ours on ours.oid = pg_index.indrelid
    where pg_class.relname !~ '_(idx|key|pkey)$'
  $$,
  'indexes are named after what they hold'
);
select is_empty(
  $$select name from pg_temp.ours where obj_description(oid, 'pg_class') is null$$,
  'every table has a comment'
);
select is_empty(
  $$
    select pg_attribute.attrelid::regclass, pg_attribute.attname
    from pg_attribute
    join pg_temp.ours on ours.oid = pg_attribute.attrelid
    where pg_attribute.attnum > 0 and not pg_attribute.attisdropped
      and pg_attribute.attname like '%\_at' and pg_attribute.atttypid <> 'timestamptz'::regtype
  $$,
  'times are timestamptz'
);

select * from finish();
rollback;
