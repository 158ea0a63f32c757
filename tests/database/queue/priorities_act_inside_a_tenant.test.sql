begin;
select plan(52);
select tests.make_world();
delete from pgboss.job;

-- The queue as its workers see it: what would be picked, in order.
create function pg_temp.order_of(queue text) returns text[] language sql as $$
  select array_agg(sources.name order by job.priority desc, job.created_on, job.seq)
  from (select job.*, row_number() over (order by job.ctid) as seq from pgboss.job where job.name = queue and job.state < 'active') as job
  join ai.sources on sources.id::text = job.data ->> 'id';
$$;
create function pg_temp.make(letter text, number int, priority text default 'normal') returns void language sql as $$
  insert into ai.sources (id, tenant_id, name, file_type, mime_type, size_bytes, content_hash, storage_path, priority)
  select tests.id('doc ' || letter || number), tests.tenant(letter), letter || number, '.txt', 'text/plain', 1, encode(sha256((letter || number)::bytea), 'hex'),
    tests.tenant(letter) || '/' || tests.id('doc ' || letter || number) || '/x', make.priority
  on conflict (id) do update set priority = excluded.priority;
$$;
create function pg_temp.ask(name text, queue text default 'extract_source') returns uuid language sql as $$
  select ai.enqueue(queue, jsonb_build_object('id', tests.id('doc ' || name)), dedupe => tests.id('doc ' || name)::text);
$$;
create function pg_temp.turn(name text) returns int language sql as $$
  select -priority from pgboss.job where data ->> 'id' = tests.id('doc ' || turn.name)::text and state < 'active';
$$;
create function pg_temp.start(name text) returns void language sql as $$
  update pgboss.job set state = 'active', started_on = now() where data ->> 'id' = tests.id('doc ' || start.name)::text;
$$;
create function pg_temp.finish(name text) returns void language sql as $$
  delete from pgboss.job where data ->> 'id' = tests.id('doc ' || finish.name)::text;
$$;
-- Jobs of a tenant that share a turn.
create function pg_temp.shared() returns bigint language sql as $$
  select coalesce(sum(jobs - 1), 0)::bigint
  from (select count(*) as jobs from pgboss.job where state < 'active' and group_id is not null group by name, group_id, priority) as turns;
$$;

-- A bulk import of five, and what comes after it.
select count(pg_temp.make('a', number, case when number <= 5 then 'low' else 'normal' end)) from generate_series(1, 9) as number;
select count(pg_temp.make('b', number)) from generate_series(1, 4) as number;
select count(pg_temp.ask('a' || number)) from generate_series(1, 5) as number;
select pg_temp.ask('b1'), pg_temp.ask('b2');
select is(pg_temp.order_of('extract_source'), '{a1,b1,a2,b2,a3,a4,a5}', 'low ones alone are taken like others, and another tenant between them');
select pg_temp.ask('a6');
select is((pg_temp.order_of('extract_source'))[1:2], '{b1,a6}', 'a normal one takes the first turn that a low one of its tenant has');
select is(pg_temp.turn('a1'), 5, 'which takes the turn that the normal one would have had');
select pg_temp.ask('a7');
select is(array[pg_temp.turn('a6'), pg_temp.turn('a7'), pg_temp.turn('a3')], '{0,1,2}', 'the next normal one takes the next such turn: of normal ones, the oldest goes first');
select is(array[pg_temp.turn('b1'), pg_temp.turn('b2')], '{0,1}', 'the other tenant is where it was');
select is(pg_temp.ask('a7'), null, 'what waits already is not queued once more');
select is(array[pg_temp.turn('a7'), pg_temp.turn('a3')], '{1,2}', 'and moves nothing');
select pg_temp.ask('b3');
select is(pg_temp.turn('b3'), 2, 'and its next one takes the turn it would have taken');
select is(pg_temp.shared(), 0::bigint, 'no two of a tenant have one turn');

