-- Vectors of two models side by side, and the switch between them: whole or not at all, there and back.
begin;
select plan(76);
select tests.make_world();
delete from private.staged_chunks;
delete from private.reembeddings;
delete from pgboss.job;
select tests.keep('base', (select id from ai.knowledge_bases where tenant_id = tests.tenant('a') and is_default)::text);
update ai.knowledge_bases set embedding_model = 'bulkhead-hash-384' where id = tests.kept_id('base');
update ai.indexed_sources set index_status = 'indexed', indexed_at = now() where knowledge_base_id = tests.kept_id('base');
-- One of another tenant, which must stay as it is.
update ai.knowledge_bases set embedding_model = 'bulkhead-hash-384' where tenant_id = tests.tenant('b') and is_default;

create function pg_temp.call(name text, model text, base uuid default tests.kept_id('base')) returns text language sql as $$
  select tests.outcome(format('select ai.%I(%L, %L)', name, base, model));
$$;
create function pg_temp.base() returns text language sql security definer as $$
  select concat_ws(' then ', embedding_model, next_embedding_model) from ai.knowledge_bases where id = tests.kept_id('base');
$$;
create function pg_temp.reembedding() returns uuid language sql security definer as $$
  select id from private.reembeddings where knowledge_base_id = tests.kept_id('base');
$$;
create function pg_temp.jobs() returns int language sql security definer as $$
  select count(*)::int from pgboss.job where name = 'reembed_knowledge_base' and state = 'created' and data = jsonb_build_object('id', pg_temp.reembedding());
$$;
create function pg_temp.claim(name text) returns boolean language sql as $$
  select tests.keep(name, ai.claim_reembedding(pg_temp.reembedding(), name) ->> 'lease_token') <> '';
$$;
-- Stores vectors for what is read: of three dimensions, so that they could not pass for the others.
create function pg_temp.embed(lease text, item_limit int default 100, embedding jsonb default '[1, 2, 3]') returns int language plpgsql as $$
declare
  items jsonb := ai.read_unembedded(pg_temp.reembedding(), tests.kept_id(lease), item_limit);
begin
  if not ai.store_reembedded(
    pg_temp.reembedding(), tests.kept_id(lease),
    (select jsonb_agg(item - 'text' || jsonb_build_object('embedding', embed.embedding)) from jsonb_array_elements(items) as item)
  ) then
    return -1;
  end if;
  return jsonb_array_length(items);
end;
$$;
create function pg_temp.finish(lease text) returns text language sql as $$ select ai.finish_reembedding(pg_temp.reembedding(), tests.kept_id(lease)); $$;
create function pg_temp.stop(lease text) returns boolean language sql as $$
  select ai.fail_reembedding(pg_temp.reembedding(), tests.kept_id(lease), 'pending', 'transient', 'worker_stopped', 'Stopped.');
$$;
create function pg_temp.attempts() returns int language sql security definer as $$
  select attempts from private.reembeddings where id = pg_temp.reembedding();
$$;
create function pg_temp.vectors(model text) returns int language sql security definer as $$
  select count(*)::int from private.search_vectors join private.vector_sets on vector_sets.id = vector_set_id and embedding_model = model
  where search_vectors.tenant_id = tests.tenant('a');
$$;

