-- What the index counts is what it holds, after every kind of change; and what it holds is what ai.chunks holds.
begin;
select plan(22);
select tests.make_world();

-- What differs between the counts and a recount; between the index and the chunks.
create view pg_temp.differences as
with words as (
  select search_lexemes.segment_id, hashtextextended(entry.lexeme, search_lexemes.segment_id) as key, count(*) as items
  from private.search_lexemes
  cross join lateral unnest(search_lexemes.lexemes) as entry
  group by 1, 2
)
select 'document frequency' as what, coalesce(words.segment_id, term_statistics.segment_id)::text as place
from words
full join private.term_statistics on term_statistics.segment_id = words.segment_id and term_statistics.key = words.key
where words.items is distinct from term_statistics.item_count
union all
select 'segment size', search_segments.id::text
from private.search_segments
cross join lateral (
  select count(*) as items, coalesce(sum(search_lexemes.term_count), 0) as terms
  from private.search_lexemes
  where search_lexemes.segment_id = search_segments.id
) as recounted
where (search_segments.item_count, search_segments.term_count) <> (recounted.items, recounted.terms)
union all
select 'vector set size', vector_sets.id::text
from private.vector_sets
cross join lateral (
  select count(*) as items, count(*) filter (where search_vectors.is_shared) as shared
  from private.search_vectors
  where search_vectors.vector_set_id = vector_sets.id
) as recounted
where (vector_sets.item_count, vector_sets.shared_count) <> (recounted.items, recounted.shared)
union all
select 'a chunk without its words', chunks.id::text
from ai.chunks
where not exists (select from private.search_lexemes where search_lexemes.item_id = chunks.id)
union all
select 'a chunk in a segment of others', chunks.id::text
from ai.chunks
join private.search_lexemes on search_lexemes.item_id = chunks.id
join private.search_segments on search_segments.id = search_lexemes.segment_id
where search_segments.visibility <> chunks.visibility
  or search_segments.knowledge_base_id <> chunks.knowledge_base_id
  or (chunks.visibility <> 'tenant' and search_segments.owner_id is distinct from chunks.owner_id)
  or (chunks.visibility = 'granted' and search_segments.allowed_principals <> chunks.allowed_principals)
union all
select 'words or a vector of nothing', items.item_id::text
from (select item_id from private.search_lexemes union select item_id from private.search_vectors) as items
where not exists (select from ai.chunks where chunks.id = items.item_id)
  and not exists (select from public.memories where memories.id = items.item_id)
union all
select 'a vector in another segment than its words', search_vectors.item_id::text
from private.search_vectors
join private.search_lexemes using (item_id)
join private.search_segments on search_segments.id = search_lexemes.segment_id
where search_vectors.segment_id <> search_lexemes.segment_id
  or search_vectors.is_shared <> (search_segments.visibility = 'tenant' and search_segments.kind = 'chunk');

select is_empty('select * from pg_temp.differences', 'at the start');
select ok((select count(*) > 0 from private.term_statistics), 'there is something to count');

update ai.sources set visibility = 'private' where name = 'a_open';
select is_empty('select * from pg_temp.differences', 'a source becomes private');
insert into ai.source_grants (tenant_id, source_id, user_id) values (tests.tenant('a'), tests.id('source a_boss'), tests.person('viewer'));
update ai.sources set visibility = 'granted' where name = 'a_boss';
select is_empty('select * from pg_temp.differences', 'another is granted');
delete from ai.source_grants where source_id = tests.id('source a_named');
select is_empty('select * from pg_temp.differences', 'a grant is taken back');
update ai.sources set owner_id = null where name = 'a_secret';
select is_empty('select * from pg_temp.differences', 'an owner goes');
update ai.sources set visibility = 'tenant' where tenant_id = tests.tenant('a');
select is_empty('select * from pg_temp.differences', 'all are opened at once');
update ai.chunks set text = 'Entirely other words, tariff INV-2024-00812.' where id = tests.id('chunk a_open');
select is_empty('select * from pg_temp.differences', 'a text changes');
select ok(exists (select from private.term_statistics join private.search_segments on search_segments.id = segment_id where key = hashtextextended('entir', segment_id)), 'and its new words count');
update ai.chunks set meta = '{"heading_path": ["Demurrage"]}' where id = tests.id('chunk a_open');
select is_empty('select * from pg_temp.differences', 'a heading is found above it');
select tests.sign_in('member');
select is((select source_name from ai.search('demurrage')), 'a_open', 'a chunk is found by its heading, too');
select tests.as_superuser();
select private.store_vectors('other', array[tests.id('chunk a_open')], array['[1,2,3]'::extensions.vector]);
select is_empty('select * from pg_temp.differences', 'a second model');
select is(tests.outcome($$select private.store_vectors('other', array[tests.id('chunk a_found')], array['[1,2]'::extensions.vector])$$), '22023', 'whose vectors are all of one length');
select is(private.store_vectors('other', array[gen_random_uuid()], array['[1,2,3]'::extensions.vector]), 0, 'a vector of nothing is not stored');

-- A memory of the whole tenant is no chunk, whichever agent it is of: it is in no graph.
insert into public.memories (id, tenant_id, user_id, agent_id, body) values (tests.id('memory of all'), tests.tenant('a'), null, null, 'Ships are paid on arrival');
select private.store_vectors('other', array[tests.id('memory of all')], array['[1,2,3]'::extensions.vector]);
update public.memories set agent_id = tests.id('agent a') where id = tests.id('memory of all');
select is_empty('select * from pg_temp.differences', 'a memory is given to an agent');
select is((select is_shared from private.search_vectors where item_id = tests.id('memory of all')), false, 'and counts as no chunk that all may see');
select is((select shared_count from private.vector_sets where tenant_id = tests.tenant('a') and embedding_model = 'other'), 1, 'of which there is one');

savepoint before_deleting;
delete from ai.sources where name = 'a_open';
select is_empty('select * from pg_temp.differences', 'a source is deleted');
rollback to before_deleting;
select is_empty('select * from pg_temp.differences', 'and is back when that is undone');
delete from ai.indexed_sources where source_id = tests.id('source a_found');
select is_empty('select * from pg_temp.differences', 'a source is taken out of its knowledge base');
delete from public.tenants where id = tests.tenant('b');
select is_empty('select * from pg_temp.differences', 'a tenant goes');
select is((select count(*)::int from private.search_segments where tenant_id = tests.tenant('b')), 0, 'with its segments');

select * from finish();
rollback;
