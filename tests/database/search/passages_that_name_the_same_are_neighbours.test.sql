-- The graph of entities: what is kept of meta.entities, and what ai.graph_neighbours makes of it for whom.
begin;
select plan(59);
select tests.make_world();

create function pg_temp.chunk(name text) returns uuid language sql as $$ select tests.id('chunk ' || name) $$;
create function pg_temp.name_entities(name text, entities jsonb) returns void language sql as $$
  update ai.chunks set meta = meta || jsonb_build_object('entities', entities) where id = pg_temp.chunk(name)
$$;
-- Neighbours in their order, each as name:entity+entity<origin.
create function pg_temp.neighbours(hits text[], more text default '') returns text language plpgsql as $$
declare
  result text;
begin
  execute format(
    $q$
      select coalesce(string_agg(source_name || ':' || array_to_string(entities, '+') || '<' || (select name from ai.sources join ai.chunks on chunks.source_id = sources.id where chunks.id = from_chunk_id), ' ' order by place), 'nothing')
      from ai.graph_neighbours((select array_agg(pg_temp.chunk(name) order by nr) from unnest($1) with ordinality as named (name, nr)) %s)
        with ordinality as found (chunk_id, source_id, source_name, knowledge_base_id, indexed_source_id, text, chunk_index, start_char, end_char, meta, from_chunk_id, entities, rarity, place)
    $q$, more
  ) into result using hits;
  return result;
end;
$$;
create function pg_temp.kept(name text) returns text language sql as $$
  select coalesce(string_agg(name_key || '=' || search_entities.name, ' ' order by name_key), 'nothing')
  from private.search_entities where chunk_id = pg_temp.chunk(kept.name)
$$;

-- What is kept of what a model has said.
select is(private.entity_key(E'  Ｈafen\u00a0\t AG\n'), 'hafen ag', 'a key is without case, compatibility forms and superfluous blanks');
select is(private.entity_key('ÉCOLE ΣΟΦΙΑ'), 'école σοφια', 'in any script');
select is(pg_temp.kept('a_open'), 'harbour tariff=Harbour tariff', 'the entities of a chunk are there with it');
select pg_temp.name_entities('a_open', '["Pier  4", "PIER 4", "Crane", 5, null, {"name": "x"}, ["y"], "", "  ", "__proto__", "constructor"]');
select is(pg_temp.kept('a_open'), '__proto__=__proto__ constructor=constructor crane=Crane pier 4=Pier  4', 'texts are, each once, and nothing else');
select pg_temp.name_entities('a_open', (select jsonb_agg('name ' || i) from generate_series(1, 10000) as i));
select is((select count(*)::int from private.search_entities where chunk_id = pg_temp.chunk('a_open')), 32, 'ten thousand names are the first 32');
select is((select count(*)::int from private.search_entities where chunk_id = pg_temp.chunk('a_open') and name = 'name 32'), 1, 'in the order given');
select pg_temp.name_entities('a_open', jsonb_build_array(repeat('x', 200), repeat('y', 201), repeat(U&'\FDFA', 100)));
select is((select string_agg(left(name_key, 1) || char_length(name_key), ' ') from private.search_entities where chunk_id = pg_temp.chunk('a_open')), 'x200', 'what is no name is not kept: neither longer ones nor those that become longer');
select pg_temp.name_entities('a_open', '{"0": "Pier"}');
select is(pg_temp.kept('a_open'), 'nothing', 'an object is no list');
select pg_temp.name_entities('a_open', '"Pier"');
select is(pg_temp.kept('a_open'), 'nothing', 'nor is a text');
select pg_temp.name_entities('a_open', '[]');
select is(pg_temp.kept('a_open'), 'nothing', 'an empty list has nothing');
update ai.chunks set meta = meta - 'entities' where id = pg_temp.chunk('a_open');
select is(pg_temp.kept('a_open'), 'nothing', 'no list neither');

-- It goes where the words go.
select pg_temp.name_entities('a_open', '["Pier 4"]');
create function pg_temp.segment() returns text language sql as $$
  select tests.segment_name(segment_id) from private.search_entities where chunk_id = pg_temp.chunk('a_open')
