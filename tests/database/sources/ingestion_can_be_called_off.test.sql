-- cancel_extraction, cancel_indexing, reextract_source: states, leases, what stays searchable, and who may.
begin;
select plan(29);
select tests.make_world();

create function pg_temp.call(function_name text, id text default tests.kept('id'))
returns text
language sql
as $$ select tests.outcome(format('select tests.keep(''answer'', ai.%I(%L)::text)', function_name, id)); $$;
create function pg_temp.run(statement text) returns void language plpgsql as $$
begin
  perform tests.as_superuser();
  execute statement;
end;
$$;
create function pg_temp.item(kept text default 'item') returns ai.indexed_sources language sql security definer as $$
  select * from ai.indexed_sources where id = tests.kept(kept)::uuid;
$$;

select tests.sign_in('member');
select tests.keep('id', ai.register_source('x.txt', '.txt', 'text/plain', 1, repeat('a', 64), knowledge_base_ids => array[tests.id('base a')]) ->> 'id');
select tests.keep('item', (select id::text from ai.indexed_sources where source_id = tests.kept('id')::uuid));
select is(pg_temp.call('cancel_extraction'), 'PT409 upload_incomplete', 'nothing runs before the bytes are there');
select is(pg_temp.call('complete_upload'), 'ok', 'the bytes are there');

-- Who may.
select tests.sign_in('b_owner');
select is(pg_temp.call('cancel_extraction'), 'PT404 not_found', 'another tenant finds no such source');
select is(pg_temp.call('reextract_source'), 'PT404 not_found', 'nor extracts it again');
select is(pg_temp.call('cancel_indexing', tests.kept('item')), 'PT404 not_found', 'nor calls its indexing off');
select tests.sign_in('viewer');
select is(pg_temp.call('cancel_extraction'), 'PT404 not_found', 'a viewer does not call it off');
select is(pg_temp.call('cancel_indexing', tests.kept('item')), 'PT404 not_found', 'nor its indexing');

-- Waiting.
select tests.sign_in('member');
select is(pg_temp.call('cancel_extraction'), 'ok', 'what waits is called off');
select is(tests.kept('answer')::jsonb ->> 'extraction_status', 'cancelled', 'and says so');
select is(pg_temp.call('cancel_extraction'), 'PT409 conflict', 'once');
select pg_temp.run('select 1');
select is(ai.claim_extraction(tests.kept('id')::uuid, 'w'), null, 'no worker takes it');
select tests.sign_in('member');
select is(pg_temp.call('retry_source'), 'ok', 'it can be taken up again');

-- Running.
select pg_temp.run(format('select tests.keep(''lease'', ai.claim_extraction(%L, ''w'') ->> ''lease_token'')', tests.kept('id')));
select tests.sign_in('member');
select is(pg_temp.call('reextract_source'), 'PT409 not_retryable', 'what runs is not begun again');
select is(pg_temp.call('cancel_extraction'), 'ok', 'what runs is called off');
select pg_temp.run('select 1');
select is(ai.finish_extraction(tests.kept('id')::uuid, tests.kept('lease')::uuid, 1, '{}'), false, 'its worker has lost the lease');
select is(
  ai.renew_lease('extraction', tests.kept('id')::uuid, tests.kept('lease')::uuid, 30), false, 'and hears so when it renews'
);

-- Indexing.
select tests.sign_in('member');
select is(pg_temp.call('retry_source'), 'ok', 'taken up again');
select pg_temp.run(format('select tests.keep(''lease'', ai.claim_extraction(%L, ''w'') ->> ''lease_token'')', tests.kept('id')));
select is(ai.finish_extraction(tests.kept('id')::uuid, tests.kept('lease')::uuid, 1, '{}'), true, 'extracted');
select tests.keep('lease', ai.claim_indexing(tests.kept('item')::uuid, 'w') ->> 'lease_token');
select tests.sign_in('member');
select is(pg_temp.call('cancel_indexing', tests.kept('item')), 'ok', 'indexing that runs is called off');
select is((pg_temp.item()).index_status, 'cancelled', 'and says so');
select is(pg_temp.call('cancel_indexing', tests.kept('item')), 'PT409 conflict', 'once');
select pg_temp.run('select 1');
select is(ai.finish_indexing(tests.kept('item')::uuid, tests.kept('lease')::uuid, 0, 'm', '{}'), false, 'its worker has lost the lease');
select tests.sign_in('member');
select is(pg_temp.call('retry_source'), 'ok', 'it can be taken up again');
select is((pg_temp.item()).index_status, 'pending', 'and waits');
select pg_temp.run(format('select tests.keep(''lease'', ai.claim_indexing(%L, ''w'') ->> ''lease_token'')', tests.kept('item')));

-- Again.
select tests.sign_in('member');
select is(pg_temp.call('reextract_source'), 'ok', 'an extracted source is extracted again');
select is(tests.kept('answer')::jsonb ->> 'extraction_status', 'pending', 'from the start');
select is((pg_temp.item()).index_status, 'pending', 'and indexed again');
select is((pg_temp.item()).lease_token, null, 'by nobody who is at it now');
select pg_temp.run('select 1');
select is(ai.claim_indexing(tests.kept('item')::uuid, 'w'), null, 'after its text is there, not before');

select * from finish();
rollback;
