-- How texts and queries become terms: the same way, in every script.
begin;
select plan(33);

select is(btrim(private.space_bigrams('東京都')), '東京 京都', 'Han characters in overlapping pairs');
select is(regexp_replace(private.space_bigrams('x 東京都, ภาษา and 한국어'), '\s+', ' ', 'g'), 'x 東京 京都 , ภา าษ ษา and 한국 국어 ', 'each run by itself, other text as it is');
select is(private.space_bigrams('plain English, Größe, Москва'), 'plain English, Größe, Москва', 'scripts with spaces are left alone');
select is(private.space_bigrams(''), '', 'nothing from nothing');
select ok(private.lexemes_of('東京都庁', 'english') @@ '京都'::tsquery, 'a pair is a term');
select is(private.lexemes_of('東京都', 'english'), private.lexemes_of('東京都', 'simple'), 'whatever the language is set to');
select is(private.lexemes_of('ﬁne ２０２６', 'simple'), private.lexemes_of('fine 2026', 'simple'), 'compatibility forms are one');
select is(tsvector_to_array(private.lexemes_of('The tariffs of the harbours', 'english')), array['harbour', 'tariff'], 'English is stemmed, without its stop words');
select is(tsvector_to_array(private.lexemes_of('Die Häfen und die Tarife', 'german')), array['haf', 'tarif'], 'so is German');
select is(tsvector_to_array(private.lexemes_of('The tariffs', 'simple')), array['tariffs', 'the'], '''simple'' does neither');
select is(tsvector_to_array(private.lexemes_of('heat/transfer boundary-layer', 'english')), array['boundari', 'heat', 'layer', 'transfer'], 'compounds come apart');
select throws_ok($$select private.lexemes_of('x', 'klingon')$$, '42704', null, 'an unknown language is an error');
select throws_ok(
  $$insert into ai.knowledge_bases (tenant_id, name, language) values (tests.tenant('a'), 'x', 'klingon')$$, '23514', null, 'that no knowledge base can have'
);

select is(private.identifiers_of('status of INV-2024-00812 and DZ65032-A'), array['DZ65032A', 'INV202400812'], 'identifiers, without their joints');
select is(private.identifiers_of('sku/12345 SKU12345 sku_12345'), array['SKU12345'], 'however they are joined');
select is(private.identifiers_of('on 30 pages, 2024, 7 of 9, v2'), '{}', 'short numbers are none');
select is(private.identifiers_of('call 0049301234567'), array['0049301234567'], 'long ones are');
select is(cardinality(private.identifiers_of((select string_agg('AB-' || n, ' ') from generate_series(1000, 2000) as n))), 128, 'at most 128 of a text');
select is(
  private.identifiers_of((select string_agg(n || ' x ' || n * 3 || '.50', E'\n') from generate_series(1, 100) as n) || ' Total of DZ65032-A'),
  array['DZ65032A'], 'which no table of prices displaces'
);
select is(private.identifiers_of(repeat('A1', 40)), '{}', 'nothing longer than 32 characters');
select set_eq($$select private.shortened('AB123')$$, array['B123', 'A123', 'AB23', 'AB13', 'AB12'], 'one character left out');
select is_empty($$select private.shortened('A123')$$, 'not of short ones: too much would be near');

select is(
  private.search_keys(array[1], '', array['x']) && private.search_keys(array[2], '', array['x']), false, 'a word has another key in another segment'
);
select is(private.search_keys(array[1, 2], '', '{}'), null, 'no term, no key');

select is((private.parse_query('plain words', array['english'])).required, null, 'words alone require nothing');
select is((private.parse_query('a "harbour tariff" b', array['english'])).required, $$'harbour' <-> 'tariff'$$::tsquery, 'a phrase is required');
select is((private.parse_query('tariff -old -"of the berth"', array['english'])).excluded, $$'old' | 'berth'$$::tsquery, 'what has a minus is excluded');
select is((private.parse_query('below -5 degrees, well-known', array['english'])).excluded, null, 'a negative number and a hyphen are no minus');
select is((private.parse_query('"" -"" "the" - "', array['english'])).required, null, 'quotes around nothing require nothing');
select is(btrim((private.parse_query('tariff -old', array['english'])).words), 'tariff', 'what is excluded is not looked for');

-- What a chunk is found by.
select is(private.chunk_words('text', '{"pages": [1]}'), 'text', 'its text');
select is(private.chunk_words('text', '{"heading_path": ["One", "Two"]}'), E'One\nTwo\ntext', 'under its headings');
select is(
  private.chunk_words('text', '{"heading_path": ["One"], "document_summary": "D", "node_summary": "N", "section_summary": "S", "record": {"a": "R"}}'),
  E'One\nD\nN\ntext', 'and summaries that were written to find it by'
);
select * from finish();
rollback;
