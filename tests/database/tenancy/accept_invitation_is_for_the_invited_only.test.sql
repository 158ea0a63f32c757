begin;
select plan(26);

select tests.sign_in('admin');
select lives_ok(
  format($$insert into public.invitations (tenant_id, email, role) values (%L, 'outsider@bulkhead.example', 'member')$$, tests.tenant('a')),
  'an admin invites'
);
select is((select invited_by from public.invitations), tests.person('admin'), 'and is named as inviter');
select tests.keep('id', id::text) from public.invitations;
select is(
  tests.outcome(format($$insert into public.invitations (tenant_id, email) values (%L, 'outsider@bulkhead.example')$$, tests.tenant('a'))), '23505',
  'once per address while it is open'
);
select is(
  tests.outcome(format($$insert into public.invitations (tenant_id, email) values (%L, 'Someone@X.example')$$, tests.tenant('a'))), '23514',
  'addresses are in lower case'
);
select is(
  tests.outcome(format($$insert into public.invitations (tenant_id, email, expires_at) values (%L, 'x@x.example', now() + interval '1 year')$$, tests.tenant('a'))),
  '23514', 'and the offer is not for ever'
);
select is(
  tests.outcome(format($$insert into public.invitations (tenant_id, email, invited_by) values (%L, 'x@x.example', %L)$$, tests.tenant('a'), tests.person('owner'))),
  '42501', 'nobody invites in another name'
);

-- Everybody else who knows the id gets the answer that an unknown id gets.
select tests.keep('statement', format('select public.accept_invitation(%L)', tests.kept('id')));
select tests.sign_in('b_member');
select is(tests.outcome(tests.kept('statement')), 'PT404 not_found', 'another address');
select tests.keep('answer', tests.kept('last_message'));
select is(tests.outcome(format('select public.accept_invitation(%L)', gen_random_uuid())), 'PT404 not_found', 'an unknown id');
select is(tests.kept('last_message'), tests.kept('answer'), 'the two look alike');
select tests.sign_in('outsider', '{"email": "outsider@bulkhead.example", "user_metadata": {"email": "outsider@bulkhead.example"}}');
select tests.sign_in('b_member', '{"email": "outsider@bulkhead.example"}');
select is(tests.outcome(tests.kept('statement')), 'PT404 not_found', 'a claimed address counts for nothing');
select tests.as_anon();
select is(tests.outcome(tests.kept('statement')), '42501', 'nobody signed in');

select tests.as_superuser();
update auth.users set email_confirmed_at = null where id = tests.person('outsider');
select tests.sign_in('outsider');
select is(tests.outcome(tests.kept('statement')), 'PT404 not_found', 'an unconfirmed address');
select tests.as_superuser();
update auth.users set email_confirmed_at = now(), email = 'Outsider@Bulkhead.Example' where id = tests.person('outsider');
update public.invitations set expires_at = now() - interval '1 second';
select tests.sign_in('outsider');
select is(tests.outcome(tests.kept('statement')), 'PT404 not_found', 'an expired one');
select tests.as_superuser();
update public.invitations set expires_at = now() + interval '1 day';

select tests.sign_in('outsider');
select is_empty('select id from public.tenants', 'not a member before');
select is(tests.outcome(tests.kept('statement')), 'ok', 'the invited person accepts, whatever the case of their address');
select set_eq($$select role from public.memberships where user_id = tests.person('outsider')$$, array['member'], 'with the role that was offered');
select is(tests.outcome(tests.kept('statement')), 'PT404 not_found', 'not twice');

-- Accepting does not change a place one has already.
select tests.as_superuser();
insert into public.invitations (id, tenant_id, email, role)
values (tests.id('lower'), tests.tenant('a'), 'owner@harbor.example', 'viewer'), (tests.id('higher'), tests.tenant('a'), 'viewer@harbor.example', 'owner');
select tests.sign_in('owner');
select is((public.accept_invitation(tests.id('lower'))).role, 'owner', 'an owner stays owner');
select tests.sign_in('viewer');
select is((public.accept_invitation(tests.id('higher'))).role, 'viewer', 'a viewer does not rise by accepting');
select is_empty('select id from public.invitations', 'people who are no admins see no invitations');

-- An invitation is worth what its author may still give.
select tests.as_superuser();
delete from public.memberships where user_id in (tests.person('outsider'), tests.person('b_member')) and tenant_id = tests.tenant('a');
delete from public.invitations;
create function pg_temp.invite(author text, email text, role text) returns text language plpgsql security definer as $$
begin
  insert into public.invitations (tenant_id, email, role, invited_by)
  values (tests.tenant('a'), email, invite.role, case when author is not null then tests.person(author) end)
  returning tests.keep('id', id::text) into email;
  perform tests.keep('statement', format('select public.accept_invitation(%L)', tests.kept('id')));
  return email;
end;
$$;
create function pg_temp.accept_as(who text) returns text language plpgsql as $$
begin
  perform tests.sign_in(who);
  return tests.outcome_undone(tests.kept('statement'));
end;
$$;
select pg_temp.invite('admin', (select lower(users.email) from auth.users where users.id = tests.person('outsider')), 'admin');
select is(pg_temp.accept_as('outsider'), 'ok', 'while the admin is one, it is good');
select tests.as_superuser();
update public.memberships set role = 'member' where user_id = tests.person('admin') and tenant_id = tests.tenant('a');
select is(pg_temp.accept_as('outsider'), 'PT404 not_found', 'an author who was demoted can give nothing');
select tests.as_superuser();
delete from public.memberships where user_id = tests.person('admin') and tenant_id = tests.tenant('a');
select is(pg_temp.accept_as('outsider'), 'PT404 not_found', 'nor one who was removed');
select tests.as_superuser();
delete from public.invitations;
select pg_temp.invite('outsider', (select lower(users.email) from auth.users where users.id = tests.person('outsider')), 'owner');
insert into public.memberships (tenant_id, user_id, role) values (tests.tenant('a'), tests.person('outsider'), 'owner');
select is(pg_temp.accept_as('outsider'), 'PT404 not_found', 'nobody keeps a way back by inviting themselves');
select tests.as_superuser();
delete from public.memberships where user_id = tests.person('outsider') and tenant_id = tests.tenant('a');
delete from public.invitations;
select pg_temp.invite(null, (select lower(users.email) from auth.users where users.id = tests.person('outsider')), 'member');
select is(pg_temp.accept_as('outsider'), 'ok', 'one made with the secret key has no author and is good');
select tests.as_superuser();
delete from public.invitations;
select pg_temp.invite('admin', 'x@x.example', 'member');
delete from auth.users where id = tests.person('admin');
select is_empty('select id from public.invitations', 'an account that goes takes its invitations along');

select * from finish();
rollback;
