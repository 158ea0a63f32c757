-- The lease of indexing, staged chunks that outlive a crash, and the swap.
begin;
select plan(46);
select tests.make_world();
delete from private.staged_chunks;
select tests.keep('id', tests.id('indexed a_open')::text);
update ai.indexed_sources set index_status = 'pending' where id = tests.kept_id('id');
update ai.sources set visibility = 'granted' where id = tests.id('source a_open');
insert into ai.source_grants (tenant_id, source_id, user_id) values (tests.tenant('a'), tests.id('source a_open'), tests.person('viewer'));

create function pg_temp.claim(name text)
returns boolean
language sql
as $$ select tests.keep(name, ai.claim_indexing(tests.kept_id('id'), name) ->> 'lease_token') <> ''; $$;
create function pg_temp.chunk(place int, text text, hash text default 'h')
returns jsonb
language sql
as $$
  select jsonb_build_object(
    'chunk_index', place, 'text', text, 'start_char', 0, 'end_char', char_length(text), 'tokens', 3, 'score', 1, 'meta', '{"pages": [1]}'::jsonb,
    'content_hash', hash, 'embedding', tests.axis(place + 1)::jsonb
  );
$$;
create function pg_temp.stage(lease text, chunks jsonb, model text default 'm1') returns boolean language sql as $$
  select ai.stage_chunks(tests.kept_id('id'), tests.kept_id(lease), chunks, model);
$$;
create function pg_temp.finish(lease text, chunk_count int, model text default 'm1') returns text language sql as $$
  select tests.outcome(format(
    'select tests.keep(''finished'', ai.finish_indexing(%L, %L, %s, %L, ''{"page_count": 1}'')::text)', tests.kept('id'), tests.kept(lease), chunk_count, model
  ));
$$;
create function pg_temp.searchable()
returns text
language sql
security definer
as $$ select string_agg(text, ',' order by chunk_index) from ai.chunks where indexed_source_id = tests.kept_id('id'); $$;
create function pg_temp.attempts() returns int language sql security definer as $$ select attempts from ai.indexed_sources where id = tests.kept_id('id'); $$;
create function pg_temp.expire() returns void language sql security definer as $$ update ai.indexed_sources set lease_expires_at = now() - interval '1 second' where id = tests.kept_id('id'); $$;

select tests.as_service();
select pg_temp.claim('first');
select is(pg_temp.claim('second'), false, 'one worker at a time');
select is(
  ai.read_pages(tests.kept_id('id'), tests.kept_id('first'), 1, 10) -> 0 ->> 'text', 'The harbour tariff of a open is paid in advance.', 'the holder reads the pages'
);
select is(ai.read_pages(tests.kept_id('id'), gen_random_uuid(), 1, 10), '[]', 'others read none');
select is(pg_temp.stage('first', jsonb_build_array(pg_temp.chunk(0, 'zero', 'h0'), pg_temp.chunk(1, 'one', 'h1'))), true, 'chunks are kept aside');
select is(pg_temp.searchable(), 'The harbour tariff of a open is paid in advance.', 'where search does not see them');
select is(pg_temp.finish('first', 3), '55000', 'it does not end with chunks missing');
select is(pg_temp.finish('first', 2, 'm2'), '55000', 'nor with chunks of another model');
select is(pg_temp.searchable(), 'The harbour tariff of a open is paid in advance.', 'the last complete indexing stays searchable');

-- The worker dies; the next one finds what is embedded.
select pg_temp.expire();
select is(pg_temp.claim('second'), true, 'an expired lease is taken over');
select is(pg_temp.stage('first', jsonb_build_array(pg_temp.chunk(0, 'late'))), false, 'the late holder stages nothing');
select is(ai.read_staged_chunks(tests.kept_id('id'), tests.kept_id('first')), '[]', 'and reads nothing');
select is(pg_temp.finish('first', 2), 'ok', 'its end');
select is(tests.kept('finished'), 'false', 'is refused');
select is(ai.fail_indexing(tests.kept_id('id'), tests.kept_id('first'), 'failed', 'internal', 'x', 'x'), false, 'so is its failure');
select is(ai.renew_lease('indexing', tests.kept_id('id'), tests.kept_id('first')), false, 'and its renewal');
select is(
  ai.read_staged_chunks(tests.kept_id('id'), tests.kept_id('second')),
  '[{"chunk_index": 0, "content_hash": "h0", "embedding_model": "m1"}, {"chunk_index": 1, "content_hash": "h1", "embedding_model": "m1"}]',
  'what the first attempt embedded is there to be reused'
);
select is(pg_temp.stage('second', jsonb_build_array(pg_temp.chunk(1, 'one again'), pg_temp.chunk(2, 'two'), pg_temp.chunk(7, 'beyond'))), true, 'staging again replaces');
select is(pg_temp.finish('second', 3), 'ok', 'all are there');
select is(tests.kept('finished'), 'true', 'it ends');
select is(pg_temp.searchable(), 'zero,one again,two', 'the new chunks, all of them and no others, are searchable');
select is_empty($$select text from private.staged_chunks where indexed_source_id = tests.kept_id('id')$$, 'nothing is left aside');
select is(
  (select index_status || ' ' || embedding_model || ' ' || (stats ->> 'chunk_count') from ai.indexed_sources where id = tests.kept_id('id')), 'indexed m1 3',
  'the row says so'
);
select set_eq(
  $$select distinct visibility, owner_id, allowed_principals from ai.chunks where indexed_source_id = tests.kept_id('id')$$,
  $$select visibility, owner_id, allowed_principals from ai.sources where id = tests.id('source a_open')$$,
  'new chunks are seen by whom the source is seen'
);
select is((select count(*)::int from private.search_vectors join ai.chunks on chunks.id = item_id where indexed_source_id = tests.kept_id('id')), 3, 'each with its vector');
select tests.sign_in('viewer');
select set_eq($$select text from ai.search('one', tests.axis(2)::extensions.vector, 'm1', source_ids => array[tests.id('source a_open')])$$, array['one again', 'zero', 'two'], 'a grantee finds them');
select tests.sign_in('owner');
select is_empty($$select text from ai.search('one', tests.axis(2)::extensions.vector, 'm1', source_ids => array[tests.id('source a_open')])$$, 'others do not');