-- Who may.
select tests.sign_in('viewer');
select is(pg_temp.call('reembed_knowledge_base', 'm2'), 'PT403 forbidden', 'a viewer changes no model');
select is(pg_temp.call('switch_embedding_model', 'm2'), 'PT403 forbidden', 'switches none');
select is(pg_temp.call('discard_embedding_model', 'm2'), 'PT403 forbidden', 'and discards none');
select tests.sign_in('member');
select is(pg_temp.call('reembed_knowledge_base', 'm2'), 'PT403 forbidden', 'nor does a member who has not made it');
select is(pg_temp.call('reembed_knowledge_base', 'm2', tests.id('base a')), 'ok', 'one who has does');
select is(pg_temp.call('discard_embedding_model', 'm2', tests.id('base a')), 'ok', 'and takes it back');
select tests.sign_in('b_owner');
select is(pg_temp.call('reembed_knowledge_base', 'm2'), 'PT404 not_found', 'to another tenant it does not exist');
select is(pg_temp.call('switch_embedding_model', 'm2'), 'PT404 not_found', 'to be switched');
select is(pg_temp.call('discard_embedding_model', 'bulkhead-hash-384'), 'PT404 not_found', 'or emptied');
select tests.as_anon();
select is(pg_temp.call('reembed_knowledge_base', 'm2'), '42501', 'nobody in particular may nothing');
select tests.sign_in('admin');
select is(pg_temp.call('reembed_knowledge_base', ''), 'PT400 invalid_request', 'a model has a name');
select is(pg_temp.call('reembed_knowledge_base', repeat('x', 201)), 'PT400 invalid_request', 'of some length');
select is(pg_temp.call('reembed_knowledge_base', 'bulkhead-hash-384'), 'PT409 conflict', 'and is another one');
select is(pg_temp.call('switch_embedding_model', 'm2'), 'PT409 conflict', 'nothing is switched before there are vectors');
select is(pg_temp.call('discard_embedding_model', 'bulkhead-hash-384'), 'PT409 conflict', 'what is in use is not discarded');
select is(tests.outcome($$update ai.knowledge_bases set embedding_model = 'm2'$$), '42501', 'the column itself is nobody''s to write');

-- Asked for.
select is(pg_temp.call('reembed_knowledge_base', 'm2'), 'ok', 'an admin asks for another model');
select is(pg_temp.base(), 'bulkhead-hash-384 then m2', 'search keeps to the old one');
select is(pg_temp.jobs(), 1, 'one job is queued, with an id and nothing else');
select is(pg_temp.call('reembed_knowledge_base', 'm2'), 'ok', 'asked twice');
select is(pg_temp.jobs(), 1, 'it is still one');
select results_eq($$select status, done_count, total_count from ai.reembedding_progress(tests.kept_id('base'))$$, $$values ('pending', 0::bigint, 5::bigint)$$, 'how far it is, of what the admin sees');
select tests.sign_in('owner');
select results_eq($$select status, total_count from ai.reembedding_progress()$$, $$values ('pending', 2::bigint)$$, 'of what somebody else sees');
select tests.sign_in('b_owner');
select is_empty($$select * from ai.reembedding_progress()$$, 'another tenant sees nothing of it');
select tests.sign_in('admin');
select is(tests.outcome($$select ai.claim_reembedding(gen_random_uuid(), 'x')$$), '42501', 'people do no work of the worker''s');

