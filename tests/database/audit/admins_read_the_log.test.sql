-- The log is for admins of its tenant. Everybody may ask whether a chain fits whose rows they may read, and nobody else.
begin;
select plan(17);
select tests.make_world();
set constraints private.chain_audit immediate;

create function pg_temp.asked(who text, letter text, claims jsonb default '{}')
returns text
language plpgsql
as $$
begin
  perform tests.sign_in(who, claims);
  return tests.outcome(format('select ai.verify_audit(%L)', tests.tenant(letter)));
end;
$$;
create function pg_temp.seen(who text, claims jsonb default '{}')
returns text
language plpgsql
as $$
begin
  perform tests.sign_in(who, claims);
  return (select string_agg(distinct tests.letter(tenant_id), ' ') from ai.audit_events);
end;
$$;

select is(pg_temp.asked('admin', 'a'), 'ok', 'an admin asks');
select is(pg_temp.asked('owner', 'a'), 'ok', 'the owner');
select is(pg_temp.asked('backend_a', 'a'), 'ok', 'the backend');
select is(pg_temp.asked('member', 'a'), 'PT403 forbidden', 'a member does not');
select is(pg_temp.asked('viewer', 'a'), 'PT403 forbidden', 'nor a viewer');
select is(pg_temp.asked('b_owner', 'a'), 'PT403 forbidden', 'nor the owner of another tenant');
select is(pg_temp.asked('backend_b', 'a'), 'PT403 forbidden', 'nor its backend');
select is(pg_temp.asked('admin', 'a', jsonb_build_object('tenant_id', tests.tenant('b'))), 'PT403 forbidden', 'nor an admin with a token for another tenant');
select is(pg_temp.asked('admin', 'a', '{"role": "nobody"}'), 'ok', 'it is the membership that counts');
select is(pg_temp.asked('outsider', 'a', '{"user_metadata": {"role": "service_role"}}'), 'PT403 forbidden', 'not what people write about themselves');
select tests.as_anon();
select is(tests.outcome(format('select ai.verify_audit(%L)', tests.tenant('a'))), '42501', 'nor who is not signed in');

select is(pg_temp.seen('admin'), 'a', 'an admin reads the log of the tenant');
select is(pg_temp.seen('member'), null, 'a member nothing');
select is(pg_temp.seen('b_owner'), 'b', 'an owner theirs');
select tests.sign_in('admin');
select is(tests.outcome(format('select ai.verify_audit(%L, -1)', tests.tenant('a'))), 'PT400 invalid_request', 'what cannot be is refused');
select is(
  (
    with first as (select ai.verify_audit(tests.tenant('a'), row_limit => 10) as answer)
    select jsonb_build_array(answer -> 'is_complete', answer -> 'checked', ai.verify_audit(tests.tenant('a'), (answer ->> 'last_seq')::bigint, answer ->> 'head_hash') -> 'is_complete') from first
  ),
  '[false, 10, true]', 'a long chain can be checked in parts'
);
select is(ai.verify_audit(tests.tenant('a'), 100000) - 'head_hash' - 'clock', '{"ok": false, "reason": "gap", "checked": 0, "first_bad_seq": 100000, "last_seq": 100000, "is_complete": false}'::jsonb, 'from a row there is');

select * from finish();
rollback;
