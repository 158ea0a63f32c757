-- A schedule has one job, for its next time, in the transaction that sets it.
begin;
select plan(36);
select tests.make_world();
delete from ai.schedules;
delete from pgboss.job;

create function pg_temp.jobs(schedule text) returns text language sql security definer as $$
  select coalesce(string_agg(
    job.state || ' ' || case
      when job.start_after <= now() then 'now'
      when job.start_after = (select schedules.next_run_at from ai.schedules where schedules.id = tests.id(schedule)) then 'then'
      else 'some time'
    end, ', ' order by job.state
  ), 'none')
  from pgboss.job where job.name = 'fire_schedule' and job.data = jsonb_build_object('id', tests.id(schedule));
$$;
create function pg_temp.add(name text, letter text default 'a') returns void language sql as $$
  insert into ai.schedules (id, tenant_id, agent_id, created_by, name, cron, message)
  values (tests.id(name), tests.tenant(letter), tests.id('agent ' || letter), tests.person(case letter when 'a' then 'member' else 'b_owner' end), name, '0 9 * * *', 'x');
$$;
create function pg_temp.plan(name text, at timestamptz) returns boolean language sql as $$
  select ai.plan_schedule(tests.id(name), '0 9 * * *', 'UTC', at);
$$;
create function pg_temp.due(name text) returns void language sql as $$
  update ai.schedules set next_run_at = now() - interval '2 days' where schedules.id = tests.id($1);
$$;
create function pg_temp.sweep(name text) returns jsonb language sql security definer as $$
  select private.run_sweep(sweeps.id, '{}', 4000, 2500) from private.sweeps where sweeps.name = $1;
$$;
create function pg_temp.turns() returns text[] language sql security definer as $$
  select array_agg(schedules.name order by job.priority desc, job.created_on, schedules.name)
  from pgboss.job join ai.schedules on schedules.id::text = job.data ->> 'id'
  where job.name = 'fire_schedule' and job.state < 'active';
$$;

-- Made, planned, changed.
select tests.sign_in('member');
insert into ai.schedules (tenant_id, agent_id, name, cron, message) values (tests.tenant('a'), tests.id('agent a'), 'Mine', '0 9 * * *', 'x');
select tests.as_superuser();
select is(
  (select array_agg(data order by id) from pgboss.job where name = 'fire_schedule'),
  (select array_agg(jsonb_build_object('id', id)) from ai.schedules), 'whoever makes a schedule queues it: an id and nothing else'
);
select is((select group_id from pgboss.job where name = 'fire_schedule'), tests.tenant('a')::text, 'for its tenant');
delete from ai.schedules;
select is_empty($$select id from pgboss.job where name = 'fire_schedule'$$, 'and a deleted one is not queued any more');

select pg_temp.add('daily');
select is(pg_temp.jobs('daily'), 'created now', 'a new one is to be planned, now');
select tests.as_service();
select is(pg_temp.plan('daily', now() + interval '1 day'), true, 'when it is');
select is(pg_temp.jobs('daily'), 'created then', 'it waits for its time');
select is((select count(*)::int from ai.due_schedule(tests.id('daily'))), 0, 'and a job too many would find nothing to do');
select is(ai.take_jobs('fire_schedule', 10), '[]', 'nobody takes it before');
update ai.schedules set cron = '0 10 * * *' where id = tests.id('daily');
select is(pg_temp.jobs('daily'), 'created now', 'changed, it is planned anew');
update ai.schedules set cron = '0 9 * * *' where id = tests.id('daily');
select pg_temp.plan('daily', now() + interval '2 days');
select is(pg_temp.jobs('daily'), 'created then', 'and its job is moved: there is one');
savepoint changed;
update ai.schedules set name = 'Every day' where id = tests.id('daily');
select is(pg_temp.jobs('daily'), 'created then', 'not by what has nothing to do with its time');
update ai.schedules set enabled = false where id = tests.id('daily');
select is(pg_temp.jobs('daily'), 'none', 'switched off, it has none');
update ai.schedules set enabled = true where id = tests.id('daily');
select is(pg_temp.jobs('daily'), 'created now', 'switched on, it has');
rollback to changed;
select is(pg_temp.jobs('daily'), 'created then', 'and what is undone was never queued');