-- Done, by two workers of whom the first is slow.
select tests.as_service();
select is(ai.claim_reembedding(gen_random_uuid(), 'x'), null, 'what is not there is not claimed');
select is(pg_temp.claim('first'), true, 'a worker takes it');
select is(coalesce(pg_temp.claim('second'), false), false, 'one at a time');
select is(pg_temp.embed('first', 3), 3, 'it embeds some');
select is(pg_temp.finish('first'), 'incomplete', 'and cannot end yet');
select is(pg_temp.base(), 'bulkhead-hash-384 then m2', 'nor has anything changed');
select tests.sign_in('admin');
select is(pg_temp.call('switch_embedding_model', 'm2'), 'PT409 conflict', 'a person cannot switch too early either');
select is(
  (select count(*)::int from ai.search('harbour', tests.axis(1)::extensions.vector, 'bulkhead-hash-384', array[tests.kept_id('base')], method => 'vector_search')),
  5, 'search finds all by the old vectors'
);
select tests.as_superuser();
update private.reembeddings set lease_expires_at = now() - interval '1 second' where id = pg_temp.reembedding();
delete from pgboss.job;
select results_eq($$select kind, id from ai.due_ingestion() where kind = 'reembedding'$$, $$select 'reembedding', pg_temp.reembedding()$$, 'the sweep finds what a dead worker left');
select tests.as_service();
select is(pg_temp.claim('second'), true, 'when its lease has run out, another takes over');
select is(ai.read_unembedded(pg_temp.reembedding(), tests.kept_id('first'), 10), null, 'the late one reads nothing');
select is(ai.store_reembedded(pg_temp.reembedding(), tests.kept_id('first'), '[]'), false, 'stores nothing');
select is(pg_temp.finish('first'), 'lost', 'and ends nothing');
select is(ai.renew_lease('reembedding', pg_temp.reembedding(), tests.kept_id('first')), false, 'its lease is gone');
select is(ai.renew_lease('reembedding', pg_temp.reembedding(), tests.kept_id('second')), true, 'that of the other is not');
select is(
  ai.store_reembedded(
    pg_temp.reembedding(), tests.kept_id('second'),
    jsonb_build_array(
      jsonb_build_object('id', tests.id('chunk b_open'), 'text_hash', md5('The harbour tariff of b open is paid in advance.'), 'embedding', '[1,2,3]'::jsonb),
      jsonb_build_object('id', (select chunk ->> 'id' from jsonb_array_elements(ai.read_unembedded(pg_temp.reembedding(), tests.kept_id('second'), 1)) as chunk), 'text_hash', md5('another text'), 'embedding', '[1,2,3]'::jsonb)
    )
  ), true, 'vectors for another tenant''s chunk or another text'
);
select is(pg_temp.vectors('m2'), 3, 'are left out');
select is(tests.outcome(format('select ai.store_reembedded(%L, %L, %L)', pg_temp.reembedding(), tests.kept('second'), (select jsonb_agg(chunk - 'text' || '{"embedding": [1, 2]}') from jsonb_array_elements(ai.read_unembedded(pg_temp.reembedding(), tests.kept_id('second'), 1)) as chunk))), '22023', 'vectors of another length are refused');
select is(pg_temp.embed('second'), 5, 'what the first stored is not embedded again');
select is(pg_temp.finish('second'), 'switched', 'when nothing is missing it is switched');
select tests.as_superuser();
select ok(
  (
    select sum(usage_entries.total_tokens) >= (select sum(chunks.tokens) from ai.chunks where chunks.knowledge_base_id = tests.kept_id('base'))
    from ai.usage_entries
    where usage_entries.tenant_id = tests.tenant('a') and usage_entries.kind = 'embedding' and usage_entries.model = 'm2'
  ),
  'every vector of the new model is usage'
);
select is_empty(
  $$select from ai.usage_entries where model = 'm2' and (tenant_id <> tests.tenant('a') or user_id is not null and user_id not in (select owner_id from ai.sources where tenant_id = tests.tenant('a') and owner_id is not null))$$,
  'of whoever the sources belong to'
);
select tests.as_service();
select is(pg_temp.base(), 'm2', 'search is asked by the new model');
select is((select string_agg(distinct embedding_model, ',') from ai.indexed_sources where knowledge_base_id = tests.kept_id('base')), 'm2', 'the indexed sources say so');
select is(pg_temp.vectors('bulkhead-hash-384'), 8, 'the old vectors stay');
select tests.sign_in('admin');
select set_eq($$select embedding_model, tests.kept_id('base') = any (knowledge_base_ids) from ai.search_models(array[tests.kept_id('base')])$$, $$values ('m2', true)$$, 'search_models names it');
select is((select count(*)::int from ai.search_models()), 2, 'beside that of the bases where nothing is embedded');
select is((select count(*)::int from ai.search('harbour', '[1,2,3]', 'm2', array[tests.kept_id('base')], method => 'vector_search')), 5, 'by it everything is found');
select is((select count(*)::int from ai.search('harbour', tests.axis(1)::extensions.vector, 'bulkhead-hash-384', array[tests.kept_id('base')], method => 'vector_search')), 5, 'and by the old one, for whoever asked a moment before');

-- Indexing keeps to the model in use.
select tests.as_superuser();
update ai.indexed_sources set index_status = 'pending' where id = tests.id('indexed a_open');
select tests.as_service();
select tests.keep('claim', ai.claim_indexing(tests.id('indexed a_open'), 'w')::text);
select is(tests.kept('claim')::jsonb ->> 'embedding_model', 'm2', 'an indexer is told which model to use');
select tests.keep('lease', tests.kept('claim')::jsonb ->> 'lease_token');
create function pg_temp.index_with(model text) returns text language sql as $$
  select case when ai.stage_chunks(
    tests.id('indexed a_open'), tests.kept_id('lease'),
    '[{"chunk_index": 0, "content_hash": "h", "text": "anew", "context": "Tariffs", "start_char": 0, "end_char": 4, "tokens": 1, "score": 1, "meta": {}, "embedding": [3, 2, 1]}]', model
  ) then tests.outcome(format('select ai.finish_indexing(%L, %L, 1, %L, ''{}'')', tests.id('indexed a_open'), tests.kept('lease'), model)) end;
