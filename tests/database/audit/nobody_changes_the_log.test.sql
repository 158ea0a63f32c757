-- X06: the audit log is append-only for everybody, the secret key and the owner of the table included, and what was done to it all the
-- same, by a superuser who takes the guards away, shows.
begin;
select plan(57);
select tests.make_world();
set constraints private.chain_audit immediate;
set constraints private.chain_audit deferred;

create function pg_temp.verified(letter text default 'a')
returns text
language plpgsql
as $$
declare
  answer jsonb;
begin
  perform tests.as_service();
  answer := ai.verify_audit(tests.tenant(letter));
  perform tests.as_superuser();
  return concat_ws(' ', answer ->> 'ok', answer ->> 'reason', answer ->> 'first_bad_seq');
end;
$$;
create function pg_temp.last_seq() returns bigint language sql stable as $$ select max(seq) from ai.audit_events where tenant_id = tests.tenant('a'); $$;

-- Everybody is refused.
create function pg_temp.attempts()
returns table (what text, statement text)
language sql
as $$
  values
    ('update', $s$update ai.audit_events set action = 'x.y'$s$),
    ('update of no row', $s$update ai.audit_events set action = 'x.y' where false$s$),
    ('delete', $s$delete from ai.audit_events$s$),
    ('truncate', $s$truncate ai.audit_events$s$),
    ('upsert', $s$
      insert into ai.audit_events select (jsonb_populate_record(audit_events, '{"action": "x.y"}')).* from ai.audit_events
      on conflict (tenant_id, seq) do update set action = excluded.action$s$),
    ('merge', $s$
      merge into ai.audit_events using (select 1) as one on true when matched then delete$s$)
$$;
select is(tests.outcome_undone(statement), 'PT403 forbidden', what || ' by a superuser, who owns the table') from pg_temp.attempts();
set local session_replication_role = replica;
select is(tests.outcome_undone(statement), 'PT403 forbidden', what || ' with ordinary triggers switched off') from pg_temp.attempts();
set local session_replication_role = origin;
select tests.as_service();
select is(tests.outcome_undone(statement), '42501', what || ' with the secret key') from pg_temp.attempts();
select is(
  tests.outcome_undone($$
    insert into ai.audit_events (tenant_id, seq, occurred_at, recorded_at, action, subject_type, subject_id, prev_hash, hash)
    values (tests.tenant('a'), 1000, now(), now(), 'x.y', 'x', 'x', repeat('0', 64), repeat('0', 64))$$),
  '42501', 'nor does the secret key add a row by hand'
);
select is(tests.outcome_undone('update private.audit_heads set seq = 1'), '42501', 'or move the end of a chain');
select is(tests.outcome_undone('delete from private.audit_pending'), '42501', 'or take back what waits to be chained');
select is(tests.outcome_undone('alter table ai.audit_events disable trigger all'), '42501', 'or take the guards away');
select is((select count(*) > 0 from ai.audit_events), true, 'it reads the log');
select tests.sign_in('owner');
select is(tests.outcome_undone(statement), '42501', what || ' by the owner of the tenant') from pg_temp.attempts();
select is(
  tests.outcome_undone($$select private.record_audit(tests.tenant('a'), 'x.y', 'x', 'x')$$), '42501', 'nor do people add events by hand'
);
select tests.as_superuser();
select is(pg_temp.verified('a'), 'true', 'nothing has changed');
select is(pg_temp.verified('b'), 'true', 'in either tenant');
select is(pg_temp.last_seq() > 15, true, 'and there is something to change');

-- What a superuser does who takes the guards away, each time to the same log.
create function pg_temp.tampered(statement text)
returns text
language plpgsql
as $$
declare
  answer text;
begin
  begin
    alter table ai.audit_events disable trigger all;
    execute statement;
    answer := pg_temp.verified();
    raise exception 'undo' using errcode = 'UNDO0';
  exception when sqlstate 'UNDO0' then
    null;
  end;
  return answer;