$$;
select is(pg_temp.segment(), 'a_tenant', 'it is in the segment of its chunk');
update ai.sources set visibility = 'private' where id = tests.id('source a_open');
select is(pg_temp.segment(), 'a_private_member', 'moves with it to those who see it now');
update ai.sources set visibility = 'tenant' where id = tests.id('source a_open');
select is(pg_temp.segment(), 'a_tenant', 'and back');
update ai.knowledge_bases set language = 'german' where tenant_id = tests.tenant('a') and is_default;
select private.move_misplaced_chunks();
select is(
  (select language from private.search_segments join private.search_entities on segment_id = id where chunk_id = pg_temp.chunk('a_open')),
  'german', 'also when the language changes'
);
select is_empty(
  $$
    select search_entities.chunk_id
    from private.search_entities
    left join private.search_lexemes on item_id = chunk_id and search_lexemes.segment_id = search_entities.segment_id
    where item_id is null
  $$,
  'and nothing is anywhere else'
);
savepoint before_deletion;
delete from ai.indexed_sources where id = tests.id('indexed a_open');
select is(pg_temp.kept('a_open'), 'nothing', 'it goes with what was indexed');
rollback to before_deletion;
delete from ai.sources where id = tests.id('source a_open');
select is(pg_temp.kept('a_open'), 'nothing', 'with the source');
rollback to before_deletion;
delete from public.tenants where id = tests.tenant('a');
select is((select count(*)::int from private.search_entities where tenant_id = tests.tenant('a')), 0, 'and with the tenant');
rollback to before_deletion;

-- Who finds what. Of tenant A: gate and crane share Otto Berg, whom the admin's private and granted documents and tenant B name as well.
update ai.chunks set meta = '{}';
select tests.make_source(s.name, s.letter, s.owner_name, s.visibility)
from (
  values
    ('a_gate', 'a', 'admin', 'tenant'), ('a_crane', 'a', 'admin', 'tenant'), ('a_quay', 'a', 'admin', 'tenant'), ('a_shed', 'a', 'admin', 'tenant'),
    ('a_own', 'a', 'member', 'private'), ('b_gate', 'b', 'b_owner', 'tenant')
) as s (name, letter, owner_name, visibility);
select pg_temp.name_entities(v.name, v.entities)
from (
  values
    ('a_gate', '["Otto Berg", "Gate B", "Harbour"]'::jsonb), ('a_crane', '["otto  BERG", "Crane 4"]'), ('a_quay', '["Gate B", "Harbour"]'),
    ('a_shed', '["Harbour", "Crane 4"]'), ('a_own', '["Otto Berg"]'), ('a_boss', '["Otto Berg", "Gate B"]'), ('a_team', '["Otto Berg"]'),
    ('b_gate', '["Otto Berg", "Gate B", "Harbour"]'), ('b_open', '["Otto Berg"]')
) as v (name, entities);

select tests.sign_in('owner');
select is(
  pg_temp.neighbours('{a_gate}'), 'a_quay:Gate B+Harbour<a_gate a_crane:Otto Berg<a_gate a_shed:Harbour<a_gate',
  'neighbours name what a hit names: the more and the rarer, the higher'
);
select tests.sign_in('member');
select is(
  pg_temp.neighbours('{a_gate}'), 'a_quay:Gate B+Harbour<a_gate a_crane:Otto Berg<a_gate a_own:Otto Berg<a_gate a_shed:Harbour<a_gate',
  'a member finds their private document as well'
);
select tests.sign_in('backend_a');
select is(
  pg_temp.neighbours('{a_gate}'),
  'a_quay:Gate B+Harbour<a_gate a_boss:Gate B+Otto Berg<a_gate a_shed:Harbour<a_gate a_team:Otto Berg<a_gate a_crane:Otto Berg<a_gate',
  'the backend all of its tenant; a name that more documents have is less rare'
);
select tests.sign_in('b_member');
select is(pg_temp.neighbours('{a_gate}'), 'nothing', 'a hit that one cannot see has no neighbours');
select is(pg_temp.neighbours('{b_gate}'), 'b_open:Otto Berg<b_gate', 'one that one can see has those of its tenant');
select tests.sign_in('both');
select is(
  pg_temp.neighbours('{a_gate,b_gate}'), 'a_quay:Gate B+Harbour<a_gate a_crane:Otto Berg<a_gate b_open:Otto Berg<b_gate a_shed:Harbour<a_gate',
  'who is in both has those of both, each by hits of its own tenant'
);
select tests.sign_in('outsider');
select is(pg_temp.neighbours('{a_gate,b_gate}'), 'nothing', 'an outsider has none');
select tests.as_anon();
select is(tests.outcome($$select * from ai.graph_neighbours('{}')$$), '42501', 'nobody in particular may not ask');

