-- The text leg: BM25 over any of the words, and a query nobody meant well.
begin;
select plan(36);
select tests.make_source('best', 'a', null, text => 'Refunds of demurrage charges are paid within thirty days of the claim.');
select tests.make_source('long', 'a', null, text => 'Demurrage ' || repeat('is one of many words about ships and berths and tugs and pilots ', 20));
select tests.make_source('often', 'a', null, text => 'Charges, charges, charges: every terminal has charges.');
select tests.make_source('other', 'a', null, text => 'The canteen opens at noon.');

create function pg_temp.names(query text) returns text language sql as $$
  select coalesce(string_agg(source_name, ' ' order by score desc), 'nothing') from ai.search(query, method => 'full_text');
$$;
select tests.sign_in('member');
select is(pg_temp.names('When are refunds of demurrage charges paid?'), 'best often long', 'a question finds what holds some of its words, the most telling first');
select is(pg_temp.names('demurrage'), 'best long', 'the shorter text before the longer one');
select is(pg_temp.names('charges'), 'often best', 'the one that says it more often first');
select is(pg_temp.names('charge'), 'often best', 'in any form of the word');
select is(pg_temp.names('refund weather tomorrow'), 'best', 'words nobody has written do no harm');
select is(pg_temp.names('who is it that was'), 'nothing', 'words that say nothing find nothing');
select is((select score from ai.search('demurrage', method => 'full_text') limit 1), 1::float8, 'the best score is 1');
select ok((select bool_and(text_score > 0) from ai.search('demurrage', method => 'full_text')), 'text_score is BM25');
select is((select count(*)::int from ai.search('who is it that was', tests.axis(1)::extensions.vector, 'bulkhead-hash-384')), 4, 'a vector answers also then');

-- Input nobody meant well: a clear error or an answer, never a fault of ours.
create function pg_temp.search(arguments text) returns text language sql as $$ select tests.outcome(format('select * from ai.search(%s)', arguments)); $$;
select is(pg_temp.search('null'), 'PT400 invalid_request', 'no query');
select is(pg_temp.search($$''$$), 'PT400 invalid_request', 'an empty one');
select is(pg_temp.search($$repeat('harbour ', 131072)$$), 'PT400 invalid_request', 'a megabyte');
select is(pg_temp.search($$repeat('ab ', 1333)$$), 'ok', 'the longest allowed');
select is(pg_temp.search($$(select string_agg('word' || i, ' ') from generate_series(1, 500) as i)$$), 'ok', 'five hundred words');
select is(pg_temp.search($$'a & b | !c <-> (d'$$), 'ok', 'operators of tsquery are words');
select is(pg_temp.search($$'''; drop table ai.chunks; --'$$), 'ok', 'quotes');
select is(pg_temp.search($$'C:\path\to\file \\server \'' E''\\x'' %_%'$$), 'ok', 'backslashes');
select is(pg_temp.search($$'ﬁ İ ß 日本語 👩‍👩‍👧 ' || chr(8238) || 'abc' || chr(1) || chr(127)$$), 'ok', 'characters from everywhere');
select is(pg_temp.search($$repeat('x', 4000)$$), 'ok', 'one word of 4000 letters');
select is(pg_temp.search($$'x', method => 'regex'$$), 'PT400 invalid_request', 'an unknown method');
select is(pg_temp.search($$'x', method => null$$), 'PT400 invalid_request', 'none');
select is(pg_temp.search($$'x', method => 'vector_search'$$), 'PT400 invalid_request', 'vectors without a vector');
select is(pg_temp.search($$'x', tests.axis(1)::extensions.vector$$), 'PT400 invalid_request', 'a vector without its model');
select is(pg_temp.search($$'x', '[0,0,0]', 'm'$$), 'PT400 invalid_embedding', 'the zero vector');
select is(pg_temp.search($$'x', '[NaN]', 'm'$$), '22000', 'NaN');
select is(pg_temp.search($$'x', '[Infinity]', 'm'$$), '22000', 'infinity');
select is(pg_temp.search($$'x', ('[' || repeat('1,', 16000) || '1]')::extensions.vector, 'm'$$), '54000', 'too many dimensions');
select is(pg_temp.search($$'x', replace(tests.axis(1), '1', '3e38')::extensions.vector, 'bulkhead-hash-384'$$), 'ok', 'a huge vector');
select ok(
  (select bool_and(score between 0 and 1 and vector_score between -1 and 1) from ai.search('x', replace(tests.axis(1), '1', '3e38')::extensions.vector, 'bulkhead-hash-384')),
  'does not break the scores'
);
select is((select count(*)::int from ai.search('demurrage charges', match_count => -5)), 1, 'a match_count below one is one');
select is((select count(*)::int from ai.search('demurrage charges', match_count => 2147483647)), 3, 'a huge one is cut');
select is((select count(*)::int from ai.search('demurrage charges', match_count => null)), 3, 'none is ten');
select is(pg_temp.search($$'x', tests.axis(1)::extensions.vector, 'm', vector_weight => 'NaN'$$), 'ok', 'a weight of NaN');
select is(pg_temp.search($$'x', tests.axis(1)::extensions.vector, 'm', vector_weight => -1e30$$), 'ok', 'a weight below nothing');
select is(pg_temp.search($$'x', filter_metadata => '["year"]'$$), 'PT400 invalid_request', 'a filter that is no object');
select tests.as_anon();
select is(pg_temp.search($$'x'$$), '42501', 'anon searches nothing');

select * from finish();
rollback;
