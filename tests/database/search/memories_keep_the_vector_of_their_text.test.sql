-- What public.memories holds is what the index holds; a vector belongs to one text and to the model in use.
begin;
select plan(32);
select tests.make_world();
delete from public.memories;
delete from pgboss.job;

create function pg_temp.index_of(memory text) returns text language sql security definer as $$
  select concat_ws(
    ' ', search_segments.visibility, tests.name_of(search_segments.owner_id), search_lexemes.term_count,
    (select string_agg(vector_sets.embedding_model, ',' order by vector_sets.embedding_model) from private.search_vectors join private.vector_sets on vector_sets.id = vector_set_id where item_id = search_lexemes.item_id and search_vectors.segment_id = search_segments.id and not search_vectors.is_shared)
  )
  from private.search_lexemes
  join private.search_segments on search_segments.id = search_lexemes.segment_id
  where search_lexemes.item_id = tests.id('memory ' || memory);
$$;
create function pg_temp.jobs() returns text language sql security definer as $$
  select coalesce(string_agg(name || ' ' || state || ' ' || (data = jsonb_build_object('id', tests.id('memory x'))), ',' order by state::text), 'none') from pgboss.job where name <> 'maintain_search';
$$;
create function pg_temp.store(claimed text, model text default 'm1', axis int default 1) returns boolean language sql as $$
  select ai.store_memory_vector(tests.id('memory x'), tests.kept(claimed)::jsonb ->> 'body_hash', model, tests.axis(axis)::jsonb);
$$;
create function pg_temp.claim(name text) returns text language sql as $$ select tests.keep(name, ai.claim_memory(tests.id('memory x'))::text); $$;

insert into public.memories (id, tenant_id, user_id, body) values (tests.id('memory x'), tests.tenant('a'), tests.person('member'), 'Likes mountains');
select is(pg_temp.index_of('x'), 'private member 2', 'a new memory is found by its words, by its person');
select is(pg_temp.jobs(), 'embed_memory created true', 'and queued to be embedded, by its id alone');
select tests.sign_in('member');
select is(tests.outcome($$select ai.claim_memory(tests.id('memory x'))$$), '42501', 'people claim nothing');
select is(tests.outcome($$select ai.store_memory_vector(tests.id('memory x'), 'h', 'm1', '[1]')$$), '42501', 'and store nothing');

select tests.as_service();
select is(pg_temp.claim('first')::jsonb - 'tenant_id', jsonb_build_object('memory_id', tests.id('memory x'), 'body', 'Likes mountains', 'body_hash', md5('Likes mountains'), 'embedding_model', null), 'the worker is told the text, and that there is no model yet');
select tests.sign_in('member');
update public.memories set body = 'Likes the sea' where id = tests.id('memory x');
select tests.as_service();
select is(pg_temp.store('first'), false, 'the vector of a text that is no more counts for nothing');
select is(pg_temp.index_of('x'), 'private member 2', 'the new text is the one to be found');
select pg_temp.claim('second');
select is(pg_temp.store('second'), true, 'that of the present one does');
select is(pg_temp.index_of('x'), 'private member 2 m1', 'it is there');
select is(pg_temp.claim('third'), '', 'what has a vector is not embedded again');
select is((select memory_embedding_model from public.tenants where id = tests.tenant('a')), 'm1', 'the first vector decides on the model');
select is((select memory_embedding_model from public.tenants where id = tests.tenant('b')), null, 'of this tenant');

