-- membership_changed and approval_changed: ids on the private topics of those they concern, and nothing on others.
begin;
select plan(14);
select tests.make_world();
create function pg_temp.told() returns table (who text, event text, what text) language sql as $$
  select tests.name_of(substr(topic, 6)::uuid), event, coalesce(payload ->> 'change', payload ->> 'status')
  from realtime.messages
  where topic like 'chat:%' and event in ('membership_changed', 'approval_changed');
$$;
create function pg_temp.hush() returns void language sql as 'delete from realtime.messages';

select pg_temp.hush();
select tests.sign_in('admin');
update public.memberships set role = 'member' where user_id = tests.person('viewer');
select tests.as_superuser();
select set_eq('select * from pg_temp.told()', $$values ('viewer', 'membership_changed', 'role')$$, 'another role: the person is told, whoever did it');
select is(
  (select payload - 'id' from realtime.messages where event = 'membership_changed'),
  jsonb_build_object('tenant_id', tests.tenant('a'), 'change', 'role', 'role', 'member'), 'where, and which'
);
select is((select bool_and(private and extension = 'broadcast') from realtime.messages), true, 'on the private topic');
select pg_temp.hush();
update public.memberships set role = role where user_id = tests.person('viewer');
select is_empty('select * from pg_temp.told()', 'the same role is no news');

select tests.sign_in('admin');
delete from public.memberships where user_id = tests.person('viewer');
select tests.as_superuser();
select set_eq(
  'select * from pg_temp.told()', $$values ('viewer', 'membership_changed', 'removed'), ('viewer', 'membership_changed', 'groups')$$, 'removed: the person alone is told'
);
select pg_temp.hush();
insert into public.memberships (tenant_id, user_id, role) values (tests.tenant('a'), tests.person('viewer'), 'viewer');
select set_eq('select * from pg_temp.told()', $$values ('viewer', 'membership_changed', 'added')$$, 'added');
select pg_temp.hush();
insert into public.group_members (tenant_id, group_id, user_id)
values (tests.tenant('a'), '33333333-3333-4333-8333-333333333333', tests.person('viewer'));
select set_eq('select * from pg_temp.told()', $$values ('viewer', 'membership_changed', 'groups')$$, 'into a group');
select is_empty($$select from realtime.messages where topic not like 'chat:%'$$, 'on no other topic');

-- Approvals: the person of the run, and who may decide.
create function pg_temp.ask(call text, role text, group_id uuid, four_eyes boolean) returns void language sql as $$
  insert into ai.approvals (tenant_id, run_id, user_id, call_id, tool_name, tool_input, input_hash, expires_at, decider_role, decider_group_id, four_eyes)
  select runs.tenant_id, runs.id, runs.user_id, call, 'send_mail', '{"to": "secret"}', repeat('a', 64), now() + interval '1 day', role, group_id, four_eyes
  from ai.agent_runs as runs
  where runs.user_id = tests.person('member') and runs.tenant_id = tests.tenant('a')
  limit 1;
$$;
select pg_temp.hush();
select pg_temp.ask('one', null, null, false);
select set_eq(
  'select * from pg_temp.told()', $$select who, 'approval_changed' as event, 'pending' as what from unnest(array['member', 'admin', 'owner']) as who$$,
  'asked: the person of the run and the admins of the tenant'
);
select is(
  (select array_agg(distinct key order by key) from realtime.messages cross join lateral jsonb_object_keys(payload - 'id') as key),
  array['approval_id', 'run_id', 'status', 'tenant_id'], 'ids and a state, nothing of the call'
);
select ok((select bool_and(exists (select from ai.agent_runs where agent_runs.run_id = payload ->> 'run_id')) from realtime.messages), 'the run by the name clients know');
select pg_temp.hush();
update ai.approvals set status = 'denied', decided_at = now() where call_id = 'one';
select set_eq(
  'select * from pg_temp.told()', $$select who, 'approval_changed' as event, 'denied' as what from unnest(array['member', 'admin', 'owner']) as who$$, 'decided: the same'
);
select pg_temp.hush();
select pg_temp.ask('two', null, '33333333-3333-4333-8333-333333333333', true);
select set_eq(
  'select * from pg_temp.told()', $$select who, 'approval_changed' as event, 'pending' as what from unnest(array['member', 'viewer']) as who$$,
  'a group decides: the person of the run and the group'
);
-- Nobody is told who could not decide: for every rule the deciders among those told are all deciders there are.
select set_eq(
  $$select who from pg_temp.told() where who <> 'member'$$,
  $$
    select tests.name_of(memberships.user_id)
    from public.memberships, ai.approvals
    where memberships.tenant_id = tests.tenant('a') and approvals.call_id = 'two' and private.is_decider(approvals, memberships.user_id)
  $$,
  'exactly those who may decide'
);

select * from finish();
rollback;