end;
$$;
select is(pg_temp.tampered('select 1'), 'true', 'nothing done, nothing found');
select is(
  pg_temp.tampered(format('update ai.audit_events set %s where tenant_id = tests.tenant(''a'') and seq = 7', change)),
  'false row_changed 7', 'another ' || split_part(change, ' ', 1)
)
from unnest(array[
  'id = gen_random_uuid()', 'occurred_at = occurred_at - interval ''1 microsecond''', 'recorded_at = recorded_at + interval ''1 microsecond''',
  'actor_id = tests.person(''member'')', 'act = ''{"sub": "agent"}''', 'action = ''x.y''', 'subject_type = ''x''', 'subject_id = ''x''',
  'run_id = gen_random_uuid()', 'detail = detail || ''{"x": 1}''', 'hash = repeat(''0'', 64)'
]) as change;
select is(
  pg_temp.tampered($$update ai.audit_events set prev_hash = repeat('0', 64) where tenant_id = tests.tenant('a') and seq = 7$$), 'false link_broken 7',
  'another predecessor'
);
select is(
  pg_temp.tampered($$
    update ai.audit_events set action = 'x.y' where tenant_id = tests.tenant('a') and seq = 7;
    update ai.audit_events set hash = private.audit_hash(audit_events) where tenant_id = tests.tenant('a') and seq = 7$$),
  'false link_broken 8', 'a row with a hash that fits it'
);
select is(pg_temp.tampered($$delete from ai.audit_events where tenant_id = tests.tenant('a') and seq = 7$$), 'false gap 7', 'a row gone');
select is(pg_temp.tampered($$delete from ai.audit_events where tenant_id = tests.tenant('a') and seq = 1$$), 'false gap 1', 'the first gone');
select is(
  pg_temp.tampered($$delete from ai.audit_events where tenant_id = tests.tenant('a') and seq = pg_temp.last_seq()$$),
  'false end_missing ' || pg_temp.last_seq(), 'the last gone'
);
select is(pg_temp.tampered($$delete from ai.audit_events where tenant_id = tests.tenant('a')$$), 'false end_missing 1', 'all gone');
select is(
  pg_temp.tampered($$update ai.audit_events set seq = seq + 1000000 where tenant_id = tests.tenant('a') and seq >= 7$$), 'false gap 7', 'others numbered anew'
);
select is(
  pg_temp.tampered($$
    insert into ai.audit_events
    select (jsonb_populate_record(audit_events, jsonb_build_object('seq', seq + 1, 'prev_hash', hash))).*
    from ai.audit_events where tenant_id = tests.tenant('a') and seq = pg_temp.last_seq()$$),
  'false row_changed ' || pg_temp.last_seq() + 1, 'one more at the end'
);
select is(
  pg_temp.tampered($$update private.audit_heads set hash = repeat('0', 64) where tenant_id = tests.tenant('a')$$), 'false head_changed ' || pg_temp.last_seq(),
  'another end'
);

-- A chain written anew as a whole fits itself. Who has noted its end before sees it.
create function pg_temp.rewrite()
returns void
language plpgsql
as $$
declare
  event ai.audit_events;
  last_hash text := repeat('0', 64);
begin
  for event in select * from ai.audit_events where tenant_id = tests.tenant('a') order by seq loop
    event.prev_hash := last_hash;
    event.subject_id := case event.seq when 7 then 'x' else event.subject_id end;
    last_hash := private.audit_hash(event);
    update ai.audit_events set subject_id = event.subject_id, prev_hash = event.prev_hash, hash = last_hash where tenant_id = event.tenant_id and seq = event.seq;
  end loop;
  update private.audit_heads set hash = last_hash where tenant_id = tests.tenant('a');
end;
$$;
select tests.keep('noted', (select hash from ai.audit_events where tenant_id = tests.tenant('a') and seq = 10));
alter table ai.audit_events disable trigger all;
select pg_temp.rewrite();
select is(pg_temp.verified(), 'true', 'a chain that was written anew fits itself');
select tests.as_service();
select is(
  ai.verify_audit(tests.tenant('a'), 10, tests.kept('noted')) - 'head_hash',
  '{"ok": false, "reason": "anchor_changed", "checked": 0, "first_bad_seq": 10, "last_seq": 10, "is_complete": false, "clock": {"skewed": 0, "first_seq": null}}'::jsonb,
  'but not what somebody has noted of it'
);
select tests.as_superuser();

-- A clock that was turned, or a time that was made up, in a chain that fits.
update ai.audit_events set recorded_at = recorded_at + interval '1 day' where tenant_id = tests.tenant('a') and seq = 8;
select pg_temp.rewrite();
select tests.as_service();
select is(
  ai.verify_audit(tests.tenant('a')) -> 'clock', '{"skewed": 2, "first_seq": 8}'::jsonb, 'a time in the future, and the one after it, which goes back'
);
select tests.as_superuser();

select * from finish();
rollback;
