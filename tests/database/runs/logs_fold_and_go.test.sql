-- sweep_run_log: logs get smaller without a gap, and go when their time is over. tenant_settings: whose time that is.
begin;
select plan(37);
select tests.make_world();

create function pg_temp.sweep()
returns jsonb
language plpgsql
as $$
begin
  perform tests.as_service();
  return ai.sweep_run_log();
end;
$$;
create function pg_temp.end_it(ago interval, name text default 'run')
returns void
language plpgsql
as $$
begin
  perform tests.as_superuser();
  perform private.end_run(tests.run_id(name), 'cancelled');
  update ai.agent_runs set completed_at = now() - ago where id = tests.run_id(name);
end;
$$;
-- Numbers that the rows of a log stand for, and its text.
create function pg_temp.coverage() returns text language sql as $$
  select string_agg(concat_ws('-', payload ->> 'from_seq', seq) || ' ' || type, ', ' order by seq) from ai.run_events where run_id = tests.run_id();
$$;
create function pg_temp.told(kind text) returns text language sql as $$
  select string_agg(payload ->> 'delta', '' order by seq) from ai.run_events where run_id = tests.run_id() and type = kind;
$$;
-- Each row begins where the one before it ended, and each delta where the text before it did.
create function pg_temp.is_whole() returns boolean language sql as $$
  with covered as (
    select
      coalesce((payload ->> 'from_seq')::int, seq) as first, seq, lag(seq, 1, 0) over (order by seq) as before,
      type, (payload ->> 'off')::int as off,
      coalesce(sum(char_length(payload ->> 'delta')) filter (where type = 'content_delta') over (order by seq rows between unbounded preceding and 1 preceding), 0) as written
    from ai.run_events
    where run_id = tests.run_id()
  )
  select bool_and(first = before + 1 and (type <> 'content_delta' or off = written)) and max(seq) = private.last_event(tests.run_id()) from covered;
$$;

select tests.make_world() where false;
select pg_temp.sweep();
select tests.start_run('member');
select tests.append(1, jsonb_build_array(
  tests.event('start'), tests.delta('One', 0, '{"ts": "t1"}'), tests.delta(', ', 3, '{"ts": "t2"}'), tests.delta('two', 5), tests.event('tool_call'), tests.delta(' and', 8),
  tests.event('reasoning_delta', '{"delta": "Hm", "step": 1}'), tests.event('reasoning_delta', '{"delta": "m", "step": 1}'), tests.event('reasoning_delta', '{"delta": "So", "step": 2}'),
  tests.delta(' three', 12), tests.delta('.', 18)
));
select is(pg_temp.is_whole(), true, 'a log as it is written');
select tests.as_superuser();
update ai.agent_runs set created_at = now() - interval '1 day' where id = tests.run_id();
select is(pg_temp.sweep() ->> 'folded', '0', 'while it goes on it stays');
select pg_temp.end_it('4 minutes');
select is(pg_temp.sweep() ->> 'folded', '0', 'and for some minutes after');
select tests.as_superuser();
select is((select count(*)::int from ai.run_events where run_id = tests.run_id()), 12, 'event by event');
select pg_temp.end_it('6 minutes');
select tests.as_superuser();
update ai.agent_runs set completed_at = now() - interval '6 minutes' where id = tests.run_id();
select is(pg_temp.sweep(), '{"folded": 1, "removed": 0, "rolled_back": 0}'::jsonb, 'then it is folded');
select is(
  pg_temp.coverage(), '1 start, 2-4 content_delta, 5 tool_call, 6 content_delta, 7-8 reasoning_delta, 9 reasoning_delta, 10-11 content_delta, 12 complete',
  'neighbours of one kind become one'
);
select is(pg_temp.is_whole(), true, 'without a gap');
select is(pg_temp.told('content_delta'), 'One, two and three.', 'and no word is lost');
select is(pg_temp.told('reasoning_delta'), 'HmmSo', 'nor a thought');
select is(
  (select payload from ai.run_events where run_id = tests.run_id() and seq = 4), '{"event": "content_delta", "type": "content_delta", "delta": "One, two", "off": 0, "from_seq": 2}'::jsonb,
  'in the shape of an event'
);
select is(pg_temp.sweep() ->> 'folded', '0', 'once');
select is(pg_temp.is_whole(), true, 'and for good');
select tests.sign_in('member');
select is((select count(*)::int from ai.run_events where run_id = tests.run_id()), 8, 'the person reads it as before');
select tests.sign_in('viewer');
select is_empty(format('select seq from ai.run_events where run_id = %L', tests.run_id()), 'and nobody else');

