-- Requests are counted per minute, person and tenant; a tenant somebody is not in gives them no other bucket.
begin;
select plan(15);
select tests.as_service();
create function pg_temp.take(who text, letter text, wanted int, max_requests int default 5)
returns int
language sql
as $$ select (ai.take_requests('user', wanted, max_requests, tests.person(who), tests.tenant(letter)) ->> 'granted')::int; $$;

select is(pg_temp.take('both', 'a', 3), 3, 'what is asked for is granted');
select is(pg_temp.take('both', 'a', 3), 2, 'as far as it goes');
select is(pg_temp.take('both', 'a', 1), 0, 'then nothing');
select is(pg_temp.take('both', 'b', 1), 1, 'in another tenant of theirs a person has a bucket of its own');
select is(pg_temp.take('admin', 'a', 5), 5, 'and so has another person in the same tenant');
select is(pg_temp.take('member', 'a', 1), 1, 'and another');
select is(pg_temp.take('member', 'b', 5), 5, 'a tenant one is not in');
select is((ai.take_requests('user', 1, 5, tests.person('member'), gen_random_uuid()) ->> 'granted')::int, 0, 'and any other are one bucket');
select is((ai.take_requests('user', 1, 5, tests.person('member'), null) ->> 'granted')::int, 0, 'that of naming none');
select is((ai.take_requests('backend', 1, 5, null, tests.tenant('a')) ->> 'granted')::int, 1, 'the backend of a tenant is nobody''s neighbour');
select is((ai.take_requests('address:192.0.2.1', 9, 5) ->> 'granted')::int, 5, 'nor is an address');
select ok((ai.take_requests('address:192.0.2.1', 9, 5) ->> 'ends_in')::numeric between 0.001 and 60, 'it says when the minute is over');
select is(tests.outcome($$select ai.take_requests('user', 0, 5)$$), '22023', 'nobody takes nothing');

-- A minute later.
update private.rate_counters set window_start = window_start - interval '1 minute';
select is(pg_temp.take('both', 'a', 2), 2, 'a new minute begins with nothing taken');
update private.rate_counters set window_start = window_start - interval '1 hour';
select pg_temp.take('both', 'a', 1);
select is((select count(*) from private.rate_counters where window_start < now() - interval '10 minutes'), 0::bigint, 'what nobody comes back to is removed');

select * from finish();
rollback;
