begin;
select plan(14);

select tests.sign_in('owner');
select is(
  tests.outcome($$update public.memberships set role = 'admin' where user_id = tests.person('owner')$$), 'PT409 last_owner',
  'the last owner cannot step down'
);
select is(
  tests.outcome($$delete from public.memberships where user_id = tests.person('owner')$$), 'PT409 last_owner', 'nor leave'
);
select is(
  tests.outcome($$update public.memberships set role = 'owner' where user_id = tests.person('admin')$$), 'ok', 'they can make another'
);
select isnt_empty($$update public.memberships set role = 'member' where user_id = tests.person('owner') returning role$$, 'and then step down');
select tests.sign_in('admin');
select is(
  tests.outcome($$delete from public.memberships where user_id = tests.person('admin')$$), 'PT409 last_owner', 'the new owner is the last now'
);
select tests.as_service();
select is(
  tests.outcome(format($$delete from public.memberships where tenant_id = %L and user_id = %L$$, tests.tenant('a'), tests.person('admin'))),
  'PT409 last_owner', 'the secret key is held to it as well'
);

select tests.sign_in('member');
select isnt_empty($$delete from public.memberships where user_id = tests.person('member') returning user_id$$, 'others may leave');
select is_empty($$delete from public.memberships returning user_id$$, 'and then remove nobody');

-- Owners and admins.
select tests.as_superuser();
update public.memberships set role = 'owner' where user_id = tests.person('owner');
update public.memberships set role = 'admin' where user_id = tests.person('admin');
select tests.sign_in('admin');
select is_empty($$update public.memberships set role = 'viewer' where user_id = tests.person('owner') returning role$$, 'admins do not demote owners');
select is_empty($$delete from public.memberships where user_id = tests.person('owner') returning role$$, 'or remove them');
select isnt_empty($$delete from public.memberships where user_id = tests.person('viewer') returning role$$, 'but they remove others');

-- A tenant or an account that goes takes its owners along.
select tests.as_superuser();
select lives_ok($$delete from auth.users where id = tests.person('owner')$$, 'an account can be deleted, also of a last owner');
select lives_ok($$delete from public.tenants where id = tests.tenant('b')$$, 'a tenant can be deleted with its owner');
select is_empty($$select user_id from public.memberships where tenant_id = tests.tenant('b')$$, 'nobody is left in it');

select * from finish();
rollback;
