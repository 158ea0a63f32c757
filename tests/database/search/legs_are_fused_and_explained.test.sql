-- How the legs become one list, and how a caller can see it.
begin;
select plan(35);
select tests.make_source('words', 'a', null, text => 'Demurrage charges of the terminal are refunded within thirty days.', axis => 9);
select tests.make_source('meaning', 'a', null, text => 'Money back for waiting at the quay.', axis => 1);
select tests.make_source('both', 'a', null, text => 'Refunds of demurrage charges at the quay.', axis => 2);
select tests.make_source('neither', 'a', null, text => 'The canteen opens at noon.', axis => 3);
-- Half as near as `meaning`.
select private.store_vectors('bulkhead-hash-384', array[tests.id('chunk both')], array[(extensions.l2_normalize(tests.axis(1)::extensions.vector + tests.axis(2)::extensions.vector))]);

create function pg_temp.rows(arguments text) returns setof text language plpgsql as $$
begin
  return query execute format('select source_name from ai.search(%s)', arguments);
end;
$$;
create function pg_temp.names(arguments text) returns text language sql as $$ select string_agg(name, ' ') from pg_temp.rows(arguments) as name; $$;
create function pg_temp.vector() returns text language sql as $$ select quote_literal(tests.axis(1)) || ', ''bulkhead-hash-384'''; $$;

select tests.sign_in('member');
select is(pg_temp.names($$'demurrage charges refunded', $$ || pg_temp.vector()), 'both meaning words neither', 'two good legs before one');
select is(pg_temp.names($$'demurrage charges refunded', $$ || pg_temp.vector() || $$, fusion => 'weighted'$$), 'both meaning words neither', 'by scores as well');
select is(split_part(pg_temp.names($$'demurrage charges refunded', $$ || pg_temp.vector() || $$, vector_weight => 1$$), ' ', 1), 'meaning', 'vectors alone');
select is(split_part(pg_temp.names($$'demurrage charges refunded', $$ || pg_temp.vector() || $$, vector_weight => 0$$), ' ', 1), 'both', 'words alone');
select is(pg_temp.names($$'xyzzy', $$ || pg_temp.vector()), 'meaning both neither words', 'without a word the vectors decide');
select is(pg_temp.names($$'demurrage charges'$$), 'both words', 'without a vector the words do');
select is(split_part(pg_temp.names($$'quay', $$ || pg_temp.vector() || $$, method => 'vector_search'$$), ' ', 1), 'meaning', 'vector_search: nearest first');
select is(split_part(pg_temp.names($$'quay charges', $$ || pg_temp.vector() || $$, method => 'full_text'$$), ' ', 1), 'both', 'full_text: most telling first');

-- Scores.
select is((select array_agg(score = 1 order by score desc) from ai.search('demurrage charges', tests.axis(1)::extensions.vector, 'bulkhead-hash-384')), array[true, false, false, false], 'the best is 1');
select ok((select bool_and(score between 0 and 1) from ai.search('demurrage charges', tests.axis(1)::extensions.vector, 'bulkhead-hash-384', fusion => 'weighted')), 'all lie between 0 and 1');
select is((select score from ai.search('xyzzy', replace(tests.axis(300), '1', '-1')::extensions.vector, 'bulkhead-hash-384') limit 1), 0::float8, 'like nothing is 0, not null');
select is((select count(*)::int from ai.search('x', replace(tests.axis(1), '1', '-1')::extensions.vector, 'bulkhead-hash-384', method => 'vector_search')), 4, 'opposite directions are rows, too');
select is((select count(*)::int from ai.search('x', tests.axis(1)::extensions.vector, 'bulkhead-hash-384', method => 'vector_search', similarity_threshold => 0.5)), 2, 'unless a threshold is set');
select ok(
  (select a.text_score > b.text_score from ai.search('demurrage', method => 'full_text', bm25_b => 1) as a, ai.search('demurrage', method => 'full_text', bm25_b => 1) as b where a.source_name = 'both' and b.source_name = 'words'),
  'bm25_b: the shorter text first'
);
select is((select count(distinct text_score)::int from ai.search('demurrage', method => 'full_text', bm25_b => 0)), 1, 'bm25_b 0: length does not count');
select is(tests.outcome($$select * from ai.search('demurrage', bm25_k1 => -1, bm25_b => 'NaN')$$), 'ok', 'senseless constants are brought into range');

-- BM25 as the books have it, over these four chunks: demurrage stands in two of them.
select is(
  (select round(text_score::numeric, 6) from ai.search('demurrage', method => 'full_text') where source_name = 'both'),
  (
    select round((ln(1 + (4 - 2 + 0.5) / (2 + 0.5)) * 2.2 / (1 + 1.2 * (0.25 + 0.75 * lengths.mine / lengths.average)))::numeric, 6)
    from (
      select
        (select cardinality(regexp_split_to_array('refund demurrag charg quay', ' '))::float8) as mine,
        (select (7 + 4 + 4 + 3) / 4.0) as average
    ) as lengths
  ),
  'text_score is BM25'
);

-- Explanation.
select is((select count(*)::int from ai.search('demurrage', explain => false) where explanation is not null), 0, 'no explanation unless asked');
select tests.keep('explained', $$select explanation from ai.search('refunds of demurrage charges', tests.axis(1)::extensions.vector, 'bulkhead-hash-384', explain => true) where source_name = $$);
create function pg_temp.explained(name text) returns jsonb language plpgsql as $$
declare
  result jsonb;
