-- The planner's statistics are over the rows of all tenants, so counts that are made of them are refused before they are made.
begin;
select plan(26);

-- What the request of each role begins with.
create function pg_temp.answer(prefer text)
returns text
language plpgsql
as $$
begin
  perform set_config('request.headers', json_build_object('prefer', prefer, 'accept', 'count=planned')::text, true);
  perform ai.check_request();
  return 'goes on';
exception
  when others then
    return concat_ws(' ', sqlstate, substring(sqlerrm from 'count=exact'));
end;
$$;

create view pg_temp.refused as
select prefer, 'PT400 count=exact' as answer
from unnest(
  array[
    'count=planned', 'count=estimated', 'COUNT=Planned', ' count=planned ', 'return=minimal,count=planned', 'return=minimal, count=estimated,tx=commit',
    'count=exact, count=planned', 'count=planned,count=exact', E'\tcount=planned', 'count = "estimated"'
  ]
) as prefer;

select is(pg_temp.answer(prefer), answer, format('%L is refused', prefer)) from pg_temp.refused;
select is(pg_temp.answer(prefer), 'goes on', format('%L goes on', prefer))
from unnest(array['count=exact', 'count=none', 'return=representation, count=exact', 'timezone=Planned/Estimated', 'discount=planned', '', null]) as prefer;

select tests.as_anon();
select is(pg_temp.answer('count=planned'), 'PT400 count=exact', 'anon is refused');
select is(pg_temp.answer('count=exact'), 'goes on', 'and may count exactly');
select tests.sign_in('member');
select is(pg_temp.answer('count=estimated'), 'PT400 count=exact', 'so is a person');
select is(pg_temp.answer('count=exact'), 'goes on', 'who may count exactly');
select tests.as_service();
select is(pg_temp.answer('count=planned'), 'PT400 count=exact', 'and the secret key');
select is(pg_temp.answer('count=exact'), 'goes on', 'which may count exactly');
select tests.as_superuser();

select set_config('request.headers', '{"prefer": "count=planned"}', true);
select throws_ok('select ai.check_request()', 'PT400');
select set_config('request.headers', '', true);
select lives_ok('select ai.check_request()', 'what is no request goes on');

select set_eq(
  $$
    select setting
    from pg_db_role_setting
    cross join unnest(setconfig) as setting
    where setrole = 'authenticator'::regrole
      and setdatabase = (select oid from pg_database where datname = current_database())
  $$,
  array['pgrst.db_pre_request=ai.check_request'],
  'PostgREST calls it before every request to this database'
);

select * from finish();
rollback;
