-- An application's own read policy on ai.chunks: search works on exactly what it shows, and a query asks for the same things.
begin;
select plan(19);
select tests.make_source('apple ' || n, 'a', 'member', text => 'Green apples of the orchard, part PX' || 70000 + n * 111 || '.', axis => n) from generate_series(1, 8) as n;
select tests.make_source('pear ' || n, 'a', 'member', text => 'Yellow pears of the orchard, part PX' || 80000 + n * 111 || '.', axis => 8 + n) from generate_series(1, 4) as n;
select tests.make_source('pear of an admin', 'a', 'admin', text => 'Yellow pears of the orchard, part QX90009.', axis => 1);
select tests.make_source('pear of others', 'b', null, text => 'Yellow pears of the orchard, part PX80111.', axis => 9);
select tests.keep('near', (select '[' || string_agg(case when n <= 90 then (1.0 / (n + 1))::text else '0' end, ',' order by n) || ']' from generate_series(1, 384) as n));

create function pg_temp.found(query text, method text default 'hybrid', vector text default tests.kept('near')) returns text language sql as $$
  select coalesce(string_agg(source_name, ', ' order by source_name), 'nothing')
  from ai.search(query, vector::extensions.vector, case when vector is not null then 'bulkhead-hash-384' end, match_count => 100, method => found.method)
  where source_name like any (array['apple%', 'pear%']);
$$;
create temporary table asked (query text, method text, has_vector boolean, answer text) on commit drop;
insert into asked (query, method, has_vector)
values
  ('orchard', 'hybrid', true), ('orchard -apples', 'hybrid', true), ('zzz -apples', 'vector_search', true), ('"yellow pears"', 'hybrid', true),
  ('"yellow pears"', 'vector_search', true), ('"yellow pears" -PX80222', 'hybrid', true), ('orchard -apples', 'full_text', false),
  ('PX80222', 'full_text', false), ('PX80223', 'full_text', false), ('"pears yellow"', 'hybrid', true);
grant select, update on asked to authenticated;

-- The owner of all of them but one: what the policy of owners will show is what the shipped one shows without that one.
select tests.sign_in('member');
update asked set answer = replace(replace(pg_temp.found(query, method, case when has_vector then tests.kept('near') end), ', pear of an admin', ''), 'pear of an admin', 'nothing');
select ok((select bool_and(answer is not null) from asked), 'there are answers to compare');
select is((select answer from asked where query = 'PX80222'), 'pear 2', 'an identifier is found');
select is((select answer from asked where query = 'PX80223'), 'pear 2', 'and a near one');
select is(pg_temp.found('QX90009', 'full_text', null), 'pear of an admin', 'and that of the colleague');
select tests.as_superuser();
drop policy auth_read_chunks on ai.chunks;
create policy auth_read_chunks on ai.chunks for select to authenticated using (owner_id = (select auth.uid()));
select tests.sign_in('member');
select is(private.chunk_policies_are_shipped(), false, 'the policy is another one now');
select is(pg_temp.found(query, method, case when has_vector then tests.kept('near') end), answer, query || ', ' || method) from asked order by query, method;
select is(pg_temp.found('QX90009', 'full_text', null), 'nothing', 'what the policy hides is not found by its identifier');
select is(pg_temp.found('QX90008', 'full_text', null), 'nothing', 'nor by a near one');
select is(
  tests.outcome($$select * from ai.search('x', '[1,0,0]', 'bulkhead-hash-384')$$), 'PT400 invalid_embedding', 'a vector of another length is refused'
);
select tests.sign_in('outsider');
select is(pg_temp.found('orchard'), 'nothing', 'nobody else finds anything');
select * from finish();
rollback;
