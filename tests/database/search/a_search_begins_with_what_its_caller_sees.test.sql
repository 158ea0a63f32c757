-- private.caller_search_scope() is held to no policy: what it gives is what the policies of its two tables show, whoever asks.
begin;
select plan(28);
select tests.make_world();
-- Sets of vectors of both tenants under one name, and one that only the other tenant has.
select private.store_vectors('elsewhere', array[tests.id('chunk b_open')], array[tests.axis(1)::extensions.vector]);
insert into public.memories (id, tenant_id, user_id, agent_id, body)
values
  (tests.id('memory mine'), tests.tenant('a'), tests.person('member'), null, 'Mine'),
  (tests.id('memory theirs'), tests.tenant('a'), tests.person('viewer'), null, 'Theirs'),
  (tests.id('memory agent'), tests.tenant('a'), null, tests.id('agent a'), 'Of one agent'),
  (tests.id('memory b'), tests.tenant('b'), null, null, 'Of others');
select tests.keep('base_' || letter, (select id::text from ai.knowledge_bases where tenant_id = tests.tenant(letter) and is_default))
from unnest(array['a', 'b']) as letter;

create function pg_temp.scope(
  kind text, knowledge_base_ids uuid[] default null, agent_id uuid default null, user_id uuid default null, embedding_model text default 'bulkhead-hash-384'
)
returns private.search_scope language sql as $$
  select private.caller_search_scope(scope.kind, scope.knowledge_base_ids, scope.agent_id, scope.user_id, scope.embedding_model);
$$;
create function pg_temp.shown(kind text)
returns int[] language sql as $$
  select array_agg(segments.id order by segments.id) from private.search_segments as segments where segments.kind = shown.kind and segments.item_count > 0;
$$;
create function pg_temp.sorted(ids int[]) returns int[] language sql as $$ select array_agg(id order by id) from unnest(ids) as id; $$;
create function pg_temp.sets(scope private.search_scope)
returns int[] language sql as $$ select array_agg((vector_set).id order by (vector_set).id) from unnest(scope.vector_sets) as vector_set; $$;

create function pg_temp.agrees(who text, headers jsonb default null)
returns setof text language plpgsql as $$
declare
  chunks private.search_scope;
  memories private.search_scope;
begin
  perform tests.sign_in(who, headers => headers);
  chunks := pg_temp.scope('chunk');
  memories := pg_temp.scope('memory');
  return next is(
    array[pg_temp.sorted(chunks.segments)::text, pg_temp.sorted(memories.segments)::text],
    array[pg_temp.shown('chunk')::text, pg_temp.shown('memory')::text],
    concat_ws(' ', who, headers) || ': the segments that their policy shows'
  );
  return next is(
    pg_temp.sets(chunks),
    (
      select array_agg(sets.id order by sets.id)
      from private.vector_sets as sets
      where sets.embedding_model = 'bulkhead-hash-384' and chunks.segments is not null
    ),
    concat_ws(' ', who, headers) || ': the vector sets that theirs shows'
  );
end;
$$;
select pg_temp.agrees(who) from unnest(array['member', 'viewer', 'owner', 'backend_a', 'b_member', 'both', 'outsider']) as who;
select pg_temp.agrees('both', jsonb_build_object('x-tenant-id', tests.tenant('b')));

-- Naming what is another's gives nothing of it, and no other answer than a name that nobody has.
select tests.sign_in('member');
select ok(cardinality((pg_temp.scope('chunk', array[tests.kept('base_a')::uuid])).segments) > 0, 'a knowledge base of one''s own is searched');
select is((pg_temp.scope('chunk', array[tests.kept('base_b')::uuid]))::text, (pg_temp.scope('chunk', array[gen_random_uuid()]))::text, 'one of another tenant is like one that is not there');
select is((pg_temp.scope('chunk', array[tests.kept('base_b')::uuid])).segments, null, 'which is nothing');
select is((pg_temp.scope('chunk', embedding_model => 'elsewhere'))::text, (pg_temp.scope('chunk', embedding_model => 'nowhere'))::text, 'nor does a model tell that another tenant has it');
select is((pg_temp.scope('chunk', embedding_model => null)).vector_sets, null, 'without a model there are no vectors');
select ok(
  (select bool_and(segments.owner_id is null or segments.owner_id = tests.person('member')) from private.search_segments as segments where segments.id = any ((pg_temp.scope('memory', user_id => tests.person('member'))).segments)),
  'memories of one person are theirs and those of nobody in particular'
);
select is(
  (pg_temp.scope('memory', user_id => tests.person('viewer')))::text, (pg_temp.scope('memory', user_id => gen_random_uuid()))::text,
  'those of another are like those of nobody'
);
create function pg_temp.asked(scope private.search_scope)
returns text language sql as $$
  select string_agg(concat_ws(' ', case when segments.owner_id is not null then 'own' end, case when segments.agent_id is not null then 'agent' end, 'memory'), ', ' order by segments.id)
  from private.search_segments as segments
  where segments.id = any (scope.segments);
$$;
select tests.keep('all', pg_temp.asked(pg_temp.scope('memory')));
select ok(tests.kept('all') like '%own memory%' and tests.kept('all') like '%agent memory%', 'memories of one''s own and of an agent are searched');
select unalike(pg_temp.asked(pg_temp.scope('memory', user_id => tests.person('viewer'))), '%own%', 'not one''s own where another''s are asked for');
select unalike(pg_temp.asked(pg_temp.scope('memory', agent_id => tests.id('agent quiet a'))), '%agent%', 'not of an agent where another is asked for');
select tests.sign_in('b_member');
select is(cardinality((pg_temp.scope('chunk', embedding_model => 'elsewhere')).vector_sets), 1, 'though the other tenant searches them');
select tests.as_anon();
select is(tests.outcome($$select private.caller_search_scope('chunk', null, null, null, null)$$), '42501', 'nobody asks without signing in');

select * from finish();
rollback;
