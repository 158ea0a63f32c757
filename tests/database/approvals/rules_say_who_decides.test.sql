-- Role, group, four eyes and quorum of an approval: who decides, who reads it, and that it stays so until the answer.
begin;
select plan(67);
select tests.make_world();

create function pg_temp.start(who text)
returns void
language plpgsql
as $$
begin
  perform tests.sign_in(who);
  perform tests.keep('run', ai.start_run(tests.id('agent a'), message => 'x', multitask_strategy => 'queue')::text);
end;
$$;
create function pg_temp.id() returns uuid language sql as $$ select (tests.kept('run')::jsonb ->> 'id')::uuid; $$;
create function pg_temp.lease() returns uuid language sql as $$ select (tests.kept('run')::jsonb ->> 'lease_token')::uuid; $$;
create function pg_temp.ask(call_id text, rule jsonb, tool_input jsonb default '{"to": "x"}')
returns text
language plpgsql
as $$
begin
  perform tests.as_service();
  return tests.outcome(format(
    'select tests.keep(''asked'', ai.request_approval(%L, %L, %L, ''mail'', %L, ''Send?'', rule => %L)::text)', pg_temp.id(), pg_temp.lease(), call_id, tool_input, rule
  ));
end;
$$;
create function pg_temp.asked() returns uuid language sql as $$ select (tests.kept('asked')::jsonb ->> 'approval_id')::uuid; $$;
create function pg_temp.decide(who text, approved boolean default true, claims jsonb default '{}', input_hash text default null)
returns text
language plpgsql
as $$
begin
  perform tests.sign_in(who, claims);
  return tests.outcome(format(
    'select tests.keep(''decided'', ai.decide_approval(%L::uuid, %L, null, %L)::text)', pg_temp.asked(), approved, input_hash
  ));
end;
$$;
create function pg_temp.sees(who text)
returns boolean
language plpgsql
as $$
begin
  perform tests.sign_in(who);
  return exists (select from ai.approvals where id = pg_temp.asked());
end;
$$;
create function pg_temp.status()
returns text
language plpgsql
as $$
begin
  perform tests.as_superuser();
  return (select status from ai.approvals where id = pg_temp.asked());
end;
$$;

-- Without a rule, by id.
select pg_temp.start('member');
select is(pg_temp.ask('c1', '{}'), 'ok', 'a call waits');
select is(
  (tests.kept('asked')::jsonb ->> 'expires_at')::timestamptz, now() + interval '7 days', 'for a week unless its rule says otherwise'
);
select is(tests.kept('asked')::jsonb -> 'is_announced', 'false', 'nobody has been told of it');
select is(pg_temp.decide('viewer'), 'PT404 approval_not_found', 'a viewer does not decide');
select tests.keep('answer', tests.kept('last_message'));
select is(pg_temp.decide('b_owner'), 'PT404 approval_not_found', 'nor the owner of another tenant');
select tests.sign_in('viewer');
select is(tests.outcome(format('select ai.decide_approval(%L::uuid, true)', gen_random_uuid())), 'PT404 approval_not_found', 'an approval there is not');
select is(tests.kept('last_message'), tests.kept('answer'), 'is answered the same');
select is(tests.outcome('select ai.decide_approval(null::uuid, true)'), 'PT404 approval_not_found', 'so is none');
select is(pg_temp.decide('member', input_hash => repeat('0', 64)), 'PT409 conflict', 'who has seen another call does not decide about this one');
select is(pg_temp.decide('member', input_hash => tests.kept('asked')::jsonb ->> 'input_hash'), 'ok', 'who has seen it does');
select is(pg_temp.decide('member', false), 'PT404 approval_not_found', 'once');

