-- However many runs wait, and whatever the statistics and the plans that are kept say: finding the next ones, claiming one and ending one read a few rows.
begin;
select plan(14);
select tests.make_world();

-- Rows and entries of indexes of ai.agent_runs that this transaction has read so far.
create function pg_temp.reads() returns bigint language sql as $$
  select sum(pg_stat_get_xact_tuples_returned(oid))::bigint
  from (
    select 'ai.agent_runs'::regclass::oid as oid
    union all
    select indexrelid from pg_index where indrelid = 'ai.agent_runs'::regclass
  ) as parts;
$$;

-- Runs with sessions of their own, or all in one.
create function pg_temp.add_runs(count int, status text, one_session boolean default false, priority text default 'normal') returns void language sql as $$
  with sessions as (
    insert into ai.agent_sessions (tenant_id, session_id, agent_id, user_id)
    select tests.tenant('a'), 'many-' || gen_random_uuid(), tests.id('agent a'), tests.person('member')
    from generate_series(1, case when one_session then 1 else count end)
    returning id
  ),
  runs as (
    insert into ai.agent_runs (tenant_id, session_id, agent_id, user_id, principal_id, status, priority, completed_at, started_at, created_at)
    select
      tests.tenant('a'), sessions.id, tests.id('agent a'), tests.person('member'), tests.person('member'), add_runs.status, add_runs.priority,
      case when add_runs.status = 'completed' then now() end, case when add_runs.status = 'completed' then now() end,
      now() + part * interval '1 millisecond' - case when one_session then interval '0' else interval '1 hour' end
    from sessions, generate_series(1, case when one_session then add_runs.count else 1 end) as part
    returning id
  )
  insert into private.run_requests (run_id, tenant_id, request) select id, tests.tenant('a'), '{"message": "hello"}' from runs;
$$;

-- How much is read by finding due runs, by claiming the first of them and by ending it.
create function pg_temp.take_one(out due_count int, out to_find bigint, out to_claim bigint, out to_finish bigint, out lease uuid) language plpgsql as $$
declare
  due uuid;
  at bigint := pg_temp.reads();
begin
  select count(*), (array_agg(id order by place))[1] into due_count, due
  from ai.due_runs(9, array[tests.tenant('a')]) with ordinality as due (id, tenant_id, place);
  to_find := pg_temp.reads() - at;
  at := pg_temp.reads();
  lease := ai.claim_run(due, 'worker', 10) ->> 'lease_token';
  to_claim := pg_temp.reads() - at;
  at := pg_temp.reads();
  perform ai.finish_run(due, lease, 'completed', 'Yes.');
  to_finish := pg_temp.reads() - at;
end;
$$;

select pg_temp.add_runs(20, 'completed');
select pg_temp.add_runs(12, 'pending');
analyze ai.agent_runs;
-- What executors keep plans from.
select pg_temp.take_one() from generate_series(1, 8);
create temporary table taken as select 'kept plans' as state, taken.* from pg_temp.take_one() as taken;

select pg_temp.add_runs(300, 'pending', one_session => true);
select pg_temp.add_runs(500, 'pending', priority => 'low');
select pg_temp.add_runs(900, 'pending');
insert into taken select 'many come', taken.* from pg_temp.take_one() as taken;

discard plans;
insert into taken select 'plans made anew', taken.* from pg_temp.take_one() as taken;

analyze ai.agent_runs;
insert into taken select 'statistics made anew', taken.* from pg_temp.take_one() as taken;

select is(due_count, 9, state || ': as many as are asked for') from taken where state <> 'kept plans';
select ok(lease is not null, state || ': one is claimed') from taken;
select cmp_ok(to_find, '<', 300::bigint, state || ': finding them') from taken where state <> 'kept plans';
-- Plans of checks of foreign keys are nobody's to make: where those are kept, they may read what the tenant has.
select cmp_ok(to_claim, '<', 200::bigint, state || ': claiming one') from taken where state like '% made anew';
select cmp_ok(to_finish, '<', 200::bigint, state || ': ending it') from taken where state like '% made anew';

select * from finish();
rollback;
