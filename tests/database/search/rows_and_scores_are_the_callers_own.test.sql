-- ai.search: who finds what, how many rows, and that nobody else's documents move a score (R01, R03, R12).
begin;
select plan(29);
select tests.make_world();

create function pg_temp.names(statement text) returns text language plpgsql as $$
declare
  result text;
begin
  execute format('select coalesce(string_agg(source_name, '' '' order by source_name), ''nothing'') from (%s) as found', statement) into result;
  return result;
end;
$$;
select tests.keep('hybrid', $$select * from ai.search('harbour tariff', tests.axis(1)::extensions.vector, 'bulkhead-hash-384')$$);
select tests.keep('vectors', $$select * from ai.search('harbour tariff', tests.axis(1)::extensions.vector, 'bulkhead-hash-384', method => 'vector_search')$$);
select tests.keep('text', $$select * from ai.search('harbour tariff', method => 'full_text')$$);

select tests.sign_in('member');
select is(pg_temp.names(tests.kept('hybrid')), 'a_found a_named a_open a_secret', 'a member finds what they can see');
select is(pg_temp.names(tests.kept('vectors')), 'a_found a_named a_open a_secret', 'by vectors');
select is(pg_temp.names(tests.kept('text')), 'a_found a_named a_open a_secret', 'by text');
select tests.sign_in('viewer');
select is(pg_temp.names(tests.kept('hybrid')), 'a_demoted a_found a_open a_team', 'a viewer what they can see');
select tests.sign_in('owner');
select is(pg_temp.names(tests.kept('hybrid')), 'a_found a_open', 'an owner no private source');
select tests.sign_in('backend_a');
select is(pg_temp.names(tests.kept('hybrid')), 'a_boss a_demoted a_found a_left a_named a_open a_secret a_team', 'the backend all of its tenant');
select tests.sign_in('b_member');
select is(pg_temp.names(tests.kept('hybrid')), 'b_found b_named b_open', 'the other tenant its own');
select tests.sign_in('outsider');
select is(pg_temp.names(tests.kept('hybrid')), 'nothing', 'an outsider nothing');
select tests.sign_in('both');
select is(pg_temp.names(tests.kept('hybrid')), 'a_found a_open b_found b_open', 'a member of two tenants both');
select tests.sign_in('both', headers => jsonb_build_object('x-tenant-id', tests.tenant('b')));
select is(pg_temp.names(tests.kept('hybrid')), 'b_found b_open', 'or the one that is asked for');

-- min(k, visible) rows.
select tests.sign_in('member');
select is((select count(*)::int from ai.search('harbour', tests.axis(1)::extensions.vector, 'bulkhead-hash-384', match_count => 3)), 3, 'k rows where there are more');
select is((select count(*)::int from ai.search('xyzzy', tests.axis(1)::extensions.vector, 'bulkhead-hash-384', match_count => 100)), 4, 'all visible ones where there are fewer');

-- Filters find nothing that is hidden.
select is(pg_temp.names(format($$select * from ai.search('harbour tariff', source_ids => array[%L, %L, %L]::uuid[])$$, tests.id('source a_open'), tests.id('source a_boss'), tests.id('source b_open'))), 'a_open', 'source_ids');
select is(pg_temp.names(format($$select * from ai.search('harbour tariff', knowledge_base_ids => array(select id from ai.knowledge_bases) || %L::uuid)$$, tests.id('base b'))), 'a_found a_named a_open a_secret', 'knowledge_base_ids');
select is(pg_temp.names($$select * from ai.search('harbour tariff', knowledge_base_ids => '{}')$$), 'nothing', 'no knowledge base is none, not all');
update ai.sources set metadata = '{"year": 2026, "kind": "tariff"}' where name = 'a_open';
select is(pg_temp.names($$select * from ai.search('harbour tariff', filter_metadata => '{"year": 2026}')$$), 'a_open', 'filter_metadata');
select is(pg_temp.names($$select * from ai.search('harbour tariff', filter_metadata => '{"year": "2026"}')$$), 'nothing', 'which compares types');

