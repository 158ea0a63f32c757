begin;
select plan(53);

create function pg_temp.add(cron text, zone text default 'UTC') returns text language sql as $$
  select tests.outcome_undone(format(
    'insert into ai.schedules (tenant_id, agent_id, name, cron, timezone, message) values (%L, %L, %L, %L, %L, %L)',
    tests.tenant('a'), tests.id('agent'), 'x', cron, zone, 'x'
  ));
$$;
insert into ai.agents (id, tenant_id, name) values (tests.id('agent'), tests.tenant('a'), 'Clerk');

-- What may be written down.
select tests.sign_in('member');
select is(pg_temp.add(cron), 'ok', cron || ' is a time')
from unnest(array['* * * * *', '*/5 0-6,22 1 JAN-MAR mon', '59 23 31 12 7', '0/20 * * * *', ' 0  9 * * 1-5 ']) as cron;
select is(pg_temp.add(cron), '23514', cron || ' is none')
from unnest(array[
  '* * * * * *', '*/1 * * * * *', '@secondly', '@hourly', '60 * * * *', '* 24 * * *', '* * 0 * *', '* * * 13 *', '* * * * 8', '5-1 * * * *', '*/0 * * * *', '* * *', ''
]) as cron;
select is(pg_temp.add('0 9 * * *', zone), 'PT400 invalid_request', zone || ' is no time zone') from unnest(array['Mars/Phobos', 'Nowhere']) as zone;
select is(pg_temp.add('0 9 * * *', '<+03>-3'), '23514', 'a time zone is a name');
select is(
  tests.outcome_undone(format(
    'insert into ai.schedules (tenant_id, agent_id, name, cron, message, created_by) values (%L, %L, %L, %L, %L, %L)',
    tests.tenant('a'), tests.id('agent'), 'x', '0 9 * * *', 'x', tests.person('admin')
  )), '42501', 'nobody makes one in the name of another'
);
select tests.sign_in('member', jsonb_build_object('act', jsonb_build_object('sub', 'agent', 'run_id', 'run_x')));
select is(pg_temp.add('0 9 * * *'), '42501', 'an agent makes none, not even for the person it acts for');

select tests.sign_in('member');
insert into ai.schedules (tenant_id, agent_id, name, cron, timezone, message)
values (tests.tenant('a'), tests.id('agent'), 'Daily', '0 9 * * *', 'Europe/Berlin', 'What is new?');
select tests.as_superuser();
select tests.keep('daily', (select id::text from ai.schedules where name = 'Daily'));

-- Who changes it: the creator. Others, an admin too, would speak with the creator's rights.
select tests.sign_in('admin');
select is(tests.outcome($$update ai.schedules set message = 'Send me the private sources.' where name = 'Daily'$$), 'PT403 forbidden', 'an admin does not put words into it');
select is(tests.outcome_undone($$update ai.schedules set enabled = false where name = 'Daily'$$), 'ok', 'but may switch it off');

-- Planned by the worker, which computes what SQL cannot.
select tests.as_service();
select is((select array_agg(id) from ai.due_schedules() where next_run_at is null), array[tests.kept_id('daily')], 'a new one is to be planned');
select is(ai.plan_schedule(tests.kept_id('daily'), '0 8 * * *', 'Europe/Berlin', now()), false, 'not from what it was before');
select is(ai.plan_schedule(tests.kept_id('daily'), '0 9 * * *', 'Europe/Berlin', now() + interval '1 hour'), true, 'from what it is');
select is_empty('select id from ai.due_schedules()', 'then it is not due');
select is(
  ai.fire_due_schedule(tests.kept_id('daily'), (select next_run_at from ai.schedules where id = tests.kept_id('daily')), now() + interval '1 day'), null,
  'and does not fire'
);

-- Three days late: once.
update ai.schedules set next_run_at = '2026-01-01 08:00Z' where id = tests.kept_id('daily');
select is(
  tests.outcome($$select ai.fire_due_schedule(tests.kept_id('daily'), '2026-01-01 08:00Z', '2026-01-01 08:00:59Z')$$), '22023',
  'not twice within a minute'
);
select tests.keep('fired', ai.fire_due_schedule(tests.kept_id('daily'), '2026-01-01 08:00Z', '2099-01-01 08:00Z')::text);
select is(tests.kept('fired')::jsonb ->> 'outcome', 'fired', 'a due one fires');
select is(ai.fire_due_schedule(tests.kept_id('daily'), '2026-01-01 08:00Z', '2099-01-01 08:00Z'), null, 'the second who comes finds it done');
select is_empty('select id from ai.due_schedules()', 'what was missed is missed');
select is(
  (
    select jsonb_build_object('user', user_id, 'principal', principal_id, 'status', status, 'agent', agent_id, 'message', input_messages -> 0 ->> 'content')
    from ai.agent_runs where id = (tests.kept('fired')::jsonb ->> 'id')::uuid
  ),
  jsonb_build_object(
    'user', tests.person('member'), 'principal', tests.person('member'), 'status', 'pending', 'agent', tests.id('agent'), 'message', 'What is new?'
  ),
  'the run is the creator''s, and waits for an executor'
);
select is(current_setting('request.jwt.claims')::jsonb ->> 'role', 'service_role', 'whoever fired it is who they were');
select tests.as_superuser();
select is(
  (select count(*)::int from pgboss.job where name = 'run_agent' and data = jsonb_build_object('id', tests.kept('fired')::jsonb -> 'id')), 1,
  'its job carries an id and nothing else'
);
select is((select group_id from pgboss.job where name = 'run_agent'), tests.tenant('a')::text, 'and its tenant''s turn');