-- A role.
select is(pg_temp.ask('c2', '{"role": "admin"}'), 'ok', 'an admin is to decide');
select is(pg_temp.decide('member'), 'PT404 approval_not_found', 'the person of the run is none');
select is(pg_temp.sees('member'), true, 'they see that they wait');
select tests.sign_in('member');
select is((select count(*)::int from ai.approvals_to_decide()), 0, 'but not as something to decide');
select tests.sign_in('admin');
select is((select array_agg(id) from ai.approvals_to_decide()), array[pg_temp.asked()], 'the admin does');
select tests.sign_in('b_owner');
select is((select count(*)::int from ai.approvals_to_decide()), 0, 'nobody does in another tenant');
select is(
  pg_temp.decide('admin', claims => jsonb_build_object('act', jsonb_build_object('sub', 'agent', 'agent_id', tests.id('agent a')))), 'PT404 approval_not_found',
  'an agent that acts for the admin is not the admin'
);
select is(pg_temp.decide('admin', claims => '{"act": null}'), 'PT404 approval_not_found', 'nor whatever else acts for them');
select tests.as_superuser();
update public.memberships set role = 'member' where tenant_id = tests.tenant('a') and user_id = tests.person('admin');
select is(pg_temp.decide('admin'), 'PT404 approval_not_found', 'who is an admin no longer does not decide');
select tests.as_superuser();
update public.memberships set role = 'admin' where tenant_id = tests.tenant('a') and user_id = tests.person('admin');
select is(pg_temp.decide('admin'), 'ok', 'who is one does');
select is(pg_temp.ask('c3', '{"role": "owner"}'), 'ok', 'an owner is to decide');
select is(pg_temp.decide('admin'), 'PT404 approval_not_found', 'an admin is not enough');
select is(pg_temp.decide('backend_a'), 'PT404 approval_not_found', 'the backend neither');
select is(pg_temp.decide('owner', false), 'ok', 'an owner is');

-- A group, which `viewer` is in.
select is(pg_temp.ask('c4', '{"group_id": "33333333-3333-4333-8333-333333333333"}'), 'ok', 'the claims desk is to decide');
select is(pg_temp.decide('owner'), 'PT404 approval_not_found', 'who is not in the group does not, the owner neither');
select is(pg_temp.sees('viewer'), true, 'who is in it sees what is to be decided');
select is(pg_temp.sees('both'), false, 'who is not does not');
select tests.sign_in('viewer');
select is((select array_agg(id) from ai.approvals_to_decide()), array[pg_temp.asked()], 'also as something to decide');
select tests.as_superuser();
delete from public.group_members where group_id = '33333333-3333-4333-8333-333333333333';
select is(pg_temp.decide('viewer'), 'PT404 approval_not_found', 'who has left the group does not decide');
select tests.as_superuser();
insert into public.group_members (tenant_id, group_id, user_id)
values (tests.tenant('a'), '33333333-3333-4333-8333-333333333333', tests.person('viewer'));
select is(pg_temp.decide('viewer'), 'ok', 'who is in it does');
select is(
  pg_temp.ask('c5', '{"group_id": "33333333-3333-4333-8333-333333333333", "role": "member"}'), 'ok', 'members of the desk are to decide'
);
select is(pg_temp.decide('viewer'), 'PT404 approval_not_found', 'a viewer in the group is not one');
select tests.as_superuser();
delete from public.groups where id = '33333333-3333-4333-8333-333333333333';
select is(pg_temp.decide('owner'), 'PT404 approval_not_found', 'with the group gone it is nobody''s decision');
select is(pg_temp.status(), 'pending', 'rather than everybody''s');