-- What is being worked on is left alone.
select pg_temp.start('b1'), pg_temp.start('a6'), pg_temp.start('b2'), pg_temp.start('a7'), pg_temp.finish('b1'), pg_temp.finish('a6'), pg_temp.start('a3');
select pg_temp.ask('a8');
select is(array[(select -priority from pgboss.job where data ->> 'id' = tests.id('doc a3')::text), pg_temp.turn('a8')], '{2,3}', 'a low one that has begun keeps its turn; the next one gives way');

-- What is tried again takes a new turn, of its class.
delete from pgboss.job;
select pg_temp.ask('a1'), pg_temp.ask('a2'), pg_temp.ask('a6'), pg_temp.ask('a7'), pg_temp.ask('a3');
select pg_temp.start('a6'), pg_temp.start('a7');
select is(pg_temp.order_of('extract_source'), '{a1,a2,a3}', 'behind two normal ones');
update pgboss.job set state = 'retry' where data ->> 'id' = tests.id('doc a6')::text;
select is(pg_temp.order_of('extract_source'), '{a6,a2,a3,a1}', 'a normal one that is put back goes before the low ones again');
delete from pgboss.job where data ->> 'id' = tests.id('doc a7')::text;
insert into pgboss.job (name, data, state, policy, singleton_key)
values ('extract_source', jsonb_build_object('id', tests.id('doc a7')), 'retry', 'short', tests.id('doc a7')::text);
select is(pg_temp.order_of('extract_source'), '{a6,a7,a3,a1,a2}', 'as does one that is inserted anew');
select pg_temp.start('a3');
update pgboss.job set state = 'retry' where data ->> 'id' = tests.id('doc a3')::text;
select is(pg_temp.order_of('extract_source'), '{a6,a7,a1,a2,a3}', 'a low one goes last');
select is(pg_temp.shared(), 0::bigint, 'and no two have one turn');

-- What is put off has no place that anybody could use yet.
delete from pgboss.job;
select pg_temp.ask('a1'), pg_temp.ask('a2');
update pgboss.job set start_after = now() + interval '1 hour' where data ->> 'id' = tests.id('doc a1')::text;
select pg_temp.ask('a6');
select is(array[pg_temp.turn('a1'), pg_temp.turn('a6'), pg_temp.turn('a2')], '{0,1,2}', 'a low one that is put off is not overtaken, the one behind it is');
update pgboss.job set start_after = now() + interval '1 hour' where data ->> 'id' = tests.id('doc a2')::text;
select pg_temp.ask('a7');
select is(array[pg_temp.turn('a1'), pg_temp.turn('a6'), pg_temp.turn('a2'), pg_temp.turn('a7')], '{0,1,2,3}', 'with none that could be taken, a normal one goes last');

-- Nobody but the row says what a job is.
delete from pgboss.job;
select pg_temp.ask('a6');
insert into pgboss.job (name, data, priority, group_tier, policy, singleton_key)
values ('extract_source', jsonb_build_object('id', tests.id('doc a1'), 'priority', 'normal'), 1000, null, 'short', 'forged');
insert into pgboss.job (name, data, group_tier, policy, singleton_key)
values ('extract_source', jsonb_build_object('id', tests.id('doc a7'), 'priority', 'low'), 'low', 'short', 'forged too');
select is(pg_temp.order_of('extract_source'), '{a6,a7,a1}', 'an edited job changes nothing');
select is(tests.outcome_undone($$update ai.sources set priority = 'high' where name = 'a1'$$), '23514', 'there is nothing above normal');

-- Indexing: as the source says; what is searchable already waits for what is not.
insert into ai.indexed_sources (id, tenant_id, knowledge_base_id, source_id, indexed_at)
select tests.id('doc in ' || number), tests.tenant('a'), tests.default_base('a'), tests.id('doc a' || number), case number when 7 then now() end
from unnest(array[1, 6, 7]) as number;
select is(
  array(select private.priority_of_job('index_source', tests.id('doc in ' || number)::text) from unnest(array[6, 1, 7]) as number), '{normal,low,low}',
  'indexing has the priority of the source, and is low when it is done anew'
);
select is(private.priority_of_job('render_pages', tests.id('doc a1')::text), 'low', 'so is drawing its pages');
select is(private.priority_of_job('remove_object', tests.id('doc a1')::text), null, 'other queues have no priorities');

