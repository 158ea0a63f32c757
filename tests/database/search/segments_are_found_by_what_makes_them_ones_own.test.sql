-- private.caller_segment_ids() looks segments up in several ways; together they give what the rule gives when it is asked of each segment.
begin;
select plan(25);
select tests.make_world();
-- Of one person in two tenants; and combinations that no chunk makes, of which the rule says something all the same.
select tests.make_source('a_both', 'a', 'both', 'private', 20), tests.make_source('b_both', 'b', 'both', 'private', 21);
insert into public.memories (tenant_id, user_id, agent_id, body)
values (tests.tenant('a'), tests.person('both'), null, 'Mine'), (tests.tenant('a'), null, tests.id('agent a'), 'Of one agent'), (tests.tenant('b'), null, null, 'Of B');
insert into private.search_segments (tenant_id, kind, knowledge_base_id, visibility, owner_id, allowed_principals, language)
select bases.tenant_id, 'chunk', bases.id, made.visibility, tests.person(made.owner_name), array(select tests.person(name) from unnest(made.allowed) as name), 'german'
from ai.knowledge_bases as bases
cross join (
  values
    ('tenant', 'member', '{viewer}'::text[]), ('private', 'member', '{viewer}'), ('private', null, '{viewer}'), ('granted', 'member', '{}'),
    ('granted', 'member', '{member,both}'), ('granted', null, '{member,viewer}'), ('granted', 'both', '{outsider,b_member}')
) as made (visibility, owner_name, allowed)
where bases.is_default;
-- In a group of each tenant, and granted something in both.
insert into public.group_members (tenant_id, group_id, user_id) values (tests.tenant('b'), tests.id('group b'), tests.person('both'));
insert into private.search_segments (tenant_id, kind, knowledge_base_id, visibility, owner_id, allowed_principals, language)
select bases.tenant_id, 'chunk', bases.id, 'granted', tests.person('admin'), array[tests.id('group b')], 'german' from ai.knowledge_bases as bases where bases.is_default;

create function pg_temp.agrees(who text, narrowed_to uuid[] default '{}', claims jsonb default '{}', headers jsonb default '{}')
returns text language plpgsql as $$
declare
  found int[];
  caller uuid;
  principals uuid[];
  expected int[];
begin
  perform tests.sign_in(who, claims, headers);
  found := private.caller_segment_ids();
  caller := auth.uid();
  perform tests.as_superuser();
  principals := caller || array(select group_id from public.group_members where user_id = caller);
  expected := array(
    select segments.id
    from private.search_segments as segments
    where segments.tenant_id = all (narrowed_to)
      and (
        exists (select from private.tenant_principals as backends where backends.tenant_id = segments.tenant_id and backends.id = caller)
        or exists (select from public.memberships where memberships.tenant_id = segments.tenant_id and memberships.user_id = caller)
          and (
            segments.visibility = 'tenant'
            or segments.owner_id = caller
            or segments.visibility = 'granted' and segments.allowed_principals && principals
          )
      )
    order by segments.id
  );
  return is(array(select id from unnest(found) as id order by id), expected, concat_ws(' ', who, claims, headers, cardinality(expected)));
end;
$$;

select pg_temp.agrees(who) from unnest(array['member', 'viewer', 'admin', 'owner', 'b_owner', 'b_member', 'both', 'outsider', 'backend_a', 'backend_b']) as who;

-- Narrowed, by a header and by claims.
select pg_temp.agrees('both', array[tests.tenant('b')], headers => jsonb_build_object('x-tenant-id', tests.tenant('b')));
select pg_temp.agrees('both', array[tests.tenant('a')], headers => jsonb_build_object('x-tenant-id', tests.tenant('a')));
select pg_temp.agrees('both', array[tests.tenant('a')], claims => jsonb_build_object('tenant_id', tests.tenant('a')));
select pg_temp.agrees('both', array[tests.tenant('b')], claims => jsonb_build_object('app_metadata', jsonb_build_object('tenant_id', tests.tenant('b'))));
select pg_temp.agrees('both', array[tests.tenant('a'), tests.tenant('b')], jsonb_build_object('tenant_id', tests.tenant('a')), jsonb_build_object('x-tenant-id', tests.tenant('b')));
select pg_temp.agrees('both', array['00000000-0000-0000-0000-000000000000']::uuid[], headers => '{"x-tenant-id": "no tenant"}');
select pg_temp.agrees('member', array[tests.tenant('b')], headers => jsonb_build_object('x-tenant-id', tests.tenant('b')));
select pg_temp.agrees('backend_a', array[tests.tenant('a')], claims => jsonb_build_object('tenant_id', tests.tenant('a')));
select pg_temp.agrees('backend_a', array[tests.tenant('b')], headers => jsonb_build_object('x-tenant-id', tests.tenant('b')));

-- Out of a group; out of one of two tenants; out of the only one, with rows of their own left behind.
delete from public.group_members where user_id in (tests.person('viewer'), tests.person('both'));
select pg_temp.agrees('viewer');
delete from public.memberships where tenant_id = tests.tenant('b') and user_id = tests.person('both');
select pg_temp.agrees('both');
delete from public.memberships where user_id = tests.person('member');
select pg_temp.agrees('member');
select tests.sign_in('member');
select is(private.caller_segment_ids(), '{}', 'who is removed is left nothing, of their own neither');
select tests.sign_in('admin');
select ok(cardinality(private.caller_segment_ids()) > 0, 'who stays sees as before');
select tests.as_service();
select is(private.caller_segment_ids(), '{}', 'nobody in particular has none');

select * from finish();
rollback;
