-- The life of a graph, step by step, with writes between the steps; and the other upkeep of the index.
begin;
select plan(46);
select tests.make_world();
delete from pgboss.job;
delete from private.search_segments where item_count = 0;
select tests.keep('set', (select id from private.vector_sets where tenant_id = tests.tenant('a') and embedding_model = 'bulkhead-hash-384')::text);
select tests.keep('table', 'vector_graph_' || tests.kept('set'));

-- Chunks of a source that everybody in tenant A sees, each with a vector along an axis of its own.
create function pg_temp.add(first int, last int) returns void language sql security definer as $$
  insert into ai.chunks (id, tenant_id, indexed_source_id, knowledge_base_id, source_id, owner_id, visibility, text, chunk_index, start_char, end_char, tokens, embedding_model)
  select
    tests.id('graph ' || n), chunks.tenant_id, chunks.indexed_source_id, chunks.knowledge_base_id, chunks.source_id, chunks.owner_id,
    chunks.visibility, 'Quay ' || n, n, 0, 6, 2, chunks.embedding_model
  from ai.chunks
  cross join generate_series(first, last) as n
  where chunks.id = tests.id('chunk a_open');
  select private.store_vectors('bulkhead-hash-384', array_agg(tests.id('graph ' || n)), array_agg(tests.axis(n)::extensions.vector)) from generate_series(first, last) as n;
$$;
create function pg_temp.state() returns text language sql security definer as $$ select graph_state from private.vector_sets where id = tests.kept('set')::int; $$;
-- Rows of the graph that the set does not have for everybody in the tenant, and the other way round.
create function pg_temp.differences() returns int language plpgsql security definer as $$
declare
  different int;
begin
  execute format(
    'select count(*) from (select item_id, segment_id, embedding::extensions.halfvec::text from private.%I) as graph '
    'full join (select item_id, segment_id, embedding::text from private.search_vectors where vector_set_id = %s and is_shared) as kept '
    'using (item_id, segment_id, embedding) where graph.item_id is null or kept.item_id is null',
    tests.kept('table'), tests.kept('set')
  ) into different;
  return different;
end;
$$;
create function pg_temp.seen() returns int language plpgsql as $$
declare
  visible int;
begin
  execute format('select count(*) from private.%I', tests.kept('table')) into visible;
  return visible;
end;
$$;
create function pg_temp.nearest(axis int) returns text language sql as $$
  select string_agg(text, ',') from ai.search('quay', tests.axis(axis)::extensions.vector, 'bulkhead-hash-384', method => 'vector_search', match_count => 1);
$$;

select pg_temp.add(21, 60);
select is_empty($$select * from private.due_vector_graphs()$$, 'small sets need no graph');
select tests.as_service();
select is(ai.due_search_maintenance(), false, 'so nothing is due');
select results_eq($$select vector_set_id, action from private.due_vector_graphs(40, 20)$$, $$select tests.kept('set')::int, 'build'$$, 'large ones do');
select is(ai.due_search_maintenance(40, 20), true, 'and then the upkeep is');
select is(private.finish_vector_graph(tests.kept('set')::int), false, 'nothing is finished before it is begun');
select is(private.fill_vector_graph(tests.kept('set')::int), false, 'or filled');
select is(private.begin_vector_graph(tests.kept('set')::int), true, 'begun');
select is(private.begin_vector_graph(tests.kept('set')::int), true, 'again, by whoever comes after one that died');
select is(private.catch_up_vector_graph(tests.kept('set')::int), null, 'an empty table is not caught up with');
select is(private.finish_vector_graph(tests.kept('set')::int), false, 'nor finished');
select tests.as_superuser();
select is((select relrowsecurity and relforcerowsecurity from pg_class where oid = format('private.%I', tests.kept('table'))::regclass), true, 'its row-level security is on and forced');
select is((select count(*)::int from pg_policy where polrelid = format('private.%I', tests.kept('table'))::regclass), 1, 'by one policy');
select is_empty(format($$select grantee from information_schema.role_table_grants where table_schema = 'private' and table_name = %L and (grantee in ('anon', 'PUBLIC') or (grantee in ('authenticated', 'service_role') and privilege_type <> 'SELECT'))$$, tests.kept('table')), 'and nobody may write it');
select tests.as_service();
select is(private.fill_vector_graph(tests.kept('set')::int), true, 'filled');
select tests.as_superuser();
select is(pg_temp.differences(), 0, 'it holds what the set holds for everybody in the tenant');
select tests.sign_in('member');
select is(pg_temp.nearest(30), 'Quay 30', 'search finds everything meanwhile');

