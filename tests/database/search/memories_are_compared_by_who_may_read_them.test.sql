-- The guide's statement and ai.search_memories, as everybody. The vectors themselves are nobody's.
begin;
select plan(43);
select tests.make_world();
delete from public.memories;
set local search_path to "$user", public, extensions;

-- a_mine and a_hers are about people, a_all about nobody in particular, a_agent for one agent; b_all is another tenant's.
insert into public.memories (id, tenant_id, user_id, agent_id, body)
values
  (tests.id('memory mine'), tests.tenant('a'), tests.person('member'), null, 'Prefers green tea in the morning, order ZX-40021'),
  (tests.id('memory hers'), tests.tenant('a'), tests.person('admin'), null, 'Prefers black tea in the evening'),
  (tests.id('memory all'), tests.tenant('a'), null, null, 'The office serves tea at four'),
  (tests.id('memory agent'), tests.tenant('a'), null, tests.id('agent a'), 'Answer about tea in rhymes'),
  (tests.id('memory left'), tests.tenant('a'), tests.person('outsider'), null, 'Prefers no tea at all'),
  (tests.id('memory b'), tests.tenant('b'), null, null, 'Green tea is for patients');
select tests.as_service();
select is(
  (
    select count(*)::int
    from (values ('mine', 1), ('hers', 2), ('all', 3), ('agent', 4), ('left', 5), ('b', 1)) as placed (name, axis)
    cross join lateral (select ai.claim_memory(tests.id('memory ' || placed.name)) as claim) as claimed
    where ai.store_memory_vector(tests.id('memory ' || placed.name), claim ->> 'body_hash', 'm1', tests.axis(placed.axis)::jsonb)
  ),
  6, 'every memory is embedded'
);
select tests.as_superuser();

create function pg_temp.guide(query_embedding text, query_text text, tenant_id uuid)
returns table (id uuid, body text, score float8)
language plpgsql
as $$
begin
  -- The guide's statement with its parameters bound, as a driver sends it: their types are the server's to find.
  execute 'prepare guide as
    SELECT id, body, (1 - (embedding <=> $1)) * 0.7 + similarity(body, $2) * 0.3 AS score
    FROM memories WHERE tenant_id = $3 ORDER BY score DESC LIMIT 5';
  return query execute format('execute guide(%L, %L, %L)', query_embedding, query_text, tenant_id);
  execute 'deallocate guide';
end;
$$;
create function pg_temp.names(ids uuid[])
returns text
language sql
as $$
  select string_agg(names.name, ' ' order by listed.position)
  from unnest(ids) with ordinality as listed (id, position)
  join unnest(array['mine', 'hers', 'all', 'agent', 'left', 'b']) as names (name) on tests.id('memory ' || names.name) = listed.id;
$$;
create function pg_temp.guided(letter text default 'a', axis int default 1)
returns text
language sql
as $$ select pg_temp.names(array_agg(found.id order by found.score desc)) from pg_temp.guide(tests.axis(axis), 'green tea', tests.tenant(letter)) as found; $$;
create function pg_temp.found(query text, axis int default null, agent uuid default null, person uuid default null, method text default 'hybrid')
returns text
language sql
as $$
  select pg_temp.names(array(
    select memory_id from ai.search_memories(
      query, case when axis is not null then tests.axis(axis)::extensions.vector end, case when axis is not null then 'm1' end, agent_id => agent, user_id => person, method => found.method
    )
  ));
$$;

