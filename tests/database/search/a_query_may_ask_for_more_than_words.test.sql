-- Phrases, exclusions, identifiers, languages and scripts, as somebody types them.
begin;
select plan(43);
select tests.make_source('phrase', 'a', null, text => 'The harbour tariff is paid in advance. See invoice INV-2024-00812.', axis => 1);
select tests.make_source('apart', 'a', null, text => 'The tariff of the inner harbour is old.', axis => 2);
select tests.make_source('invoice', 'a', null, text => 'Invoice INV-2024-00813 was cancelled.', axis => 3);
select tests.make_source('part', 'a', null, text => 'Spare part DZ65032-A fits every crane.', axis => 4);
select tests.make_source('tokyo', 'a', null, text => '東京都庁は新宿にあります。', axis => 5);
select tests.make_source('hidden', 'b', null, text => 'The harbour tariff of others, INV-2024-00812, DZ65032-A.', axis => 1);

create function pg_temp.names(query text, axis int default null, how text default 'full_text') returns text language sql as $$
  select coalesce(string_agg(source_name, ' ' order by score desc, source_name), 'nothing')
  from ai.search(query, case when axis is not null then tests.axis(axis)::extensions.vector end, case when axis is not null then 'bulkhead-hash-384' end, method => how);
$$;
select tests.sign_in('member');
select is(pg_temp.names('harbour tariff'), 'apart phrase', 'words are found anywhere, the shorter text first');
select is(pg_temp.names('"harbour tariff"'), 'phrase', 'a phrase next to each other only');
select is(pg_temp.names('"tariff harbour"'), 'nothing', 'in its order');
select is(pg_temp.names('old "harbour tariff"'), 'phrase', 'whatever else is asked');
select is(pg_temp.names('"harbour tariff" "in advance"'), 'phrase', 'two phrases: both');
select is(pg_temp.names('"harbour tariff" "cancelled"'), 'nothing', 'or nothing');
select is(pg_temp.names('tariff -old'), 'phrase', 'an exclusion');
select is(pg_temp.names('tariff -"harbour tariff"'), 'apart', 'of a phrase');
select is(pg_temp.names('"harbour tariff"', 2, 'hybrid'), 'phrase', 'a vector finds nothing without the phrase either');
select is(pg_temp.names('tariff -old', 2, 'hybrid'), 'phrase invoice part tokyo', 'nor what is excluded');
select is(pg_temp.names('-old', 2, 'hybrid'), 'invoice part phrase tokyo', 'nothing but an exclusion');

select is(pg_temp.names('INV-2024-00812'), 'phrase invoice', 'an identifier first, its words after');
select is((select source_name from ai.search('find inv/2024/00813', method => 'full_text') limit 1), 'invoice', 'however it is written');
select is(pg_temp.names('DZ65032A'), 'part', 'with or without the dash');
select is(pg_temp.names('DZ65032-B'), 'part', 'one wrong character');
select is(pg_temp.names('DZ6532-A'), 'part', 'one missing');
select is(pg_temp.names('DZ655032-A'), 'part', 'one too many');
select is(pg_temp.names('ZD65032-A'), 'part', 'two exchanged');
select is(pg_temp.names('DZ99932-A'), 'nothing', 'three are too many');
select is((select source_name from ai.search('INV-2024-00812', tests.axis(3)::extensions.vector, 'bulkhead-hash-384') limit 1), 'phrase', 'an identifier outweighs a perfect vector');
select is(
  (select source_name from ai.search('INV-2024-0081', tests.axis(4)::extensions.vector, 'bulkhead-hash-384') limit 1), 'invoice',
  'one character less, too: the words that it is read as are not something else that is asked'
);
select is(
  (select source_name from ai.search('which berth had INV-2024-0081 when the crane of the quay broke down', tests.axis(4)::extensions.vector, 'bulkhead-hash-384') limit 1), 'part',
  'in a sentence it only hints'
);
select is(
  (select (explanation -> 'identifier') - 'contribution' from ai.search('DZ65032-B', method => 'full_text', explain => true)),
  '{"exact": false, "matched": ["DZ65032A"]}', 'and says which it was'
);

