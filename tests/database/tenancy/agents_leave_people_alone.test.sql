-- An agent acts with the rights of whoever asks it. Who is in a tenant, and as what, is none of its business even so.
begin;
select plan(20);
select tests.make_world();
select tests.as_superuser();
update public.invitations set email = 'outsider@bulkhead.example' where id = tests.id('invitation a');

create table pg_temp.acts (statement text);
insert into pg_temp.acts
values
  ($$update public.tenants set name = 'Mine' where id = tests.tenant('a')$$),
  ($$delete from public.tenants where id = tests.tenant('a')$$),
  ($$update public.memberships set role = 'admin' where user_id = tests.person('member')$$),
  ($$delete from public.memberships where user_id = tests.person('viewer')$$),
  ($$insert into public.invitations (tenant_id, email, role) values (tests.tenant('a'), 'x@evil.example', 'owner')$$),
  ($$delete from public.invitations where id = tests.id('invitation a')$$),
  ($$insert into public.groups (tenant_id, name) values (tests.tenant('a'), 'Mine')$$),
  ($$insert into public.group_members (tenant_id, group_id, user_id) values (tests.tenant('a'), '33333333-3333-4333-8333-333333333333', tests.person('member'))$$),
  ($$select public.create_tenant('Mine')$$);
grant select on pg_temp.acts to public;

create function pg_temp.done(statement text, claims jsonb)
returns text
language plpgsql
as $$
begin
  perform tests.sign_in('owner', claims);
  return tests.outcome_undone(statement);
end;
$$;

select is(
  pg_temp.done(acts.statement, '{"act": {"sub": "agent", "agent_id": "00000000-0000-4000-8000-000000000000", "run_id": "run_1"}}'), 'PT403 forbidden',
  'an agent of the owner: ' || acts.statement
)
from pg_temp.acts;
select is(pg_temp.done(acts.statement, '{}'), 'ok', 'the owner: ' || acts.statement) from pg_temp.acts;

select tests.sign_in('outsider', '{"act": {"sub": "agent", "run_id": "run_1"}}');
select is(tests.outcome($$select public.accept_invitation(tests.id('invitation a'))$$), 'PT403 forbidden', 'nor does it accept an invitation');
select tests.sign_in('outsider', '{"act": {"sub": "service_key"}}');
select is(tests.outcome($$select public.accept_invitation(tests.id('invitation a'))$$), 'ok', 'a backend that acts for the person may');

select * from finish();
rollback;