$$;
select is(pg_temp.index_with('m1'), 'PT409 conflict', 'vectors of another are refused');
select is(pg_temp.index_with('m2'), 'ok', 'those of this one are not');

-- Back: not before what has come since has its vector, too; the worker is given the text as it was embedded first.
select tests.sign_in('admin');
select is(pg_temp.call('switch_embedding_model', 'bulkhead-hash-384'), 'PT409 conflict', 'a chunk that came since lacks the old vector');
select is(tests.outcome(format('select ai.reembed_knowledge_base(%L, %L, false)', tests.kept('base'), 'bulkhead-hash-384')), 'ok', 'so they are completed');
select tests.as_service();
select pg_temp.claim('third');
select is(
  (select jsonb_agg(chunk -> 'text') from jsonb_array_elements(ai.read_unembedded(pg_temp.reembedding(), tests.kept_id('third'), 10)) as chunk),
  '["Tariffs\n\nanew"]', 'only that one, under what stands above it'
);
select is(
  ai.store_reembedded(
    pg_temp.reembedding(), tests.kept_id('third'),
    (select jsonb_agg(chunk - 'text' || jsonb_build_object('embedding', tests.axis(1)::jsonb)) from jsonb_array_elements(ai.read_unembedded(pg_temp.reembedding(), tests.kept_id('third'), 10)) as chunk)
  ), true, 'is embedded'
);
select is(pg_temp.finish('third') || ', ' || pg_temp.base(), 'complete, m2 then bulkhead-hash-384', 'a switch that was not asked for waits for a person');
select tests.sign_in('admin');
select is(pg_temp.call('switch_embedding_model', 'bulkhead-hash-384') || ', ' || pg_temp.base(), 'ok, bulkhead-hash-384', 'who then switches back');
select is(ai.discard_embedding_model(tests.kept_id('base'), 'm2'), 8, 'and may discard the other vectors');
select is(pg_temp.call('switch_embedding_model', 'm2'), 'PT409 conflict', 'to which there is no way back then');

-- Discarded whole, a model begins anew, also with another length. Its worker is stopped again and again, as one is that has minutes only.
select is(pg_temp.call('reembed_knowledge_base', 'm2'), 'ok', 'which is asked for once more');
select tests.as_service();
select is(pg_temp.vectors('m2'), 0, 'of which nothing is left');
select pg_temp.claim('fourth');
select is(pg_temp.embed('fourth', 1, '[4, 3, 2, 1]'), 1, 'its vectors may have another length now');
select is(tests.outcome($$select pg_temp.embed('fourth', 1)$$), '22023', 'and the old one no more');
select pg_temp.stop('fourth');
select pg_temp.claim('fifth');
select is(pg_temp.attempts(), 2, 'a second beginning counts');
select pg_temp.embed('fifth', 1, '[4, 3, 2, 1]');
select is(pg_temp.attempts(), 1, 'until it brings something');
select pg_temp.stop('fifth');
select pg_temp.claim('sixth');
select pg_temp.stop('sixth');
select pg_temp.claim('seventh');
select is(pg_temp.attempts(), 3, 'those that bring nothing add up');
select is(pg_temp.embed('seventh', 100, '[4, 3, 2, 1]') > 0, true, 'to the end');
select is(pg_temp.finish('seventh'), 'switched', 'which comes');
select tests.sign_in('admin');
select is((select count(*)::int from ai.search('harbour', '[4,3,2,1]', 'm2', array[tests.kept_id('base')], method => 'vector_search')), 5, 'and all is found by it');
select tests.as_superuser();
select is((select string_agg(distinct embedding_model, ',') from ai.knowledge_bases where tenant_id = tests.tenant('b') and is_default), 'bulkhead-hash-384', 'the other tenant has noticed nothing');

select * from finish();
rollback;