select tests.as_service();
select is(pg_temp.finish('second', 3), 'ok', 'ending twice');
select is(tests.kept('finished'), 'false', 'is refused');
select is(pg_temp.searchable(), 'zero,one again,two', 'and takes nothing away');
select is(pg_temp.claim('third'), false, 'what is indexed is not claimed');

-- A source that is being extracted anew is not indexed meanwhile; one that is emptied ends with no chunk.
select tests.as_superuser();
update ai.indexed_sources set index_status = 'pending' where id = tests.kept_id('id');
update ai.sources set extraction_status = 'pending', extracted_at = null where id = tests.id('source a_open');
select tests.as_service();
select is(pg_temp.claim('fourth'), false, 'not while the source is not extracted');
select tests.as_superuser();
update ai.sources set extraction_status = 'extracted', extracted_at = now() where id = tests.id('source a_open');
select tests.as_service();
select is(pg_temp.claim('fourth'), true, 'afterwards it is');
select is(pg_temp.finish('fourth', 0), 'ok', 'with nothing to index');
select is(pg_temp.searchable(), null, 'nothing is found');

-- What a model said about parts of a document is kept behind its chunks, and gone when they are searchable.
select tests.as_superuser();
update ai.indexed_sources set index_status = 'pending' where id = tests.kept_id('id');
select tests.as_service();
select pg_temp.claim('asking');
select pg_temp.stage('asking', jsonb_build_array(pg_temp.chunk(0, 'a record', 'r'), pg_temp.chunk(1, '', 'p1') || '{"meta": {"answer": {"berth": 12}}, "embedding": [0]}'));
select is(
  ai.read_staged_meta(tests.kept_id('id'), tests.kept_id('asking'), 1),
  '[{"chunk_index": 1, "content_hash": "p1", "meta": {"answer": {"berth": 12}}}]',
  'what was kept from a place on'
);
select is(ai.read_staged_meta(tests.kept_id('id'), tests.kept_id('fourth'), 0), '[]', 'is told to the holder of the lease only');
select is(pg_temp.finish('asking', 1), 'ok', 'the document ends with its one chunk');
select is(pg_temp.searchable(), 'a record', 'and nothing else');

-- Vectors that are none.
select tests.as_superuser();
update ai.indexed_sources set index_status = 'pending' where id = tests.kept_id('id');
select tests.as_service();
select pg_temp.claim('fifth');
select is(tests.outcome(format('select ai.stage_chunks(%L, %L, %L, %L)', tests.kept('id'), tests.kept('fifth'), jsonb_build_array(pg_temp.chunk(0, 'x') || '{"embedding": ["NaN"]}'), 'm1')), '22P02', 'a vector of NaN is refused');
select is(tests.outcome(format('select ai.stage_chunks(%L, %L, %L, %L)', tests.kept('id'), tests.kept('fifth'), jsonb_build_array(pg_temp.chunk(0, 'x') || '{"embedding": null}'), 'm1')), '23502', 'so is none');

-- Ten beginnings without an end are too many, of those that bring nothing.
select tests.as_superuser();
delete from private.staged_chunks;
update ai.indexed_sources set attempts = 7 where id = tests.kept_id('id');
select pg_temp.expire();
select tests.as_service();
select pg_temp.claim('sixth');
select is(pg_temp.attempts(), 8, 'a beginning is counted');
select pg_temp.stage('sixth', jsonb_build_array(pg_temp.chunk(0, 'one')));
select is(pg_temp.attempts(), 1, 'until it brings something');
select pg_temp.expire();
select pg_temp.claim('seventh');
select pg_temp.stage('seventh', jsonb_build_array(pg_temp.chunk(0, 'another', 'other')));
select is(pg_temp.attempts(), 2, 'which the same place once more is not');
select pg_temp.stage('seventh', jsonb_build_array(pg_temp.chunk(0, 'another', 'other'), pg_temp.chunk(1, 'two')));
select is(pg_temp.attempts(), 1, 'and a further one is');
select is(pg_temp.finish('seventh', 2), 'ok', 'to the end');

select ok(
  (select proconfig @> array['statement_timeout=5min'] from pg_proc where oid = 'ai.finish_indexing(uuid, uuid, integer, text, jsonb)'::regprocedure),
  'a document of very many passages has more time than a request'
);

select * from finish();
rollback;