-- Due: two take what is queued, and one run begins.
select pg_temp.due('daily');
select tests.keep('first', ai.take_jobs('fire_schedule', 10)::text);
select is((tests.kept('first')::jsonb -> 0 ->> 'subject'), tests.id('daily')::text, 'when its time has come it is taken');
select tests.as_superuser();
select private.enqueue('fire_schedule', jsonb_build_object('id', tests.id('daily')), now(), 'once more');
select tests.as_service();
select tests.keep('second', ai.take_jobs('fire_schedule', 10)::text);
select is((tests.kept('second')::jsonb -> 0 ->> 'subject'), tests.id('daily')::text, 'by two, should it be queued twice');
select is(
  ai.fire_due_schedule(tests.id('daily'), now() - interval '2 days', now() + interval '1 day') ->> 'outcome', 'fired', 'the first fires'
);
select is((select count(*)::int from ai.due_schedule(tests.id('daily'))), 0, 'the second finds it done');
select is(
  ai.finish_job('fire_schedule', (tests.kept('first')::jsonb -> 0 ->> 'id')::uuid, 0, true)
  and ai.finish_job('fire_schedule', (tests.kept('second')::jsonb -> 0 ->> 'id')::uuid, 0, true), true, 'both are done'
);
select is(pg_temp.jobs('daily'), 'created then', 'and the next time has been queued with the run');

-- Purged.
select tests.as_superuser();
select pg_temp.add('due'), pg_temp.add('new'), pg_temp.add('soon'), pg_temp.add('later'), pg_temp.add('off');
select pg_temp.plan(name, now() + span)
from (values ('due', interval '1 minute'), ('soon', interval '30 minutes'), ('later', interval '3 days'), ('off', interval '1 hour')) as plans (name, span);
select pg_temp.due('due');
update ai.schedules set enabled = false where name = 'off';
delete from pgboss.job where name = 'fire_schedule';
select tests.keep('lost', pg_temp.sweep('requeue_schedules')::text);
select is(
  (select array_agg(s.name order by s.name) from jsonb_array_elements(tests.kept('lost')::jsonb -> 'requeued') as lost (work) join ai.schedules as s on s.id::text = lost.work ->> 'id'),
  '{due,new,soon}', 'the sweep queues again what is due within the hour'
);
select is(
  (select array_agg(pg_temp.jobs(name)) from unnest(array['due', 'new', 'soon', 'later', 'off']) as name),
  '{created now,created now,created then,none,none}', 'each at its time'
);
select is(pg_temp.sweep('requeue_schedules') -> 'requeued', '[]', 'once');
update pgboss.job set start_after = now() + interval '1 year' where data ->> 'id' = tests.id('due')::text;
select is(jsonb_array_length(pg_temp.sweep('requeue_schedules') -> 'requeued'), 1, 'a job that somebody has put off');
select is(pg_temp.jobs('due'), 'created now', 'is called back');
update pgboss.job set state = 'active' where data ->> 'id' = tests.id('due')::text;
select is(pg_temp.sweep('requeue_schedules') -> 'requeued', '[]', 'one that is worked on is left to whoever works on it');