select is(pg_temp.names('東京'), 'tokyo', 'a script without spaces');
select is(pg_temp.names('新宿はどこですか'), 'tokyo', 'in a question');
select is(pg_temp.names('"東京都庁"'), 'tokyo', 'as a phrase');
select is(pg_temp.names('京東'), 'nothing', 'in its order');

-- A knowledge base has its language; a change takes effect chunk by chunk, none is lost meanwhile.
select tests.as_superuser();
update ai.knowledge_bases set language = 'simple' where tenant_id = tests.tenant('a');
select tests.sign_in('member');
select is(pg_temp.names('tariffs'), 'apart phrase', 'what was lexed in English is still asked in English');
select tests.as_superuser();
select private.move_chunks(array[tests.id('chunk phrase')]);
select tests.sign_in('member');
select is(pg_temp.names('tariffs'), 'apart', 'a moved chunk in its new language');
select is(pg_temp.names('tariff'), 'apart phrase', 'both answer one question');
select is(pg_temp.names('the'), 'phrase', 'the new one knows no stop words');
select is(pg_temp.names('"harbour tariff"'), 'phrase', 'phrases go by each language');

-- Knowledge bases of two languages: what is quoted is found in both, as each makes words of it.
select tests.as_superuser();
insert into ai.knowledge_bases (id, tenant_id, name, language) values (tests.id('base german'), tests.tenant('a'), 'Deutsch', 'german');
select tests.make_source('english', 'a', null, text => 'Running costs of the insurance policies.', axis => 7);
select tests.make_source('german', 'a', null, text => 'Ein Vertrag: insurance policies und running costs.', axis => 8);
update ai.indexed_sources set knowledge_base_id = tests.id('base german') where id = tests.id('indexed german');
update ai.chunks set knowledge_base_id = tests.id('base german') where id = tests.id('chunk german');
select tests.sign_in('member');
select is(pg_temp.names('insurance'), 'german english', 'words are found in both');
select is(pg_temp.names('"insurance policies"'), 'german english', 'and so is a phrase');
select is(pg_temp.names('"insurance policies"', 7, 'hybrid'), 'english german', 'by vectors as well');
select is(pg_temp.names('"running"'), 'german english', 'or one word in quotes');
select is(pg_temp.names('"insurance policies" -vertrag'), 'english', 'unless it is excluded');

-- What is looked up at a time is bounded, whatever a query holds.
select is(
  cardinality((private.parse_query((select string_agg('PN' || n, ' ') from generate_series(10000, 10100) as n), array['english'])).identifiers), 16,
  'sixteen identifiers of a query are looked up'
);
create function pg_temp.listed(keys bigint[], sources uuid[] default null) returns text language plpgsql as $$
declare
  scope private.search_scope := private.caller_search_scope('chunk', null, null, null, null);
  found uuid[] := private.find_items(keys, scope.segments, sources, null, null, null, 60);
begin
  return (
    select coalesce(string_agg(sources.name, ' ' order by sources.name), 'nothing')
    from ai.chunks
    join ai.sources on sources.id = chunks.source_id
    where chunks.id = any (found)
  );
end;
$$;
create function pg_temp.keys(term text) returns bigint[] language sql as $$
  select private.search_keys((private.caller_search_scope('chunk', null, null, null, null)).segments, '', array[term]);
$$;
select is(
  pg_temp.listed(pg_temp.keys('insurance') || array(select n::bigint from generate_series(1, 1800) as n) || pg_temp.keys('insuranc')), 'english german',
  'the first key finds, and the last'
);
select ok(cardinality(current_setting('bulkhead.search_terms_1')::bigint[]) between 1 and 500, 'five hundred at a time');
select is(
  pg_temp.listed(pg_temp.keys('insuranc'), array(select gen_random_uuid() from generate_series(1, 1000)) || tests.id('source german')),
  'german', 'of many sources, too'
);
select ok(cardinality(current_setting('bulkhead.search_terms_2')::bigint[]) between 1 and 500, 'which are no keys then');
select is(
  (
    select cardinality((private.weigh_terms('vertrag', scope.segments, scope.languages, scope.items, 16, 400)).rare_keys::bigint[])
    from private.caller_search_scope('chunk', null, null, null, null) as scope
  ),
  1, 'a word is looked up where it stands'
);

select * from finish();
rollback;
