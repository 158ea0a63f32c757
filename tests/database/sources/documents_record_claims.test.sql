-- public.documents: the cookbook's "who owns which source". Claims are checked; what is not one's own is not there.
begin;
select plan(22);
select tests.make_world();
create function pg_temp.claim(source text, who text, owner_name text default null, tenant text default null)
returns text
language plpgsql
as $$
begin
  perform tests.sign_in(who);
  return tests.outcome(format(
    'insert into public.documents (source_id, owner_id, tenant_id, title) values (%L, %L, %L, %L)', tests.id('source ' || source),
    coalesce(tests.person(owner_name), tests.person(who)), tests.tenant(tenant), 'x'
  ));
end;
$$;
-- The documents of the world stand for what has been claimed; these have not been.
delete from public.documents where source_id in (tests.id('source a_open'), tests.id('source a_secret'), tests.id('source a_boss'));

select is(pg_temp.claim('a_found', 'viewer'), 'PT404 not_found', 'viewers claim nothing');
select is(pg_temp.claim('a_found', 'b_member'), 'PT404 not_found', 'nor other tenants');
select is(pg_temp.claim('b_found', 'member'), 'PT404 not_found', 'a source of another tenant');
select tests.keep('answer', tests.kept('last_message'));
select is(pg_temp.claim('nowhere', 'member'), 'PT404 not_found', 'one that does not exist');
select is(tests.kept('last_message'), tests.kept('answer'), 'look alike');
select is(pg_temp.claim('a_boss', 'member'), 'PT404 not_found', 'a colleague''s private one');
select is(tests.kept('last_message'), tests.kept('answer'), 'looks so too');
select is(pg_temp.claim('a_open', 'both'), 'PT404 not_found', 'a colleague''s that everybody sees is the colleague''s');
select is(pg_temp.claim('a_found', 'member', 'admin'), 'PT404 not_found', 'nobody claims for others');
select is(pg_temp.claim('a_found', 'both', tenant => 'b'), 'PT404 not_found', 'nor under another tenant''s name');

select is(pg_temp.claim('a_open', 'member'), 'ok', 'one''s own can be recorded');
select is((select tenant_id from public.documents where source_id = tests.id('source a_open')), tests.tenant('a'), 'the tenant is filled in');
select is(pg_temp.claim('a_open', 'member'), '23505', 'once');
select is(pg_temp.claim('a_found', 'both'), 'ok', 'what the backend uploaded and nobody has claimed');
select is((select owner_id from ai.sources where id = tests.id('source a_found')), tests.person('both'), 'is theirs then');
select is((select owner_id from ai.chunks where source_id = tests.id('source a_found')), tests.person('both'), 'with its chunks');
select is(pg_temp.claim('a_found', 'member'), 'PT404 not_found', 'first come, first served');
select is(pg_temp.claim('b_found', 'backend_a', 'member'), 'PT404 not_found', 'a backend claims nothing in another tenant');
select is(pg_temp.claim('a_secret', 'backend_a', 'b_member'), 'PT404 not_found', 'nor for people outside its own');
select is(pg_temp.claim('a_secret', 'backend_a', 'member'), 'ok', 'but for its members');

select tests.as_service();
select is(
  tests.outcome(format('insert into public.documents (source_id, owner_id) values (%L, %L)', tests.id('source a_boss'), tests.person('admin'))), 'ok',
  'recipe 3: the secret key records who owns an upload'
);
select is(
  tests.outcome(format('insert into public.documents (source_id, owner_id, tenant_id) values (%L, %L, %L)', tests.id('source b_found'), tests.person('admin'), tests.tenant('a'))),
  'PT404 not_found', 'but cannot say another tenant than the source''s'
);

select * from finish();
rollback;