begin
  execute tests.kept('explained') || quote_literal(name) into result;
  return result;
end;
$$;
select is(pg_temp.explained('both') ->> 'fusion', 'rrf', 'it names the fusion');
select is(pg_temp.explained('both') -> 'text' -> 'rank', '1', 'ranks from 1');
select is(pg_temp.explained('meaning') -> 'vector' -> 'rank', '1', 'in each leg');
select is(round((pg_temp.explained('both') -> 'vector' ->> 'score')::numeric, 2), 0.71, 'its scores');
select set_eq($$select jsonb_array_elements_text(pg_temp.explained('both') -> 'text' -> 'terms')$$, array['refund', 'demurrag', 'charg'], 'the matched terms');
select is(pg_temp.explained('meaning') -> 'text', 'null', 'a leg that did not find it is null');
select is(
  round(((pg_temp.explained('both') -> 'vector' ->> 'contribution')::numeric + (pg_temp.explained('both') -> 'text' ->> 'contribution')::numeric), 6), 1.000000,
  'contributions add up'
);
select is(pg_temp.explained('both') -> 'vector' ->> 'model', 'bulkhead-hash-384', 'and the model that compared');

-- Caps.
select tests.as_superuser();
insert into ai.chunks (id, tenant_id, indexed_source_id, knowledge_base_id, source_id, visibility, text, chunk_index, start_char, end_char, tokens, embedding_model)
select md5('again' || i)::uuid, tenant_id, indexed_source_id, knowledge_base_id, source_id, visibility, case when i = 1 then text else 'Demurrage charges, once more.' end, i, 0, 10, 10, 'm'
from ai.chunks cross join generate_series(1, 2) as i
where id = tests.id('chunk both');
select tests.sign_in('member');
select is((select count(*)::int from ai.search('demurrage charges')), 4, 'four chunks');
select is((select count(*)::int from ai.search('demurrage charges', max_per_source => 1)), 2, 'one per source');
select is((select count(*)::int from ai.search('demurrage charges', deduplicate => true)), 3, 'each text once');
select is(tests.outcome($$select * from ai.search('x', max_per_source => 0)$$), 'PT400 invalid_request', 'a cap of none is refused');

-- One document that fills every leg: two hundred and fifty passages nearer than anything else.
select tests.as_superuser();
select tests.make_source('manual', 'a', null, text => 'The crane manual, page 0.', axis => 20);
insert into ai.chunks (id, tenant_id, indexed_source_id, knowledge_base_id, source_id, visibility, text, chunk_index, start_char, end_char, tokens, embedding_model)
select
  md5('manual' || i)::uuid, tenant_id, indexed_source_id, knowledge_base_id, source_id, visibility,
  case when i <= 200 then 'The crane manual, over and over.' else 'The crane manual, page ' || i || '.' end, i, 0, 10, 10, 'm'
from ai.chunks cross join generate_series(1, 250) as i
where id = tests.id('chunk manual');
select private.store_vectors('bulkhead-hash-384', array_agg(md5('manual' || i)::uuid), array_agg(tests.axis(20)::extensions.vector)) from generate_series(1, 250) as i;
select tests.sign_in('member');
select is(
  (select count(*)::int from ai.search('crane', tests.axis(20)::extensions.vector, 'bulkhead-hash-384', max_per_source => 1)), 5,
  'a document that fills the legs leaves room for the others'
);
select is(
  (select count(*)::int from ai.search('crane', tests.axis(20)::extensions.vector, 'bulkhead-hash-384', max_per_source => 2, match_count => 8)), 6,
  'with two of each'
);
select is(
  (select count(*)::int from ai.search('crane', tests.axis(20)::extensions.vector, 'bulkhead-hash-384', deduplicate => true, match_count => 100)), 56,
  'and so does one text over and over'
);
select is(
  (select count(distinct source_name)::int from ai.search('x', tests.axis(20)::extensions.vector, 'bulkhead-hash-384', method => 'vector_search', similarity_threshold => 0.5, max_per_source => 1)), 1,
  'but nothing below a threshold'
);

-- Words as well, of which no more than 800 chunks are ranked at first.
select tests.as_superuser();
select tests.make_source('catalogue', 'a', null, text => 'Anchor chain, item 0.', axis => 21);
insert into ai.chunks (id, tenant_id, indexed_source_id, knowledge_base_id, source_id, visibility, text, chunk_index, start_char, end_char, tokens, embedding_model)
select md5('catalogue' || i)::uuid, tenant_id, indexed_source_id, knowledge_base_id, source_id, visibility, 'Anchor chain, item ' || i || '.', i, 0, 10, 10, 'm'
from ai.chunks cross join generate_series(1, 850) as i
where id = tests.id('chunk catalogue');
select tests.make_source('invoice', 'a', null, text => 'One anchor, sold.', axis => 22);
select tests.make_source('letter', 'a', null, text => 'The anchor was late.', axis => 23);
select tests.sign_in('member');
select is((select string_agg(source_name, ' ' order by source_name) from ai.search('anchor', method => 'full_text', max_per_source => 1)), 'catalogue invoice letter', 'behind a document of 851 passages, too');

select * from finish();
rollback;