-- Four eyes.
select is(pg_temp.ask('c6', '{"four_eyes": true}'), 'ok', 'another person is to decide');
select is(pg_temp.decide('member'), 'PT404 approval_not_found', 'not the one of the run');
select is(pg_temp.decide('backend_a'), 'PT404 approval_not_found', 'nor the backend, which is nobody');
select is(
  pg_temp.decide('admin', claims => '{"act": {"sub": "service_key"}}'), 'PT404 approval_not_found', 'nor somebody in whose name it speaks'
);
select is(pg_temp.decide('admin'), 'ok', 'an admin is another person');
select pg_temp.start('admin');
select is(pg_temp.ask('c1', '{"four_eyes": true, "role": "admin"}'), 'ok', 'an admin''s own run');
select is(pg_temp.decide('admin'), 'PT404 approval_not_found', 'is not decided by the admin');
select is(pg_temp.decide('owner'), 'ok', 'but by another');

-- Several.
select pg_temp.start('member');
select is(pg_temp.ask('c1', '{"role": "viewer", "quorum": 2}'), 'ok', 'two are to decide');
select is(pg_temp.decide('member'), 'ok', 'the first');
select is(
  tests.kept('decided')::jsonb, jsonb_build_object('status', 'waiting', 'approval_id', pg_temp.asked(), 'approvals', 1, 'quorum', 2), 'is not enough'
);
select is(pg_temp.decide('member'), 'PT409 conflict', 'and does not count twice');
select tests.sign_in('member');
select is((select count(*)::int from ai.approvals_to_decide()), 0, 'nor is asked again');
select is(
  tests.outcome(format('select ai.decide_approval(%L, true)', tests.kept('run')::jsonb ->> 'run_id')), 'PT404 approval_not_found', 'by the run neither'
);
select is(pg_temp.status(), 'pending', 'it waits');
select is(pg_temp.decide('admin', claims => '{"act": {"sub": "service_key"}}'), 'PT404 approval_not_found', 'the backend is not the second, whatever name it uses');
select tests.as_superuser();
delete from public.memberships where tenant_id = tests.tenant('a') and user_id = tests.person('member');
select is(pg_temp.decide('viewer'), 'ok', 'the second');
select is(tests.kept('decided')::jsonb ->> 'status', 'waiting', 'is the first again, when that one has left since');
select tests.as_superuser();
insert into public.memberships (tenant_id, user_id, role) values (tests.tenant('a'), tests.person('member'), 'member');
select is(pg_temp.decide('owner'), 'ok', 'with another');
select is(tests.kept('decided')::jsonb ->> 'status', 'resumed', 'it is enough');
select tests.sign_in('admin');
select is(
  (select jsonb_agg(jsonb_build_array(user_id, approved) order by created_at, user_id) from ai.approval_decisions where approval_id = pg_temp.asked()),
  (
    select jsonb_agg(jsonb_build_array(tests.person(who), true) order by tests.person(who))
    from unnest(array['member', 'viewer', 'owner']) as who
  ), 'who has said what can be read'
);
select is(
  tests.outcome(format('insert into ai.approval_decisions (tenant_id, approval_id, principal_id, approved) values (%L, %L, %L, true)', tests.tenant('a'), pg_temp.asked(), gen_random_uuid())),
  '42501', 'and written by nobody'
);
select is(pg_temp.ask('c2', '{"role": "viewer", "quorum": 3}'), 'ok', 'three are to decide');
select is(pg_temp.decide('admin', true), 'ok', 'one approves');
select is(pg_temp.decide('viewer', false), 'ok', 'one denies');
select is(pg_temp.status(), 'denied', 'and that is that');

-- What is no rule is not asked under.
select is(pg_temp.ask('c9', '{"role": "nobody"}'), 'PT400 invalid_request', 'an unknown role');
select is(pg_temp.ask('c9', '{"quorum": 0}'), 'PT400 invalid_request', 'nobody at all');
select is(pg_temp.ask('c9', '{"expires_in_seconds": 3456001}'), 'PT400 invalid_request', 'more than forty days');
select is(pg_temp.ask('c9', '{"expires_in_seconds": 3456000}'), 'ok', 'forty days');
select is((tests.kept('asked')::jsonb ->> 'expires_at')::timestamptz, now() + interval '40 days', 'are waited');

select * from finish();
rollback;