-- Folding what was folded in part: a run taken up from a folded log would be.
select tests.as_superuser();
update ai.agent_runs set log_state = 'open' where id = tests.run_id();
select is(pg_temp.sweep() ->> 'folded', '1', 'a second time');
select is(pg_temp.coverage() || ' ' || pg_temp.told('content_delta'), '1 start, 2-4 content_delta, 5 tool_call, 6 content_delta, 7-8 reasoning_delta, 9 reasoning_delta, 10-11 content_delta, 12 complete One, two and three.', 'changes nothing');

-- Time is over.
select tests.append(1);
select tests.as_superuser();
insert into ai.run_steps (tenant_id, run_id, step, turn, calls) values (tests.tenant('a'), tests.run_id(), 1, '{}', '{"c": {}}');
update ai.agent_runs set completed_at = now() - interval '29 days' where id = tests.run_id();
select is(pg_temp.sweep() ->> 'removed', '0', 'a log is kept for thirty days');
select tests.as_superuser();
update ai.agent_runs set completed_at = now() - interval '31 days' where id = tests.run_id();
select is(pg_temp.sweep() ->> 'removed', '1', 'and no longer');
select tests.as_superuser();
select is((select count(*)::int from ai.run_events where run_id = tests.run_id()), 0, 'its events are gone');
select is((select count(*)::int from ai.run_steps where run_id = tests.run_id()), 0, 'with its journal');
select tests.sign_in('member');
select is((select status from ai.agent_runs where id = tests.run_id()), 'cancelled', 'the run itself stays');
select is(pg_temp.sweep() ->> 'removed', '0', 'once');

-- Whose time.
select tests.sign_in('member');
update ai.tenant_settings set run_event_days = 1;
select is_empty('select run_event_days from ai.tenant_settings', 'members do not read the settings');
select tests.sign_in('admin');
select is((select run_event_days from ai.tenant_settings), 30, 'nor have they changed them');
update ai.tenant_settings set run_event_days = 7;
select is((select run_event_days from ai.tenant_settings), 7, 'an admin does');
select is(tests.outcome('update ai.tenant_settings set max_running_runs = 1000'), '42501', 'but not what the operator sets');
select is(tests.outcome('update ai.tenant_settings set max_queued_runs = 1000'), '42501', 'nor how many wait');
select is(tests.outcome('update ai.tenant_settings set run_event_days = 0'), '23514', 'within reason');
select tests.start_run('member', name => 'harbor');
select tests.start_run('b_member', name => 'meridian', agent => 'b');
select pg_temp.end_it('8 days', 'harbor');
select pg_temp.end_it('8 days', 'meridian');
select tests.as_superuser();
select is(pg_temp.sweep(), '{"folded": 2, "removed": 1, "rolled_back": 0}'::jsonb, 'its time is over');
select tests.as_superuser();
select is((select count(*)::int from ai.run_events where run_id = tests.run_id('harbor')), 0, 'sooner');
select is((select count(*)::int from ai.run_events where run_id = tests.run_id('meridian')), 1, 'and that of others is not');
delete from ai.tenant_settings;
select tests.sign_in('admin');
select is(tests.outcome(format('insert into ai.tenant_settings (tenant_id, run_event_days) values (%L, 3)', tests.tenant('a'))), 'ok', 'an admin begins the settings');
select is((select max_running_runs || ' ' || max_queued_runs from ai.tenant_settings), '20 10000', 'with the defaults');

-- Rolled back.
select tests.start_run('member', 's', name => 'wrong');
select tests.start_run('member', 's', 'rollback', name => 'right');
select is(pg_temp.sweep() ->> 'rolled_back', '0', 'what another took the place of is there to its end');
select pg_temp.end_it('4 minutes', 'wrong');
select is(pg_temp.sweep() ->> 'rolled_back', '0', 'and some minutes');
select tests.as_superuser();
update ai.agent_runs set completed_at = now() - interval '6 minutes' where id = tests.run_id('wrong');
select is(pg_temp.sweep() ->> 'rolled_back', '1', 'then it goes');
select tests.as_superuser();
select is(
  (select array_agg(id) from ai.agent_runs where id in (tests.run_id('wrong'), tests.run_id('right'))), array[tests.run_id('right')], 'and only it'
);

select * from finish();
rollback;