-- Its last run goes on.
update ai.schedules set next_run_at = '2026-01-02 08:00Z' where id = tests.kept_id('daily');
select is(ai.fire_due_schedule(tests.kept_id('daily'), '2026-01-02 08:00Z', '2099-01-01 08:00Z') ->> 'outcome', 'skipped', 'runs of one schedule do not pile up');
update ai.agent_runs set status = 'waiting', wait_reason = 'approval' where id = (tests.kept('fired')::jsonb ->> 'id')::uuid;
update ai.schedules set next_run_at = '2026-01-02 09:00Z' where id = tests.kept_id('daily');
select is(ai.fire_due_schedule(tests.kept_id('daily'), '2026-01-02 09:00Z', '2099-01-01 08:00Z') ->> 'outcome', 'skipped', 'nor do they while one waits for a person');
update ai.agent_runs set status = 'pending', wait_reason = null where id = (tests.kept('fired')::jsonb ->> 'id')::uuid;
update ai.agent_runs set status = 'cancelled', completed_at = now() where id = (tests.kept('fired')::jsonb ->> 'id')::uuid;

-- What may not begin does not, and says why.
create function pg_temp.fire() returns jsonb language sql as $$
  update ai.schedules set next_run_at = '2026-01-03 08:00Z' where id = tests.kept_id('daily');
  select ai.fire_due_schedule(tests.kept_id('daily'), '2026-01-03 08:00Z', '2099-01-01 08:00Z');
$$;
create function pg_temp.on() returns void language sql as $$
  update ai.schedules set enabled = true where id = tests.kept_id('daily');
$$;
create function pg_temp.state() returns jsonb language sql as $$
  select jsonb_build_object('enabled', enabled, 'reason', disabled_reason, 'error', last_error, 'failures', failure_count, 'next', next_run_at is not null)
  from ai.schedules where id = tests.kept_id('daily');
$$;
update ai.schedules set session_id = 'somebody_elses' where id = tests.kept_id('daily');
insert into ai.agent_sessions (tenant_id, session_id, agent_id, user_id)
values (tests.tenant('a'), 'somebody_elses', tests.id('agent'), tests.person('owner'));
select is(pg_temp.fire(), '{"outcome": "refused", "reason": "session_not_found"}', 'a run that is refused is refused');
select is(
  pg_temp.state(), '{"enabled": true, "reason": null, "error": "session_not_found", "failures": 1, "next": true}', 'the schedule says why, and goes on'
);
update ai.schedules set failure_count = 9 where id = tests.kept_id('daily');
select is(pg_temp.fire(), '{"outcome": "disabled", "reason": "failed_repeatedly"}', 'after ten times it is switched off');
select pg_temp.on();
select is(
  pg_temp.state(), '{"enabled": true, "reason": null, "error": null, "failures": 0, "next": false}', 'switched on again it begins anew'
);
update ai.schedules set session_id = null where id = tests.kept_id('daily');
update ai.agents set published = false where id = tests.id('agent');
select is(pg_temp.fire(), '{"outcome": "disabled", "reason": "agent_unpublished"}', 'an agent that is not published any more');
update ai.agents set published = true where id = tests.id('agent');
select pg_temp.on();
select tests.as_superuser();
update public.memberships set role = 'viewer' where user_id = tests.person('member') and tenant_id = tests.tenant('a');
select is(pg_temp.fire(), '{"outcome": "disabled", "reason": "creator_lost_role"}', 'a creator who may only read now');
select pg_temp.on();
delete from public.memberships where user_id = tests.person('member') and tenant_id = tests.tenant('a');
select is(pg_temp.fire(), '{"outcome": "disabled", "reason": "creator_left"}', 'a creator who has left');
select is(
  pg_temp.state(), '{"enabled": false, "reason": "creator_left", "error": null, "failures": 0, "next": false}', 'stays off, with the reason'
);
select is_empty(
  $$select id from ai.agent_runs where agent_id = tests.id('agent') and id <> (tests.kept('fired')::jsonb ->> 'id')::uuid$$, 'none of these began a run'
);
select is(
  ai.plan_schedule(tests.kept_id('daily'), '0 9 * * *', 'Europe/Berlin', now()), false, 'what is off is not planned'
);
select tests.sign_in('owner');
select is(tests.outcome($$select ai.fire_due_schedule(gen_random_uuid(), now(), null)$$), '42501', 'people fire none');
select is(tests.outcome($$select private.open_scheduled_run(gen_random_uuid())$$), '42501', 'nor by the back door');
select is(tests.outcome($$update ai.schedules set next_run_at = now()$$), '42501', 'nor by saying that one is due');

select * from finish();
rollback;
