-- public.people() and public.my_invitations(): addresses go to colleagues and to nobody else.
begin;
select plan(28);
select tests.make_world();

select tests.sign_in('viewer');
select set_eq(
  format($$select user_id, email, role from public.people(%L)$$, tests.tenant('a')),
  $$
    values
      (tests.person('owner'), 'owner@harbor.example', 'owner'), (tests.person('admin'), 'admin@harbor.example', 'admin'),
      (tests.person('member'), 'member@harbor.example', 'member'), (tests.person('viewer'), 'viewer@harbor.example', 'viewer'),
      (tests.person('both'), 'both@bulkhead.example', 'member')
  $$,
  'a viewer sees who is in the tenant'
);
select is((select role from public.people(tests.tenant('a')) limit 1), 'owner', 'owners first');
select is(
  (select groups from public.people(tests.tenant('a')) where user_id = tests.person('viewer')),
  '[{"id": "33333333-3333-4333-8333-333333333333", "name": "Claims desk"}]', 'with their groups'
);
select is((select groups from public.people(tests.tenant('a')) where user_id = tests.person('admin')), '[]', 'or none');
select set_eq(
  format('select user_id, role, joined_at from public.people(%L)', tests.tenant('a')),
  format('select user_id, role, created_at from public.memberships where tenant_id = %L', tests.tenant('a')), 'the same rows as memberships'
);
select is_empty(format('select * from public.people(%L)', tests.tenant('b')), 'nobody of another tenant');
select is_empty('select * from public.people(gen_random_uuid())', 'as of one that does not exist');
select is_empty('select * from public.people(null)', 'or of none');
select tests.sign_in('both');
select is((select count(*)::int from public.people(tests.tenant('b'))), 3, 'who is in both sees both');
select is((select jsonb_array_length(groups) from public.people(tests.tenant('b')) where user_id = tests.person('b_member')), 1, 'with the groups of that one');
select tests.sign_in('both', headers => jsonb_build_object('x-tenant-id', tests.tenant('a')));
select is_empty(format('select * from public.people(%L)', tests.tenant('b')), 'a header narrows');
select tests.sign_in('outsider', '{"app_metadata": {"tenant_id": "11111111-1111-4111-8111-111111111111"}}');
select is_empty(format('select * from public.people(%L)', tests.tenant('a')), 'a claim makes nobody a member');
select tests.sign_in('backend_a');
select is((select count(*)::int from public.people(tests.tenant('a'))), 5, 'the backend sees the people of its tenant');
select is_empty(format('select * from public.people(%L)', tests.tenant('b')), 'and of no other');
select tests.as_superuser();
delete from public.memberships where user_id = tests.person('viewer');
select tests.sign_in('viewer');
select is_empty(format('select * from public.people(%L)', tests.tenant('a')), 'who was removed sees nobody');
select tests.sign_in('member');
select is((select count(*)::int from public.people(tests.tenant('a')) where email = 'viewer@harbor.example'), 0, 'and is seen by nobody');
select tests.as_anon();
select is(tests.outcome(format('select * from public.people(%L)', tests.tenant('a'))), '42501', 'who is not signed in may not ask');
select is(tests.outcome('select * from public.my_invitations()'), '42501', 'nor for invitations');

-- Invitations: what is listed is what can be accepted.
select tests.as_superuser();
delete from public.invitations;
insert into public.invitations (id, tenant_id, email, role, invited_by, created_at, expires_at, accepted_at)
values
  (tests.id('i good'), tests.tenant('a'), 'outsider@bulkhead.example', 'member', tests.person('admin'), now(), now() + interval '1 day', null),
  (tests.id('i from the backend'), tests.tenant('b'), 'outsider@bulkhead.example', 'viewer', null, now() - interval '1 hour', now() + interval '1 day', null),
  (tests.id('i of an admin who may not'), tests.tenant('a'), 'b_member@x.example', 'member', tests.person('admin'), now(), now() + interval '1 day', null),
  (tests.id('i used'), tests.tenant('a'), 'outsider@bulkhead.example', 'member', tests.person('admin'), now(), now() + interval '1 day', now()),
  (tests.id('i self'), tests.tenant('a'), 'admin@harbor.example', 'owner', tests.person('admin'), now(), now() + interval '1 day', null);
create function pg_temp.acceptable(who text) returns setof uuid language plpgsql as $$
declare
  invitation record;
begin
  for invitation in select id from pg_temp.all_invitations loop
    perform tests.sign_in(who);
    if tests.outcome_undone(format('select public.accept_invitation(%L)', invitation.id)) = 'ok' then
      return next invitation.id;
    end if;
  end loop;
end;
$$;
create table pg_temp.all_invitations as select id from public.invitations;
grant select on pg_temp.all_invitations to authenticated;

select tests.sign_in('outsider');
select results_eq(
  'select id, tenant_id, tenant_name, role, invited_by_email from public.my_invitations()',
  $$
    values
      (tests.id('i from the backend'), tests.tenant('b'), 'Meridian Health', 'viewer', null),
      (tests.id('i good'), tests.tenant('a'), 'Harbor Logistics', 'member', 'admin@harbor.example')
  $$,
  'the invited person is told where to, as what and by whom'
);
select set_eq('select id from public.my_invitations()', $$select pg_temp.acceptable('outsider')$$, 'they can accept exactly these');
select tests.sign_in('admin');
select set_eq('select id from public.my_invitations()', $$select pg_temp.acceptable('admin')$$, 'one''s own invitation to oneself is none');
select tests.sign_in('b_member');
select is_empty('select * from public.my_invitations()', 'others are told nothing');
select tests.sign_in('b_member', '{"email": "outsider@bulkhead.example"}');
select is_empty('select * from public.my_invitations()', 'whatever address they claim');
select tests.sign_in('outsider', jsonb_build_object('act', jsonb_build_object('sub', 'service_key')));
select is_empty('select * from public.my_invitations()', 'nor is who acts for the invited');
select tests.as_superuser();
update public.memberships set role = 'member' where user_id = tests.person('admin');
select tests.sign_in('outsider');
select set_eq('select id from public.my_invitations()', $$values (tests.id('i from the backend'))$$, 'an invitation is worth what its author may still give');
select set_eq('select id from public.my_invitations()', $$select pg_temp.acceptable('outsider')$$, 'here too, exactly what can be accepted');
select tests.as_superuser();
update public.invitations set expires_at = now() - interval '1 second' where invited_by is null;
select tests.sign_in('outsider');
select is_empty('select * from public.my_invitations()', 'and until it expires');
select tests.as_superuser();
update public.invitations set expires_at = now() + interval '1 day';
update auth.users set email_confirmed_at = null where id = tests.person('outsider');
select tests.sign_in('outsider');
select is_empty('select * from public.my_invitations()', 'an unconfirmed address is nobody''s');

select * from finish();
rollback;