-- Turns: by how many of its tenant come before it, not by those of far-away times.
delete from ai.schedules;
delete from pgboss.job;
select pg_temp.add('a' || number) from generate_series(1, 3) as number;
select pg_temp.plan('a' || number, now() + interval '1 day') from generate_series(1, 3) as number;
select pg_temp.add('b1', 'b'), pg_temp.add('b2', 'b');
select pg_temp.due(name) from unnest(array['b1', 'b2', 'a1', 'a2', 'a3']) as name;
select is(
  (select array_agg(left(turn.name, 1) order by turn.place) from unnest(pg_temp.turns()) with ordinality as turn (name, place)),
  '{a,b,a,b,a}', 'tenants take turns'
);
select is(
  (select tenants_waiting from ai.queue_health() where queue = 'fire_schedule'), 2::bigint, 'the operator sees two tenants waiting'
);
update ai.schedules set next_run_at = now() + interval '1 day' where name like 'b%';
select is((select waiting || ' ' || deferred || ' ' || tenants_waiting from ai.queue_health() where queue = 'fire_schedule'), '3 2 1', 'those put off are not waiting');
select is_empty($$select 1 from ai.queue_tenants() where tenant_id = tests.tenant('b') and waiting_jobs > 0$$, 'nor are they counted for their tenant');

-- Fired in batches, as workers do, with a crowd of another tenant's that waits.
delete from ai.schedules;
delete from pgboss.job;
select pg_temp.add('a' || number) from generate_series(1, 30) as number;
select pg_temp.due('a' || number) from generate_series(1, 30) as number;
insert into pgboss.job (name, data, start_after, group_id, policy, singleton_key)
select 'fire_schedule', jsonb_build_object('id', gen_random_uuid()), now() + interval '1 minute', tests.tenant('b'), 'short', 'crowd ' || number
from generate_series(1, 2000) as number;
create function pg_temp.reads() returns bigint language sql as $$
  select sum(pg_stat_get_xact_tuples_returned(oid))::bigint
  from (
    select relid as oid from pg_partition_tree('pgboss.job')
    union all
    select indexrelid from pg_index where indrelid in (select relid from pg_partition_tree('pgboss.job'))
  ) as parts;
$$;
select tests.keep('reads', pg_temp.reads()::text);
do $$
declare
  batch jsonb;
begin
  for round in 1..3 loop
    update pgboss.job set state = 'active'
    where id in (select id from pgboss.job where name = 'fire_schedule' and state = 'created' and start_after <= now() and group_id = tests.tenant('a')::text order by priority desc limit 10);
    update ai.schedules set next_run_at = now() + interval '1 minute'
    where id::text in (select data ->> 'id' from pgboss.job where name = 'fire_schedule' and state = 'active');
    delete from pgboss.job where state = 'active';
  end loop;
end $$;
select is(
  (select array_agg(-priority order by priority desc) from pgboss.job where name = 'fire_schedule' and group_id = tests.tenant('a')::text),
  array(select generate_series(0, 29)), 'each takes the turn after the one before'
);
select tests.keep('reads', pg_temp.reads()::text);
update ai.schedules set enabled = false where id = tests.id('a1');
update ai.schedules set enabled = true where id = tests.id('a1');
delete from ai.schedules where id = tests.id('a2');
select cmp_ok(pg_temp.reads() - tests.kept('reads')::bigint, '<', 1000::bigint, 'who changes one reads nothing of another tenant''s');

-- Changed while somebody plans it.
update ai.schedules set next_run_at = null where id = tests.id('a3');
update pgboss.job set state = 'active' where data ->> 'id' = tests.id('a3')::text;
update ai.schedules set cron = '0 11 * * *' where id = tests.id('a3');
select is(pg_temp.plan('a3', now() + interval '1 day'), false, 'a plan for what it was');
select is(
  (select count(*)::int from pgboss.job where data ->> 'id' = tests.id('a3')::text and state = 'created' and start_after <= now()), 1, 'another job is there to plan what it is'
);

-- Nobody forges one.
select is((select count(*)::int from ai.due_schedule(gen_random_uuid())), 0, 'an id of nothing is nothing');
select tests.sign_in('owner');
select is(tests.outcome('select * from ai.due_schedule(gen_random_uuid())'), '42501', 'people ask for no schedule in this way');

select * from finish();
rollback;