-- Whatever the priorities of A's jobs, B's are picked at the same time, and have the same turns. Jobs come, are picked, end or are tried again.
create function pg_temp.play(class text) returns text[] language plpgsql as $$
declare
  seen text[] := '{}';
  dice int;
  letter text;
  picked record;
  numbers jsonb := '{"a": 100, "b": 100}';
begin
  delete from pgboss.job;
  for step in 1..400 loop
    dice := abs(hashtext('dice ' || step)) % 10;
    if dice < 5 then
      letter := case when dice < 4 then 'a' else 'b' end;
      numbers := numbers || jsonb_build_object(letter, (numbers ->> letter)::int + 1);
      perform pg_temp.make(
        letter, (numbers ->> letter)::int,
        case
          when letter = 'b' then 'normal'
          when class = 'mixed' then case abs(hashtext('mixed ' || step)) % 2 when 0 then 'low' else 'normal' end
          when class = 'late' then case when step < 100 then 'low' else 'normal' end
          else class
        end
      );
      insert into pgboss.job (name, data, created_on, policy, singleton_key)
      select 'extract_source', jsonb_build_object('id', tests.id('doc ' || letter || (numbers ->> letter))), now() + step * interval '1 second', 'short', letter || (numbers ->> letter);
      if letter = 'b' then
        seen := seen || ('b takes ' || pg_temp.turn('b' || (numbers ->> 'b')));
      end if;
    else
      select job.id, job.group_id into picked
      from pgboss.job
      where job.state < 'active' and job.start_after <= now()
      order by job.priority desc, job.created_on
      limit 1;
      continue when not found;
      update pgboss.job set state = 'active' where job.id = picked.id;
      seen := seen || case picked.group_id when tests.tenant('a')::text then 'a' else 'b' end;
      if dice = 9 then
        -- Some for ever, as far as this goes.
        update pgboss.job
        set state = 'retry', start_after = case abs(hashtext('put off ' || step)) % 3 when 0 then 'infinity' else job.start_after end
        where job.id = picked.id;
      else
        delete from pgboss.job where job.id = picked.id;
      end if;
    end if;
  end loop;
  return seen;
end;
$$;
update private.queue_limits set max_active_per_tenant = 100;
create temporary table played as select class, pg_temp.play(class) as seen from unnest(array['normal', 'low', 'mixed', 'late']) as class;
select cmp_ok((select cardinality(seen) from played where class = 'normal'), '>', 150, 'many were picked');
select is(seen, (select seen from played where class = 'normal'), class || ': another tenant does not notice') from played where class <> 'normal';
select isnt_empty($$select from pgboss.job where start_after = 'infinity'$$, 'also where some are put off');