-- What happens while it is filled: added, deleted, shown to fewer, replaced.
select tests.as_superuser();
select pg_temp.add(61, 65);
delete from ai.chunks where id in (tests.id('graph 21'), tests.id('graph 22'));
select private.store_vectors('bulkhead-hash-384', array[tests.id('graph 23')], array[tests.axis(100)::extensions.vector]);
select is(pg_temp.differences(), 9, 'nobody keeps the graph level until it is ready');
select tests.as_service();
select is(private.catch_up_vector_graph(tests.kept('set')::int), 9, 'it is brought up');
select is(private.catch_up_vector_graph(tests.kept('set')::int), 0, 'until nothing is left');
select tests.as_superuser();
select pg_temp.add(66, 66);
select tests.as_service();
select is(private.finish_vector_graph(tests.kept('set')::int), true, 'the last step brings in the rest');
select is(pg_temp.state(), 'ready', 'and lets searches use it');
select is(private.finish_vector_graph(tests.kept('set')::int), false, 'once');
select is(private.fill_vector_graph(tests.kept('set')::int), false, 'a second maintainer cannot begin anew');
select is(private.catch_up_vector_graph(tests.kept('set')::int), null, 'and has nothing to bring in');
select tests.as_superuser();
select is(pg_temp.differences(), 0, 'it holds what the set holds');

-- From now on every write keeps it so.
select pg_temp.add(67, 70);
delete from ai.chunks where id in (tests.id('graph 24'), tests.id('graph 25'));
select private.store_vectors('bulkhead-hash-384', array[tests.id('graph 26')], array[tests.axis(101)::extensions.vector]);
select is(pg_temp.differences(), 0, 'added, deleted and replaced');
update ai.sources set visibility = 'private' where id = tests.id('source a_open');
select is(pg_temp.differences(), 0, 'shown to one person only');
select is((select count(*)::int from private.search_vectors where vector_set_id = tests.kept('set')::int and is_shared), 1, 'which takes nearly all out of it');
update ai.sources set visibility = 'tenant' where id = tests.id('source a_open');
select is(pg_temp.differences(), 0, 'and shown to all again');

-- Read directly, by everybody.
select tests.sign_in('member');
select is(pg_temp.seen(), 48, 'a member reads the graph of the own tenant');
select tests.sign_in('viewer');
select is(pg_temp.seen(), 48, 'so does a viewer');
select tests.sign_in('b_member');
select is(pg_temp.seen(), 0, 'somebody of another tenant finds it empty');
select tests.sign_in('outsider');
select is(pg_temp.seen(), 0, 'so does who is in none');
select tests.as_anon();
select is(tests.outcome('select pg_temp.seen()'), '42501', 'who is not signed in may not look');

-- Given up.
select tests.as_service();
select results_eq($$select vector_set_id, action from private.due_vector_graphs(100, 80)$$, $$select tests.kept('set')::int, 'retire'$$, 'a set that has become small loses its graph');
select is(private.retire_vector_graph(tests.kept('set')::int), true, 'retired');
select is(private.drop_vector_graphs(), 0, 'it stays for the searches that read it');
select tests.sign_in('member');
select is(pg_temp.nearest(30), 'Quay 30', 'new ones are exact');
select tests.as_service();
select is(private.drop_vector_graphs('0 seconds'), 1, 'then it goes');
select is(pg_temp.state(), 'none', 'and could come again');

-- A tenant that is deleted takes its graph along.
select private.begin_vector_graph(tests.kept('set')::int);
select private.fill_vector_graph(tests.kept('set')::int);
select private.finish_vector_graph(tests.kept('set')::int);
select tests.as_superuser();
delete from public.tenants where id = tests.tenant('a');
delete from private.search_segments where item_count = 0;
select is(ai.due_search_maintenance(), true, 'what a deleted tenant leaves is noticed');
select is(private.drop_vector_graphs(), 1, 'and dropped');
select is(ai.due_search_maintenance(), false, 'and that is all');

-- The language of a knowledge base, and segments that nobody needs any more.
update ai.knowledge_bases set language = 'german' where tenant_id = tests.tenant('b') and is_default;
select is(ai.due_search_maintenance(), true, 'chunks lexed in another language are noticed');
select is(array[private.move_misplaced_chunks(2), private.move_misplaced_chunks(), private.move_misplaced_chunks()], array[2, 2, 0], 'moved in batches');
select is(
  array[(select count(*)::int from private.search_segments where kind = 'chunk' and language = 'english'), private.remove_empty_segments(), private.remove_empty_segments()],
  array[3, 3, 0], 'the segments they leave empty are removed'
);

select * from finish();
rollback;