-- Scores.
select is((select score from ai.search('harbour tariff', tests.axis(1)::extensions.vector, 'bulkhead-hash-384') limit 1), 1::float8, 'the best hybrid score is 1');
select results_eq(
  $$select source_name, round(vector_score::numeric, 3) from ai.search('x', tests.axis(1)::extensions.vector, 'bulkhead-hash-384', method => 'vector_search', similarity_threshold => 0.5)$$,
  $$values ('a_open', 1.000)$$, 'the threshold cuts by similarity'
);

-- Not one bit of the answer depends on what others have: not on another tenant, not on a colleague's private sources.
select tests.keep('query', $$
  select json_agg(found) from (select * from ai.search('What is the harbour tariff of the open terminal?', tests.axis(1)::extensions.vector, 'bulkhead-hash-384')) as found
$$);
create function pg_temp.answer() returns text language plpgsql as $$
declare
  result text;
begin
  execute tests.kept('query') into result;
  return result;
end;
$$;
select tests.keep('before', pg_temp.answer());
select ok(char_length(tests.kept('before')) > 500, 'there is an answer to compare');
select tests.as_superuser();
insert into ai.chunks (id, tenant_id, indexed_source_id, knowledge_base_id, source_id, visibility, text, chunk_index, start_char, end_char, tokens, embedding_model)
select
  md5(i || source)::uuid, sources.tenant_id, tests.id('indexed ' || source), indexed_sources.knowledge_base_id, tests.id('source ' || source), sources.visibility,
  'The harbour tariff of the open terminal, harbour tariff number ' || i, i, 0, 10, 10, 'bulkhead-hash-384'
from generate_series(1, 500) as i
cross join unnest(array['b_open', 'a_boss']) as source
join ai.sources on sources.name = source
join ai.indexed_sources on indexed_sources.id = tests.id('indexed ' || source);
select private.store_vectors('bulkhead-hash-384', array_agg(chunks.id), array_agg(tests.axis(1)::extensions.vector))
from ai.chunks
where chunks.chunk_index > 0;
select tests.sign_in('member');
select is(pg_temp.answer(), tests.kept('before'), '1000 near copies that the caller cannot see change nothing');
select tests.sign_in('b_member');
select is((select count(*)::int from ai.search('harbour tariff', tests.axis(1)::extensions.vector, 'bulkhead-hash-384', match_count => 50) where source_name = 'b_open'), 50, 'though others do find them');

-- Vectors of two models are not compared.
select tests.as_superuser();
delete from private.search_vectors where item_id = tests.id('chunk a_open');
select private.store_vectors('other', array[tests.id('chunk a_open')], array[tests.axis(1)::extensions.vector]);
select tests.sign_in('member');
select is(pg_temp.names(tests.kept('vectors')), 'a_found a_named a_secret', 'a vector of another model is not compared');
select is(pg_temp.names(tests.kept('hybrid')), 'a_found a_named a_open a_secret', 'its text still is');
select is(pg_temp.names($$select * from ai.search('x', tests.axis(1)::extensions.vector, 'other', method => 'vector_search')$$), 'a_open', 'and the other way round');
select is(tests.outcome($$select * from ai.search('x', '[1,0]', 'other', method => 'vector_search')$$), 'PT400 invalid_embedding', 'a vector of other dimensions is refused');
-- A text that has no direction must not lead every list.
select tests.as_superuser();
select private.store_vectors('bulkhead-hash-384', array[tests.id('chunk a_found')], array[replace(tests.axis(1), '1', '0')::extensions.vector]);
select tests.sign_in('member');
select isnt((select source_name from ai.search('x', tests.axis(2)::extensions.vector, 'bulkhead-hash-384') limit 1), 'a_found', 'a zero vector is not first');
select is((select vector_score from ai.search('x', tests.axis(2)::extensions.vector, 'bulkhead-hash-384') where source_name = 'a_found'), 0::float8, 'it is like nothing');
select is((select count(*)::int from ai.search('x', tests.axis(2)::extensions.vector, 'bulkhead-hash-384')), 3, 'and still among the rows');

select * from finish();
rollback;