select tests.sign_in('member');
select is(pg_temp.guided(), 'mine agent all', 'the guide''s statement finds the member''s own memories and the tenant''s, best first');
select ok(
  (
    select abs(found.score - (0.7 + 0.3 * similarity(found.body, 'green tea'))) < 0.001
    from pg_temp.guide(tests.axis(1), 'green tea', tests.tenant('a')) as found
    where found.id = tests.id('memory mine')
  ),
  'with the guide''s score'
);
select is(pg_temp.guided('b'), null, 'and nothing of another tenant, whatever it asks for');
select is((select embedding <=> (select array_agg(0.5) from generate_series(1, 384))::extensions.vector from memories where body like 'Prefers green%')::numeric(4, 3), 0.949, 'a vector as operand');
select is((select embedding <=> tests.axis(1)::extensions.halfvec(384) from memories where body like 'Prefers green%'), 0::float8, 'a halfvec');
select is((select embedding <=> tests.axis(1)::extensions.vector(384) from memories where body like 'Prefers green%'), 0::float8, 'a vector of given length');
select is((select embedding <=> null from memories where body like 'Prefers green%'), null, 'null');
select is((select embedding <=> (tests.axis(1)::extensions.vector * array_fill(0, array[384])::extensions.vector) from memories where body like 'Prefers green%'), 1::float8, 'the zero vector is unrelated to everything');
select is(tests.outcome($$select embedding <=> '[1,2]' from memories$$), '22000', 'a query of another length is refused');
select is(tests.outcome($$select embedding <=> '[NaN]' from memories$$), '22000', 'so is NaN');
select is(tests.outcome($$select embedding <=> '[Infinity]' from memories$$), '22000', 'and infinity');
select results_eq(
  $$select to_jsonb(embedding) from public.memories where body like 'Prefers green%'$$,
  $$select jsonb_build_object('memory_id', tests.id('memory mine'), 'embedding_model', 'm1')$$,
  'who selects the column gets a name, no vector'
);
select is(tests.outcome($$select (embedding).memory_id::extensions.vector from public.memories$$), '42846', 'which is none in disguise');
select is(tests.outcome($$insert into public.memories (body, embedding) values ('x', row(gen_random_uuid(), 'm1'))$$), '428C9', 'nor can one be written');
select is(row(tests.id('memory hers'), 'm1')::public.memory_embedding <=> tests.axis(2)::extensions.halfvec, 1::float8, 'the name of somebody else''s memory, made up, tells nothing');
select is(row(tests.id('memory b'), 'm1')::public.memory_embedding <=> tests.axis(1)::extensions.halfvec, 1::float8, 'nor that of another tenant''s');
select is(row(tests.id('memory mine'), 'm1')::public.memory_embedding <=> tests.axis(1)::extensions.halfvec, 0::float8, 'that of one''s own does');
select is(row(null, null)::public.memory_embedding <=> tests.axis(1)::extensions.halfvec, 1::float8, 'nobody''s: unrelated');

select is(pg_temp.found('green tea', 1), 'mine agent all', 'search_memories finds the same');
select is(pg_temp.found('tea'), 'agent all mine', 'by words alone, the shortest text first');
select is(pg_temp.found('evening'), null, 'not by the words of somebody else''s');
select is(pg_temp.found('ZX-40021'), 'mine', 'by an identifier');
select is(pg_temp.found('zx40012'), 'mine', 'even one that is misspelt');
select is(pg_temp.found('tea -office', 1), 'mine agent', 'without what is excluded');
select is(pg_temp.found('"green tea"', 3), 'mine', 'and only with what is required');
select is(pg_temp.found('nothing of this', 4, method => 'vector_search'), 'agent all mine', 'by vectors alone');
select is(pg_temp.found('tea', agent => tests.id('agent a')), 'agent all mine', 'for an agent: its own and everybody''s');
select is(pg_temp.found('tea', agent => tests.id('agent b')), 'all mine', 'for another: everybody''s');
select is_empty($$select * from ai.search_memories('tea', tests.axis(1)::extensions.vector, 'm2', method => 'vector_search')$$, 'vectors of another model are not compared');
select is(tests.outcome($$select ai.search_memories('tea', '[1,2]', 'm1')$$), 'PT400 invalid_embedding', 'a vector of another length is refused');
select is(tests.outcome($$select ai.search_memories('tea', array_fill(0, array[384])::extensions.vector, 'm1')$$), 'PT400 invalid_embedding', 'so is the zero vector');
select is(tests.outcome($$select ai.search_memories('tea', tests.axis(1)::extensions.vector)$$), 'PT400 invalid_request', 'and one of no model');
select is(tests.outcome($$select ai.search_memories('')$$), 'PT400 invalid_request', 'a query has to ask something');

select tests.sign_in('viewer');
select is(pg_temp.guided() || ' | ' || pg_temp.found('tea', 1), 'agent all | agent all', 'a viewer finds what is the tenant''s');
select tests.sign_in('admin');
select is(pg_temp.guided(axis => 2) || ' | ' || pg_temp.found('tea', 2), 'hers agent all | hers agent all', 'an admin finds her own, not the member''s');
select tests.sign_in('b_member');
select is(pg_temp.guided('b') || ' | ' || pg_temp.found('tea', 1), 'b | b', 'another tenant finds its own');
select is(pg_temp.guided('a'), null, 'and nothing of this one');
select tests.sign_in('backend_a');
select is(pg_temp.found('tea', 5), 'left agent all hers mine', 'the backend finds all');
select is(pg_temp.found('tea', 5, person => tests.person('member')), 'agent all mine', 'or what is about one person and about nobody in particular');
select tests.sign_in('outsider');
select is(coalesce(pg_temp.guided(), '') || coalesce(pg_temp.found('tea', 5), ''), '', 'who has left finds nothing, not even what is about them');
select tests.as_superuser();
delete from public.memberships where user_id = tests.person('member') and tenant_id = tests.tenant('a');
select tests.sign_in('member');
select is(coalesce(pg_temp.guided(), '') || coalesce(pg_temp.found('tea', 1), ''), '', 'a member who is removed finds nothing from the next statement on');
select tests.as_anon();
select is(tests.outcome($$select ai.search_memories('tea')$$), '42501', 'who is not signed in asks nothing');

select * from finish();
rollback;
