-- A "phrase" stands in every result and a -word in none, by whichever leg it came and however many others are nearer.
begin;
select plan(21);
select tests.make_source('apple ' || n, 'a', null, text => 'Green apples of the orchard, basket ' || n || '.', axis => n) from generate_series(1, 70) as n;
select tests.make_source('pear ' || n, 'a', null, text => 'Yellow pears of the orchard, basket ' || n || '.', axis => 70 + n) from generate_series(1, 12) as n;
select tests.make_source('pears of others', 'b', null, text => 'Yellow pears of the orchard.', axis => 71);
select tests.make_source('private pears', 'a', 'admin', 'private', text => 'Yellow pears of the orchard.', axis => 71);
insert into public.memories (id, tenant_id, body)
select tests.id('memory ' || n), tests.tenant('a'), 'Memory of ' || case when n <= 70 then 'apples' else 'pears' end || ' ' || n
from generate_series(1, 82) as n;
select tests.as_service();
select is(
  (
    select count(*)::int
    from generate_series(1, 82) as n
    cross join lateral (select ai.claim_memory(tests.id('memory ' || n)) as claim) as claimed
    where ai.store_memory_vector(tests.id('memory ' || n), claim ->> 'body_hash', 'bulkhead-hash-384', tests.axis(n)::jsonb)
  ),
  82, 'every memory is embedded'
);
select tests.as_superuser();

-- Nearest to the first axis, then to the second, and so on.
select tests.keep('near', (select '[' || string_agg(case when n <= 90 then (1.0 / (n + 1))::text else '0' end, ',' order by n) || ']' from generate_series(1, 384) as n));
create function pg_temp.found(query text, method text default 'hybrid', wanted int default 10) returns text[] language sql as $$
  select array_agg(source_name order by score desc, source_name)
  from ai.search(query, tests.kept('near')::extensions.vector, 'bulkhead-hash-384', match_count => wanted, method => found.method);
$$;
create function pg_temp.kinds(query text, method text default 'hybrid', wanted int default 10) returns text language sql as $$
  select string_agg(counted.kind || ' ' || counted.count, ', ' order by counted.kind)
  from (
    select split_part(name, ' ', 1) as kind, count(*) as count from unnest(pg_temp.found(kinds.query, kinds.method, kinds.wanted)) as name group by 1
  ) as counted;
$$;

select tests.sign_in('member');
select is(pg_temp.kinds('zzz'), 'apple 10', 'the nearest are apples');
select is(pg_temp.kinds('zzz -apples'), 'pear 10', 'unwanted ones in any number make room for those behind them');
select is(pg_temp.kinds('zzz -apples', wanted => 100), 'pear 12', 'to the last');
select is(pg_temp.kinds('zzz -apples', 'vector_search'), 'pear 10', 'when vectors decide alone, too');
select is((pg_temp.found('zzz -apples', 'vector_search'))[1], 'pear 1', 'in the order of their nearness');
select is(pg_temp.kinds('zzz -apples -pears', wanted => 100), null, 'nothing is left where all are unwanted');
select is(pg_temp.kinds('"yellow pears"', wanted => 100), 'pear 12', 'a phrase');
select is(pg_temp.kinds('"yellow pears"', 'vector_search', 100), 'pear 12', 'in vector_search as well');
select is(pg_temp.kinds('"pears yellow"', 'vector_search'), null, 'in its order');
select is(pg_temp.kinds('"yellow pears" -"basket 3"', 'vector_search', 100), 'pear 11', 'a phrase, and another excluded');

-- What holds a phrase is listed and compared; where that is too much, it is met from near to far.
create function pg_temp.nearest(query text, listed int, wanted int) returns text language plpgsql as $$
declare
  scope private.search_scope := private.caller_search_scope('chunk', null, null, null, 'bulkhead-hash-384');
  leg private.search_leg := private.nearest_wanted_items(
    scope, null, private.parse_query(query, scope.languages), tests.kept('near')::extensions.vector, listed, wanted
  );
begin
  return (
    select string_agg(sources.name, ', ' order by found.place)
    from unnest(leg.item_ids) with ordinality as found (id, place)
    join ai.chunks on chunks.id = found.id
    join ai.sources on sources.id = chunks.source_id
  );
end;
$$;
select is(pg_temp.nearest('"yellow pears"', 1000, 3), 'pear 1, pear 2, pear 3', 'listed');
select is(pg_temp.nearest('"yellow pears"', 2, 3), 'pear 1, pear 2, pear 3', 'met');
select is(pg_temp.nearest('"yellow pears" -"basket 2"', 2, 3), 'pear 1, pear 3, pear 4', 'without what is excluded');
select is(pg_temp.nearest('"of the orchard"', 2, 3), 'apple 1, apple 2, apple 3', 'at once, where all hold it');
select is(pg_temp.nearest('"of the moon"', 2, 3), null, 'or nowhere');

-- Memories.
create function pg_temp.memories(query text, method text default 'hybrid') returns text language sql as $$
  select string_agg(distinct split_part(body, ' ', 3), ', ') || ' ' || count(*)
  from ai.search_memories(query, tests.kept('near')::extensions.vector, 'bulkhead-hash-384', method => memories.method);
$$;
select is(pg_temp.memories('zzz'), 'apples 10', 'memories: the nearest');
select is(pg_temp.memories('zzz -apples'), 'pears 10', 'without what is unwanted');
select is(pg_temp.memories('"of pears"', 'vector_search'), 'pears 10', 'with a phrase');

select tests.sign_in('admin');
select is(pg_temp.kinds('"yellow pears"', wanted => 100), 'pear 12, private 1', 'who may see more finds more');
select tests.sign_in('outsider');
select is(pg_temp.kinds('"yellow pears"', wanted => 100), null, 'who may see nothing, nothing');
select * from finish();
rollback;