-- Hits are no neighbours; of equals, the better hit is named.
select tests.sign_in('owner');
select is(pg_temp.neighbours('{a_gate,a_quay}'), 'a_crane:Otto Berg<a_gate a_shed:Harbour<a_gate', 'hits are not found again');
select is(pg_temp.neighbours('{a_quay,a_gate}'), 'a_crane:Otto Berg<a_gate a_shed:Harbour<a_quay', 'what two hits share leads back to the better one');
select is(pg_temp.neighbours('{a_crane,a_quay}'), 'a_gate:Gate B+Harbour<a_quay a_shed:Crane 4<a_crane', 'and to the one it has most in common with');
select is(pg_temp.neighbours('{}'), 'nothing', 'no hits, no neighbours');
select is((select count(*)::int from ai.graph_neighbours(null)), 0, 'not even null ones');
select is((select count(*)::int from ai.graph_neighbours(array[null, pg_temp.chunk('a_gate'), gen_random_uuid()])), 3, 'nor by an id that is not there');

-- Limits and filters.
select is(pg_temp.neighbours('{a_gate}', ', match_count => 1'), 'a_quay:Gate B+Harbour<a_gate', 'match_count');
select is(pg_temp.neighbours('{a_gate}', ', match_count => -1'), 'a_quay:Gate B+Harbour<a_gate', 'at least one');
select is(
  pg_temp.neighbours('{a_gate}', format(', match_count => 1, source_ids => array[%L, %L, %L]::uuid[]', tests.id('source a_crane'), tests.id('source a_boss'), tests.id('source b_gate'))),
  'a_crane:Otto Berg<a_gate', 'source_ids find nothing that is hidden, and count before the limit'
);
select is(pg_temp.neighbours('{a_gate}', ', source_ids => ''{}'''), 'nothing', 'no source is none');
select tests.as_superuser();
update ai.sources set metadata = '{"year": 2026}' where name in ('a_crane', 'a_boss', 'b_gate');
select tests.sign_in('owner');
select is(pg_temp.neighbours('{a_gate}', $$, filter_metadata => '{"year": 2026}'$$), 'a_crane:Otto Berg<a_gate', 'filter_metadata as well');
select is(pg_temp.neighbours('{a_gate}', $$, filter_metadata => '{"year": "2026"}'$$), 'nothing', 'which compares types');
select is(tests.outcome($$select * from ai.graph_neighbours('{}', filter_metadata => '[]')$$), 'PT400 invalid_request', 'and must be an object');
select is(
  tests.outcome($$select * from ai.graph_neighbours(array(select gen_random_uuid() from generate_series(1, 1001)))$$), 'PT400 invalid_request', 'a thousand hits are enough'
);
select is(pg_temp.neighbours('{a_gate}', ', knowledge_base_ids => ''{}'''), 'nothing', 'no knowledge base is none');
select is(pg_temp.neighbours('{a_gate}', format(', knowledge_base_ids => array[%L]::uuid[]', tests.id('base a'))), 'nothing', 'a hit of another knowledge base has no neighbours in this one');

