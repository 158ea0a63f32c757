-- complete_upload, abandon_upload, retry_source: states, jobs in the same transaction, and who may.
begin;
select plan(43);
select tests.make_world();

create function pg_temp.jobs(queue text, key text)
returns int
language sql
security definer
as $$ select count(*)::int from pgboss.job where job.name = queue and job.data = jsonb_build_object('id', key) and job.singleton_key = key; $$;
create function pg_temp.set_state(statement text) returns void language plpgsql as $$
begin
  perform tests.as_superuser();
  execute statement;
end;
$$;
create function pg_temp.call(function_name text, id text default tests.kept('id'))
returns text
language sql
as $$ select tests.outcome(format('select tests.keep(''answer'', ai.%I(%L)::text)', function_name, id)); $$;

select tests.sign_in('member');
select tests.keep('id', ai.register_source('x.txt', '.txt', 'text/plain', 1, repeat('a', 64), knowledge_base_ids => array[tests.id('base a')]) ->> 'id');

-- Complete.
select is(pg_temp.call('retry_source'), 'PT409 upload_incomplete', 'nothing to retry before the bytes are there');
select is(pg_temp.call('complete_upload'), 'ok', 'the bytes are there');
select isnt(tests.kept('answer')::jsonb ->> 'uploaded_at', null, 'the source says when');
select is(pg_temp.jobs('extract_source', tests.kept('id')), 1, 'extraction is queued');
select isnt(tests.kept('answer')::jsonb ->> 'celery_task_id', null, 'the source names its job');
select tests.keep('uploaded_at', tests.kept('answer')::jsonb ->> 'uploaded_at');
select is(pg_temp.call('complete_upload'), 'ok', 'once more');
select is(tests.kept('answer')::jsonb ->> 'uploaded_at', tests.kept('uploaded_at'), 'changes nothing');
select is(pg_temp.jobs('extract_source', tests.kept('id')), 1, 'and queues nothing');
select is(pg_temp.call('abandon_upload'), 'PT409 already_uploaded', 'what is complete cannot be abandoned');
select is(pg_temp.call('retry_source'), 'PT409 not_retryable', 'what waits needs no retry');

-- Rolled back: no state, no job.
select tests.keep('second', ai.register_source('y.txt', '.txt', 'text/plain', 1, repeat('b', 64)) ->> 'id');
select is(tests.outcome_undone(format('select ai.complete_upload(%L)', tests.kept('second'))), 'ok', 'a completion that is undone');
select is((select uploaded_at from ai.sources where id = tests.kept_id('second')), null, 'leaves no state');
select is(pg_temp.jobs('extract_source', tests.kept('second')), 0, 'and no job');

-- Abandon.
select is(pg_temp.call('abandon_upload', tests.kept('second')), 'ok', 'an upload that never came can be given up');
select is_empty($$select id from ai.sources where id = tests.kept_id('second')$$, 'it is gone');
select is_empty($$select id from public.documents where source_id = tests.kept_id('second')$$, 'with its document');
select is(
  tests.outcome($$select ai.register_source('y.txt', '.txt', 'text/plain', 1, repeat('b', 64))$$), 'ok', 'and the same bytes can be sent again'
);

-- Retry, state by state.
create function pg_temp.fail(status text)
returns void
language sql
as $$
  select pg_temp.set_state(format(
    $s$
      delete from pgboss.job;
      update ai.sources
      set extraction_status = %L, error_code = 'permanent', reason_code = 'encrypted_document', error_message = 'It is encrypted.',
        extracted_at = case when %L = 'extracted' then now() end, lease_token = case when %L = 'extracting' then gen_random_uuid() end
      where id = %L
    $s$, status, status, status, tests.kept('id')
  ));
$$;
select pg_temp.fail('failed');
select tests.sign_in('member');
select is(pg_temp.call('retry_source'), 'ok', 'failed: again');
select is(tests.kept('answer')::jsonb ->> 'extraction_status', 'pending', 'it waits');
select is(tests.kept('answer')::jsonb -> 'error_message', 'null'::jsonb, 'without the old reason');
select is(pg_temp.jobs('extract_source', tests.kept('id')), 1, 'with a new job');
select pg_temp.fail('attention_required');
select tests.sign_in('member');
select is(pg_temp.call('retry_source'), 'ok', 'attention_required: again');
select pg_temp.fail('cancelled');
select tests.sign_in('member');
select is(pg_temp.call('retry_source'), 'ok', 'cancelled: again');
select pg_temp.fail('extracting');
select tests.sign_in('member');
select is(pg_temp.call('retry_source'), 'PT409 not_retryable', 'extracting: no');
select pg_temp.fail('extracted');
select tests.sign_in('member');
select is(pg_temp.call('retry_source'), 'PT409 not_retryable', 'extracted, indexing waits: no');
select is(tests.kept('last_message'), 'The source is extracted; there is nothing to retry.', 'and the answer says why');
select pg_temp.set_state(format(
  $$update ai.indexed_sources set index_status = 'failed', error_code = 'transient', error_message = 'x' where source_id = %L$$, tests.kept('id')
));
select tests.sign_in('member');
select is(pg_temp.call('retry_source'), 'ok', 'extracted, indexing failed: that is done again');
select is((select index_status from ai.indexed_sources where source_id = tests.kept_id('id')), 'pending', 'it waits');
select is(
  pg_temp.jobs('index_source', (select id::text from ai.indexed_sources where source_id = tests.kept_id('id'))), 1, 'with a job'
);

-- Who: owner, admin, backend; for all others the source is not there.
select pg_temp.fail('failed');
create function pg_temp.tries(who text) returns text language sql as $$
  select tests.sign_in(who);
  select tests.outcome_undone(format('select ai.retry_source(%L)', tests.kept('id')));
$$;
select is(pg_temp.tries('admin'), 'ok', 'an admin may');
select is(pg_temp.tries('owner'), 'ok', 'an owner of the tenant may');
select is(pg_temp.tries('backend_a'), 'ok', 'the backend may');
select is(pg_temp.tries('both'), 'PT404 not_found', 'another member may not');
select is(pg_temp.tries('viewer'), 'PT404 not_found', 'a viewer may not');
select is(pg_temp.tries('b_owner'), 'PT404 not_found', 'another tenant may not');
select is(pg_temp.tries('outsider'), 'PT404 not_found', 'nobody else may');
select pg_temp.set_state(format($$update ai.sources set visibility = 'private' where id = %L$$, tests.kept('id')));
select is(pg_temp.tries('admin'), 'PT404 not_found', 'a private one is not the admin''s');
select is(pg_temp.tries('backend_a'), 'ok', 'but the backend''s');
select is(pg_temp.tries('member'), 'ok', 'and its owner''s');
select pg_temp.set_state(format($$update public.memberships set role = 'viewer' where user_id = %L$$, tests.person('member')));
select is(pg_temp.tries('member'), 'PT404 not_found', 'while they may write');
select tests.sign_in('b_member');
select is(pg_temp.call('complete_upload'), 'PT404 not_found', 'completing: not for another tenant');
select is(pg_temp.call('abandon_upload'), 'PT404 not_found', 'abandoning neither');
select tests.as_service();
select is(pg_temp.call('complete_upload'), '42501', 'the ledger has no business here');

select * from finish();
rollback;