select tests.as_superuser();
update pgboss.job set state = 'completed';
select tests.sign_in('member');
update public.memories set body = 'Likes the desert' where id = tests.id('memory x');
select tests.as_superuser();
select is(pg_temp.index_of('x') || ', ' || (select (embedding_model is null)::text from public.memories where id = tests.id('memory x')), 'private member 2, true', 'a changed text loses its vector at once');
select is(pg_temp.jobs(), 'embed_memory completed true,embed_memory created true', 'and is queued again');
select tests.as_service();
select is(pg_temp.claim('fourth')::jsonb ->> 'embedding_model', 'm1', 'the worker is told which model is in use');
select is(pg_temp.store('fourth', 'm2'), false, 'another one''s vector is refused');
-- Another memory has one: then the length of the next is decided.
select tests.as_superuser();
insert into public.memories (id, tenant_id, user_id, body) values (tests.id('memory z'), tests.tenant('a'), tests.person('member'), 'Likes rain');
delete from pgboss.job where data ->> 'id' = tests.id('memory z')::text;
select tests.as_service();
select ai.store_memory_vector(tests.id('memory z'), md5('Likes rain'), 'm1', tests.axis(1)::jsonb);
select is(tests.outcome($$select ai.store_memory_vector(tests.id('memory x'), md5('Likes the desert'), 'm1', '[1,2]')$$), '22023', 'so is one of another length');
select is(tests.outcome($$select ai.store_memory_vector(tests.id('memory x'), md5('Likes the desert'), 'm1', '["NaN"]')$$), '22P02', 'one of NaN');
select is(tests.outcome($$select ai.store_memory_vector(tests.id('memory x'), md5('Likes the desert'), 'm1', null)$$), '23502', 'and none');
select is(pg_temp.store('fourth'), true, 'the right one is not');

-- Whose it is decides where it is found; a change of nothing but that keeps the vector.
select tests.as_superuser();
delete from public.memories where id = tests.id('memory z');
update public.memories set user_id = null where id = tests.id('memory x');
select is(pg_temp.index_of('x'), 'tenant 2 m1', 'made the tenant''s, it moves with its vector');
select tests.sign_in('viewer');
select is((select body from ai.search_memories('desert')), 'Likes the desert', 'and everybody finds it');
select tests.as_superuser();
update public.memories set user_id = tests.person('admin') where id = tests.id('memory x');
select tests.sign_in('viewer');
select is_empty($$select body from ai.search_memories('desert')$$, 'made somebody''s, others do not');

-- Deleted while it was being embedded.
select tests.as_superuser();
update public.memories set body = 'Likes caves' where id = tests.id('memory x');
select tests.as_service();
select pg_temp.claim('fifth');
select tests.sign_in('admin');
delete from public.memories where id = tests.id('memory x');
select tests.as_service();
select is(pg_temp.store('fifth'), false, 'what was deleted is not brought back');
select tests.as_superuser();
select is_empty($$select item_id from private.search_lexemes where item_id = tests.id('memory x') union all select item_id from private.search_vectors where item_id = tests.id('memory x')$$, 'nothing of it is left');
select is((select sum(item_count)::int from private.search_segments where kind = 'memory'), 0, 'nor counted');

-- The sweep.
delete from pgboss.job;
insert into public.memories (id, tenant_id, user_id, body, created_at) values (tests.id('memory y'), tests.tenant('a'), null, 'Forgotten', now() - interval '1 minute');
select is((select count(*)::int from ai.due_ingestion() where kind = 'memory'), 0, 'one that is queued is not due');
delete from pgboss.job;
select tests.as_service();
select results_eq($$select id from ai.due_ingestion() where kind = 'memory'$$, $$select tests.id('memory y')$$, 'one whose job is lost is');
select isnt(ai.claim_memory(tests.id('memory y')), null, 'a worker begins');
select is((select count(*)::int from ai.due_ingestion() where kind = 'memory'), 0, 'and whatever it meets, it is not due soon again');
select tests.as_superuser();
update public.memories set embedding_attempted_at = now() - interval '61 minutes' where id = tests.id('memory y');
select is((select count(*)::int from ai.due_ingestion() where kind = 'memory'), 1, 'but after an hour');
select is(
  tests.outcome($$insert into public.memories (tenant_id, body) values (tests.tenant('a'), 'No'), (tests.tenant('a'), '!?')$$), 'ok',
  'what has no word to be found by is kept all the same'
);

select * from finish();
rollback;
