begin;
select plan(8);

-- As the auth server calls it.
create function pg_temp.hook(who text, claims jsonb default '{}')
returns jsonb
language plpgsql
as $$
declare
  event jsonb := jsonb_build_object('user_id', tests.person(who), 'claims', jsonb_build_object('sub', tests.person(who)) || claims);
begin
  perform tests.become('supabase_auth_admin', null);
  event := public.custom_access_token_hook(event);
  perform tests.as_superuser();
  return event -> 'claims';
end;
$$;

select is(pg_temp.hook('member') ->> 'tenant_id', tests.tenant('a')::text, 'one tenant: it is named');
select is(pg_temp.hook('member') ->> 'sub', tests.person('member')::text, 'the other claims stay');
select ok(not pg_temp.hook('both') ? 'tenant_id', 'two tenants: none is named');
select ok(not pg_temp.hook('outsider') ? 'tenant_id', 'no tenant: none');
select ok(not pg_temp.hook('outsider', jsonb_build_object('tenant_id', tests.tenant('a'))) ? 'tenant_id', 'a forged one is taken out');
select ok(not pg_temp.hook('both', jsonb_build_object('tenant_id', tests.tenant('a'))) ? 'tenant_id', 'also for people who could have chosen it');
select is(
  pg_temp.hook('member', jsonb_build_object('tenant_id', tests.tenant('b'))) ->> 'tenant_id', tests.tenant('a')::text, 'a foreign one is replaced'
);

select tests.sign_in('member');
select is(
  tests.outcome(format('select public.custom_access_token_hook(%L)', jsonb_build_object('user_id', tests.person('both'), 'claims', '{}'::jsonb))), '42501',
  'people cannot ask the hook about others'
);

select * from finish();
rollback;
