-- P08: whoever can make temporary objects puts tables and functions of the same names in front. Nothing of ours looks there.
begin;
select plan(8);
select tests.make_world();

select tests.sign_in('viewer');
create temporary table memberships (tenant_id uuid, user_id uuid, role text, created_at timestamptz default now());
insert into memberships values (tests.tenant('b'), tests.person('viewer'), 'owner'), (tests.tenant('a'), tests.person('viewer'), 'owner');
create temporary table tenants (id uuid, name text);
insert into tenants values (tests.tenant('b'), 'mine');
create temporary table sources (id uuid, tenant_id uuid, owner_id uuid, name text, visibility text, metadata jsonb);
insert into sources select tests.id('source b_secret'), tests.tenant('b'), tests.person('viewer'), 'planted', 'tenant', '{}';
create temporary table tenant_principals (tenant_id uuid, id uuid);
insert into tenant_principals values (tests.tenant('b'), tests.person('viewer'));
create temporary table users (id uuid, email text, email_confirmed_at timestamptz);
create function pg_temp.uid() returns uuid language sql as $$ select tests.person('b_owner'); $$;
create function pg_temp.role_rank(role text) returns int language sql as $$ select 9; $$;
create function pg_temp.caller_tenant_ids(minimum_role text default 'viewer') returns setof uuid language sql as $$ select tests.tenant('b'); $$;
create function pg_temp.to_tsvector(config regconfig, body text) returns tsvector language plpgsql as $$ begin raise exception 'reached'; end; $$;
set local search_path = pg_temp, public, extensions;

select set_eq('select id from public.tenants', array[tests.tenant('a')], 'memberships are the real ones');
select set_eq('select name from ai.sources', array['a_open', 'a_found', 'a_team', 'a_demoted'], 'so are sources');
select is_empty($$select * from ai.search('tariff', source_ids => array[tests.id('source b_secret')])$$, 'search reads the real tables');
select isnt_empty($$select * from ai.search('tariff')$$, 'and uses the real functions');
select is_empty($$update public.tenants set name = 'x' returning id$$, 'no role is gained');
select is(
  tests.outcome($$select ai.register_source('x.txt', '.txt', 'text/plain', 1, repeat('a', 64))$$), 'PT403 forbidden', 'a viewer stays a viewer in definer functions'
);
select is(tests.outcome(format('select ai.retry_source(%L)', tests.id('source b_secret'))), 'PT404 not_found', 'no foreign source is reached');
select is((select count(*)::int from private.caller_tenant_ids('admin')), 0, 'the lookups themselves see the truth');

select * from finish();
rollback;