-- Runs.
select is(tests.start_run('member', 's1', name => 'bulk', request => '{"background": true, "priority": "low"}'), 'ok', 'a run that can wait');
select is(tests.start_run('member', 's2', name => 'more', request => '{"background": true, "priority": "low"}'), 'ok', 'another');
select is(tests.start_run('member', 's3', name => 'now', request => '{"background": true}'), 'ok', 'one that says nothing');
select is(array(select priority from ai.agent_runs where id in (tests.run_id('bulk'), tests.run_id('now')) order by created_at), '{low,normal}', 'is normal');
select is(tests.start_run('member', 's4', name => 'high', request => '{"background": true, "priority": "high"}'), 'PT400 invalid_request', 'there is nothing above that');
select tests.as_service();
select is(array(select id from ai.due_runs()), array[tests.run_id('now'), tests.run_id('bulk'), tests.run_id('more')], 'normal ones first, then the oldest');
select is(array(select id from ai.due_runs(1)), array[tests.run_id('now')], 'also where there is room for one');
select is(tests.start_run('member', 's2', name => 'behind', request => '{"background": true}'), 'ok', 'a normal one that must wait for a low one of its session');
select tests.as_service();
select is(array(select id from ai.due_runs()), array[tests.run_id('more'), tests.run_id('now'), tests.run_id('bulk')], 'makes that normal');
select is(tests.start_run('b_member', 's1', agent => 'b', name => 'theirs', request => '{"background": true, "priority": "low"}'), 'ok', 'another tenant has low ones only');
select tests.as_service();
select is((select array_agg(id) from ai.due_runs(2)), array[tests.run_id('more'), tests.run_id('theirs')], 'and has its turn all the same');
select tests.as_superuser();
update ai.tenant_settings set max_running_runs = 1 where tenant_id = tests.tenant('a');
insert into ai.tenant_settings (tenant_id, max_running_runs) values (tests.tenant('a'), 1) on conflict (tenant_id) do nothing;
select private.end_run(tests.run_id('more'), 'cancelled'), private.end_run(tests.run_id('behind'), 'cancelled');
select is(tests.start_run('member', 's5', name => 'last', request => '{"background": true}'), 'ok', 'the youngest of all');
select is(tests.claim('now'), true, 'a run takes the only place');
select tests.forget_run_jobs();
select private.end_run(tests.run_id('now'), 'cancelled');
select is(array[tests.run_jobs('last'), tests.run_jobs('bulk')], '{1,0}', 'and at its end wakes somebody for the normal one');

update ai.tenant_settings set max_running_runs = 20 where tenant_id = tests.tenant('a');
select is(tests.start_run('member', 's6', name => 'begun', request => '{"background": true, "priority": "low"}'), 'ok', 'a low one');
select is(tests.claim('begun'), true, 'that is carried out');
select is(tests.start_run('member', 's6', name => 'follower', request => '{"background": true}'), 'ok', 'while a normal one comes');
select tests.as_service();
select is((select priority from ai.agent_runs where id = tests.run_id('begun')), 'normal', 'is normal too, should it be put back');
select tests.as_superuser();
select private.end_run(tests.run_id('begun'), 'cancelled'), private.end_run(tests.run_id('follower'), 'cancelled');

-- Schedules hand theirs on.
select tests.sign_in('member');
insert into ai.schedules (tenant_id, agent_id, name, cron, message, priority)
values (tests.tenant('a'), tests.id('agent a'), 'Nightly', '0 3 * * *', 'What is new?', 'low');
select is(tests.outcome_undone($$update ai.schedules set priority = 'high' where name = 'Nightly'$$), '23514', 'low or normal');
select tests.sign_in('admin');
select is(tests.outcome($$update ai.schedules set enabled = false, priority = 'normal' where name = 'Nightly'$$), 'PT403 forbidden', 'its creator says which');
select tests.as_superuser();
update ai.schedules set next_run_at = '2026-01-01 03:00Z' where name = 'Nightly';
select tests.keep('fired', private.fire_due_schedule(id, '2026-01-01 03:00Z', '2099-01-01 03:00Z')::text) from ai.schedules where name = 'Nightly';
select is(
  (select status || ' ' || priority from ai.agent_runs where id = (tests.kept('fired')::jsonb ->> 'id')::uuid), 'pending low', 'a low schedule makes low runs'
);

-- Registering.
create function pg_temp.register(name text, more text default '') returns text language sql as $$
  select tests.outcome(format(
    'select tests.keep(%L, ai.register_source(%L, %L, %L, 1, encode(sha256(%L), %L) %s) ->> %L)',
    name, name, '.txt', 'text/plain', name, 'hex', more, 'priority'
  ));
$$;
select tests.sign_in('member');
select is(pg_temp.register('plain') || ' ' || tests.kept('plain'), 'ok normal', 'a source is normal');
select is(pg_temp.register('heap', $$, priority => 'low'$$) || ' ' || tests.kept('heap'), 'ok low', 'unless it is said to be low');
select is(pg_temp.register('urgent', $$, priority => 'high'$$), 'PT400 invalid_request', 'and nothing else');
select is(tests.outcome($$update ai.sources set priority = 'normal' where name = 'heap'$$), '42501', 'which stays');

select * from finish();
rollback;