-- What the query demands of hits, it demands of neighbours. Of the rest of it nothing is asked.
select tests.as_superuser();
update ai.chunks set text = 'Storms close the harbour, says Otto Berg.' where id = pg_temp.chunk('a_crane');
update ai.chunks set text = 'The harbour is closed in winter.' where id = pg_temp.chunk('a_quay');
update ai.chunks set text = 'Nothing is said.' where id in (pg_temp.chunk('a_shed'), pg_temp.chunk('a_boss'));
select tests.sign_in('owner');
select is(
  pg_temp.neighbours('{a_gate}', $$, query => 'what does the zebra say'$$), pg_temp.neighbours('{a_gate}'), 'words are not asked for'
);
select is(pg_temp.neighbours('{a_gate}', $$, query => 'gate -storm'$$), 'a_quay:Gate B+Harbour<a_gate a_shed:Harbour<a_gate', 'excluded words are, in every form');
select is(pg_temp.neighbours('{a_gate}', $$, query => 'gate "close the harbour"'$$), 'a_crane:Otto Berg<a_gate', 'so are quoted ones');
select is(pg_temp.neighbours('{a_gate}', $$, query => '"harbour" -winter', match_count => 1$$), 'a_crane:Otto Berg<a_gate', 'both, before the limit counts');
select is(pg_temp.neighbours('{a_gate}', $$, query => '"zebra quilts"'$$), 'nothing', 'words that are nowhere leave nothing');
select is(pg_temp.neighbours('{a_gate}', $$, query => '-zebra ""'$$), pg_temp.neighbours('{a_gate}'), 'and exclude nothing');
select tests.sign_in('b_member');
select is(pg_temp.neighbours('{b_gate}', $$, query => '-storm'$$), 'b_open:Otto Berg<b_gate', 'each in what they may see');
select tests.sign_in('owner');
select is(
  tests.outcome(format('select * from ai.graph_neighbours(''{}'', query => %L)', repeat('x', 4001))), 'PT400 invalid_request', 'a query is no longer than that of a search'
);

-- Entities that are everywhere link nothing, and cost no more than the limit.
select tests.as_superuser();
insert into ai.chunks (tenant_id, indexed_source_id, knowledge_base_id, source_id, owner_id, visibility, text, chunk_index, start_char, end_char, tokens, meta, embedding_model)
select tenant_id, indexed_source_id, knowledge_base_id, source_id, owner_id, visibility, 'x', i, 0, 1, 1, '{"entities": ["Harbour"]}', 'm'
from ai.chunks cross join generate_series(1, 47) as i
where id = pg_temp.chunk('a_quay');
select tests.sign_in('owner');
select is((select count(*)::int from ai.graph_neighbours(array[pg_temp.chunk('a_gate')], match_count => 1000)), 50, 'an entity in 50 chunks still does, and no more than 50 come');
select tests.as_superuser();
select pg_temp.name_entities('a_found', '["Harbour"]');
select tests.sign_in('owner');
select is(pg_temp.neighbours('{a_gate}'), 'a_quay:Gate B<a_gate a_crane:Otto Berg<a_gate', 'one in 51 does not');

-- Not one bit of the answer depends on what others have.
create function pg_temp.answer() returns text language sql as $$
  select json_agg(found)::text from ai.graph_neighbours(array[pg_temp.chunk('a_gate'), pg_temp.chunk('a_own')]) as found
$$;
select tests.sign_in('member');
select tests.keep('before', pg_temp.answer());
select ok(char_length(tests.kept('before')) > 500, 'there is an answer to compare');
select tests.as_superuser();
insert into ai.chunks (tenant_id, indexed_source_id, knowledge_base_id, source_id, owner_id, visibility, text, chunk_index, start_char, end_char, tokens, meta, embedding_model)
select tenant_id, indexed_source_id, knowledge_base_id, source_id, owner_id, visibility, 'x', i, 0, 1, 1, '{"entities": ["Otto Berg", "Gate B", "Crane 4"]}', 'm'
from ai.chunks cross join generate_series(1, 200) as i
where id in (pg_temp.chunk('a_boss'), pg_temp.chunk('b_gate'));
select tests.sign_in('member');
select is(pg_temp.answer(), tests.kept('before'), 'neither another tenant nor a colleague''s private documents change it');
select tests.sign_in('admin');
select isnt(pg_temp.answer(), tests.kept('before'), 'who can see them has another answer');

-- The policies of ai.chunks have the last word, also those that an app has put in their place.
select tests.as_superuser();
alter policy auth_read_chunks on ai.chunks using (owner_id = (select auth.uid()));
select tests.sign_in('member');
select is(pg_temp.neighbours('{a_gate}'), 'nothing', 'a stricter policy hides the hit');
select is((select count(*)::int from private.search_entities where chunk_id = pg_temp.chunk('a_gate')), 0, 'and its entities');
select is((select count(*)::int from private.search_entities where chunk_id = pg_temp.chunk('a_own')), 1, 'not those of one''s own');

select * from finish();
rollback;
